//! Notices that the configuration file or a secret file has other content. It loads and applies
//! nothing; whoever listens loads again.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::environment::Environment;
use super::file::read_bytes;
use super::layers;
use super::source::Source;

/// How long the files must be quiet before they are looked at: editors write in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// How long a file that never gets quiet is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the files are looked at without a notice; file systems such as NFS send none.
const POLL: Duration = Duration::from_secs(30);
/// Most bytes of one file that are compared.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Watches the files that a load of one source reads.
///
/// Folders are watched rather than files, because editors and Kubernetes replace files by renaming,
/// and content is compared, so that a save without a change is none.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    environment: Environment,
    seen: Snapshot,
}

impl Watch {
    /// Bound of the channel that [`Watch::run`] sends on: one pending notice stands for any number of
    /// changes.
    pub const CAPACITY: usize = 1;

    /// Remembers the files as they are now. Made before the load, it misses no change after it.
    pub fn new(source: Source, environment: Environment) -> Self {
        let seen = Snapshot::take(&source, &environment, &[]);
        Self {
            source,
            environment,
            seen,
        }
    }

    /// Sends on `changed` whenever the content of a file has changed, until the receiver is dropped.
    /// Without notices from the system it looks every 30 s.
    pub async fn run(mut self, changed: mpsc::Sender<()>) {
        let (notices, mut noticed) = mpsc::channel(Self::CAPACITY);
        let mut folders = Folders::new(notices.clone());
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            folders.follow(&self.seen.files);
            // The first tick is immediate: it finds what changed before the folders were watched.
            tokio::select! {
                () = changed.closed() => return,
                _ = poll.tick() => {}
                _ = noticed.recv() => settle(&mut noticed).await,
            }
            let Some(now) = self.look().await else {
                continue;
            };
            let differs = now.print != self.seen.print;
            self.seen = now;
            if differs {
                // A full channel holds a notice already.
                let _ = changed.try_send(());
            }
        }
    }

    async fn look(&self) -> Option<Snapshot> {
        let (source, environment) = (self.source.clone(), self.environment.clone());
        let before = self.seen.files.clone();
        let look = move || Snapshot::take(&source, &environment, &before);
        tokio::task::spawn_blocking(look).await.ok()
    }
}

/// Waits until no notice has come for a while.
async fn settle(noticed: &mut mpsc::Receiver<()>) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if tokio::time::timeout(QUIET, noticed.recv()).await.is_err() {
            return;
        }
    }
}

/// The files of a source at one moment.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    files: Vec<PathBuf>,
    print: u64,
}

impl Snapshot {
    /// Looks at the files now. While the configuration cannot be read, the files of `before` count.
    fn take(source: &Source, environment: &Environment, before: &[PathBuf]) -> Self {
        let mut files = source.candidates(environment);
        let secrets = layers::secret_files(source, environment);
        files.extend(secrets.unwrap_or_else(|_| before.to_vec()));
        files.sort_unstable();
        files.dedup();
        let mut hasher = DefaultHasher::new();
        for file in &files {
            file.hash(&mut hasher);
            read_bytes(file, MAX_BYTES).hash(&mut hasher);
        }
        Self {
            files,
            print: hasher.finish(),
        }
    }
}

/// The folders under watch.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(notices: mpsc::Sender<()>) -> Self {
        let on_event = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_write(event.kind)) {
                // A full channel holds a notice already.
                let _ = notices.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event);
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(error = %error, "configuration files are polled, because they cannot be watched");
        });
        Self {
            watcher: watcher.ok(),
            watched: BTreeSet::new(),
        }
    }

    /// Watches the folders of `files`, both as named and behind symbolic links, and no others.
    fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let real = files.iter().filter_map(|file| file.canonicalize().ok());
        let folders = files.iter().cloned().chain(real).filter_map(|file| {
            let folder = file.parent()?;
            Some(
                if folder.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    folder
                }
                .to_owned(),
            )
        });
        let wanted: BTreeSet<PathBuf> = folders.collect();
        for gone in self.watched.difference(&wanted) {
            // A folder that was removed is no longer watched anyway.
            let _ = watcher.unwatch(gone);
        }
        let watched = wanted.into_iter().filter(|folder| {
            self.watched.contains(folder)
                || watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()
        });
        self.watched = watched.collect();
    }
}

/// Whether an event may have changed content; reading a file is an event as well.
fn is_write(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
