//! The thread that owns the store: queues calls, commits appends in groups, opens the store anew
//! after a failure. It knows no file format.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::store::{FROZEN, Marks, Store, StoreError, weight};
use super::{Depth, SpoolError};

/// Calls that may wait for the thread; a caller beyond them waits for room.
const QUEUE: usize = 1024;
/// Bytes of records after which a group is committed, however many calls wait.
const MAX_GROUP: u64 = 4 * 1024 * 1024;
/// How long a store that could not be opened, or took no record, is left alone before a call tries again:
/// opening reads all of it, and a disk without room must not keep what is there from being read.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// What a file is whose damage the database did not expect.
const DAMAGED: &str =
    "its file is damaged; move it away to go on without what it holds, and keep it for repair";

type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

#[derive(Debug)]
enum Call {
    Append(Append),
    Read {
        after: u64,
        limit: usize,
        reply: Reply<Vec<(u64, Bytes)>>,
    },
    Remove {
        position: u64,
        reply: Reply<()>,
    },
    Probe {
        reply: Reply<()>,
    },
}

#[derive(Debug)]
struct Append {
    records: Vec<Bytes>,
    weight: u64,
    reply: Reply<()>,
}

/// Handle of the thread. Dropping it ends the thread after the call in progress and waits for that.
#[derive(Debug)]
pub(super) struct Keeper {
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
    depth: Arc<Mutex<Depth>>,
    dir: PathBuf,
}

impl Keeper {
    /// Opens the store in `dir` and starts the thread.
    pub(super) fn start(dir: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let (calls, queue) = mpsc::channel(QUEUE);
        let depth = Arc::new(Mutex::new(Depth::default()));
        let mut desk = Desk {
            dir: dir.to_owned(),
            max_bytes,
            store: None,
            marks: None,
            failure: None,
            refusal: None,
            cramped: false,
            depth: Arc::clone(&depth),
        };
        desk.store()?;
        let thread = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || desk.run(queue))
            .map_err(|error| disk(dir, &error.to_string()))?;
        Ok(Self {
            calls: Some(calls),
            thread: Some(thread),
            depth,
            dir: dir.to_owned(),
        })
    }

    pub(super) async fn append(&self, records: Vec<Bytes>) -> Result<(), SpoolError> {
        let weight = records.iter().map(|record| weight(record.len())).sum();
        self.call(|reply| {
            Call::Append(Append {
                records,
                weight,
                reply,
            })
        })
        .await
    }

    pub(super) async fn read(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Bytes)>, SpoolError> {
        self.call(|reply| Call::Read {
            after,
            limit,
            reply,
        })
        .await
    }

    pub(super) async fn remove_through(&self, position: u64) -> Result<(), SpoolError> {
        self.call(|reply| Call::Remove { position, reply }).await
    }

    pub(super) async fn probe(&self) -> Result<(), SpoolError> {
        self.call(|reply| Call::Probe { reply }).await
    }

    pub(super) fn depth(&self) -> Depth {
        *self.depth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, SpoolError> {
        let gone = || disk(&self.dir, "its thread has ended");
        let (reply, answer) = oneshot::channel();
        let calls = self.calls.as_ref().ok_or_else(gone)?;
        calls.send(call(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to finish.
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Desk {
    dir: PathBuf,
    max_bytes: u64,
    store: Option<Store>,
    /// Where the store was when it failed.
    marks: Option<Marks>,
    /// Why and when it failed.
    failure: Option<(SpoolError, Instant)>,
    /// Why and when the disk took no record.
    refusal: Option<(SpoolError, Instant)>,
    /// Whether the disk has no room even for removing.
    cramped: bool,
    depth: Arc<Mutex<Depth>>,
}

impl Desk {
    fn run(mut self, mut queue: mpsc::Receiver<Call>) {
        let mut held = None;
        while let Some(call) = held.take().or_else(|| queue.blocking_recv()) {
            match call {
                Call::Append(first) => {
                    let (group, other) = gather(first, &mut queue);
                    held = other;
                    self.append(group);
                }
                // A caller that went away needs no answer.
                Call::Read {
                    after,
                    limit,
                    reply,
                } => {
                    let _ = reply.send(self.attempt(|store| store.read(after, limit)));
                }
                Call::Remove { position, reply } => {
                    let _ = reply.send(self.remove(position));
                }
                Call::Probe { reply } => {
                    let _ = reply.send(self.probe());
                }
            }
        }
    }

    /// Commits what fits of `group` at once and answers each call.
    fn append(&mut self, group: Vec<Append>) {
        let depth = match self.writable() {
            Ok(store) => store.depth(),
            Err(error) => return answer(group, &Err(error)),
        };
        let mut room = self.max_bytes.saturating_sub(depth.bytes);
        let (fitting, refused): (Vec<_>, Vec<_>) = group.into_iter().partition(|append| {
            let fits = append.weight <= room;
            if fits {
                room -= append.weight;
            }
            fits
        });
        let max_bytes = self.max_bytes;
        answer(refused, &Err(SpoolError::Full { max_bytes }));
        if fitting.is_empty() {
            return;
        }
        let records: Vec<Bytes> = fitting
            .iter()
            .flat_map(|append| append.records.iter().cloned())
            .collect();
        let result = self.attempt(|store| store.append(&records));
        self.refusal = None;
        if let Err(error) = &result {
            self.refusal = Some((error.clone(), Instant::now()));
            // What is there needs no room to be read, and the broker may be waiting for it.
            self.failure = None;
        }
        answer(fitting, &result);
    }

    /// The store, when it may be asked to take something: not soon after it refused. One on a disk that
    /// took no writes is opened anew, as the disk may have been mended.
    fn writable(&mut self) -> Result<&mut Store, SpoolError> {
        if let Some((error, at)) = &self.refusal
            && at.elapsed() < REOPEN_PAUSE
        {
            return Err(error.clone());
        }
        if let Some(store) = self.store.take_if(|store| store.frozen()) {
            self.marks = Some(store.marks());
        }
        if self.store()?.frozen() {
            let error = disk(&self.dir, FROZEN);
            self.refusal = Some((error.clone(), Instant::now()));
            return Err(error);
        }
        self.store()
    }

    /// Removes; without the disk when that has no room even for a removal. Whatever is removed is
    /// stored elsewhere, so the queue moves on in memory, and once nothing is left a new file takes
    /// the place of the full one. A crash before that only brings records back.
    fn remove(&mut self, position: u64) -> Result<(), SpoolError> {
        if !self.cramped {
            let Err(error) = self.attempt(|store| store.remove_through(position)) else {
                return Ok(());
            };
            // Reading needs no room, and waiting would keep from the broker what it could have.
            self.failure = None;
            if self.store()?.frozen() {
                return self.attempt(|store| store.remove_through(position));
            }
            tracing::warn!(%error, "the disk of the spool takes no removal, its file is made anew once it is empty");
            self.cramped = true;
        }
        self.attempt(|store| store.pass(position))?;
        let emptied = self
            .store
            .take_if(|store| store.depth() == Depth::default());
        if let Some(store) = emptied {
            self.marks = Some(store.marks());
            self.store = Some(store.renew().map_err(|error| self.translate(&error))?);
            self.cramped = false;
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), SpoolError> {
        let max_bytes = self.max_bytes;
        let free = max_bytes.saturating_sub(self.writable()?.depth().bytes);
        if free < max_bytes / 2 {
            return Err(SpoolError::Full { max_bytes });
        }
        Ok(())
    }

    /// Runs `work` on the open store; a failure closes it until a later call opens it anew.
    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, SpoolError> {
        let store = self.store()?;
        let result = guarded(|| work(store));
        self.publish();
        result.map_err(|error| {
            let error = self.translate(&error);
            self.marks = self.store.as_ref().map(Store::marks);
            let failed = self.store.take();
            // Closing it may meet the same damage; there is nothing more to lose.
            let _ = guarded(|| {
                drop(failed);
                Ok(())
            });
            self.failure = Some((error.clone(), Instant::now()));
            error
        })
    }

    fn store(&mut self) -> Result<&mut Store, SpoolError> {
        if self.store.is_none() {
            if let Some((error, at)) = &self.failure
                && at.elapsed() < REOPEN_PAUSE
            {
                return Err(error.clone());
            }
            match guarded(|| self.open()) {
                Ok(store) => {
                    if self.failure.take().is_some() {
                        tracing::info!("spool opened again");
                    }
                    self.store = Some(store);
                    self.publish();
                }
                Err(error) => {
                    let error = self.translate(&error);
                    self.failure = Some((error.clone(), Instant::now()));
                    return Err(error);
                }
            }
        }
        self.store
            .as_mut()
            .ok_or_else(|| disk(&self.dir, "it is not open"))
    }

    /// Opens what is there; of a store that worked until its disk took no more writes, what can be read.
    fn open(&self) -> Result<Store, StoreError> {
        let opened = Store::open(&self.dir, self.marks);
        match (opened, self.marks) {
            (Err(StoreError::Failed(why)), Some(marks)) => {
                let frozen = Store::open_frozen(&self.dir, marks);
                frozen.map_err(|_| StoreError::Failed(why))
            }
            (opened, _) => opened,
        }
    }

    fn publish(&self) {
        if let Some(store) = &self.store {
            *self.depth.lock().unwrap_or_else(PoisonError::into_inner) = store.depth();
        }
    }

    fn translate(&self, error: &StoreError) -> SpoolError {
        match error {
            StoreError::Busy => SpoolError::Busy(self.dir.display().to_string()),
            StoreError::Failed(detail) => disk(&self.dir, detail),
        }
    }
}

/// Does `work` with the database, which panics where damage contradicts what it believes. A store
/// that did is closed by its caller and not used again.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(_) => Err(StoreError::Failed(DAMAGED.to_owned())),
    }
}

/// The appends that already wait behind `first`, and the other call that ended them.
fn gather(first: Append, queue: &mut mpsc::Receiver<Call>) -> (Vec<Append>, Option<Call>) {
    let mut bytes = first.weight;
    let mut group = vec![first];
    while bytes < MAX_GROUP {
        match queue.try_recv() {
            Ok(Call::Append(append)) => {
                bytes += append.weight;
                group.push(append);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

fn answer(group: Vec<Append>, result: &Result<(), SpoolError>) {
    for append in group {
        // A caller that went away needs no answer.
        let _ = append.reply.send(result.clone());
    }
}

fn disk(dir: &Path, detail: &str) -> SpoolError {
    SpoolError::Disk {
        path: dir.display().to_string(),
        detail: detail.to_owned(),
    }
}
