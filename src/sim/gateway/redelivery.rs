//! What happens later: missed acks, redeliveries, closes after a disconnect frame, regular pings
//! (stream-protocol.md, sections 2.1 and 4.4).

use std::cmp::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::link::{LinkMode, Out};
use super::payload::{Payload, RetryTable};
use super::push::Aim;
use crate::message::Timestamp;
use crate::sim::SimError;
use crate::sim::ledger::FrameState;
use crate::sim::record::EventFailure;
use crate::sim::state::{Shared, World};

/// Wait before a redelivery is tried again whose link has no room.
const NO_ROOM: Duration = Duration::from_millis(100);

/// How long an order to end may wait behind frames that the client does not read; longer than
/// the wait for its answer to a close frame.
const END_GRACE: Duration = Duration::from_secs(3);

/// Something to do at a time.
#[derive(Debug)]
pub(in crate::sim) enum Task {
    /// The ack of this frame must be there.
    Deadline(u64),
    /// This payload comes again.
    Redeliver(Retry),
    /// This link is closed.
    Close(u64),
    /// This link gets a SYSTEM ping.
    Ping(u64),
    /// This link is reset if it is still there.
    Kill(u64),
    /// A half-open link is noticed.
    Noticed(u64),
}

/// A delivery that comes again unless an ack settles its last frame first.
#[derive(Debug)]
pub(in crate::sim) struct Retry {
    payload: Payload,
    attempt: u32,
    /// The frame that nobody took; absent when no connection was there to get one.
    last: Option<u64>,
}

/// A task and its time; the earliest is the greatest, as the heap wants it.
#[derive(Debug)]
pub(in crate::sim) struct Due {
    at: Instant,
    task: Task,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl World {
    /// Plans a task; the caller wakes the clock when it may be the next one.
    pub(in crate::sim) fn plan(&mut self, at: Instant, task: Task) {
        self.due.push(Due { at, task });
    }

    pub(in crate::sim) fn plan_in(&mut self, wait: Duration, task: Task) {
        self.plan(Instant::now() + wait, task);
    }

    fn take_due(&mut self, now: Instant) -> Option<Task> {
        if self.due.peek().is_some_and(|due| due.at <= now) {
            return self.due.pop().map(|due| due.task);
        }
        None
    }
}

/// Does what falls due until the simulator stops.
pub(in crate::sim) async fn run(shared: &Shared) {
    loop {
        let next = shared.world().due.peek().map(|due| due.at);
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.schedule.notified() => {}
            () = until(next) => {}
        }
        let now = Instant::now();
        loop {
            let task = shared.world().take_due(now);
            let Some(task) = task else { break };
            shared.perform(task);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn perform(&self, task: Task) {
        match task {
            Task::Deadline(seq) => self.deadline(seq),
            Task::Redeliver(retry) => self.redeliver(retry),
            Task::Kill(id) => {
                if let Some(link) = self.world().links.get(&id) {
                    link.kill.cancel();
                }
            }
            Task::Close(id) => self.end(id, Out::Close(1006)),
            Task::Noticed(id) => self.end(id, Out::Reset(bytes::Bytes::new())),
            Task::Ping(id) => {
                self.system_ping(id);
                if let Some(every) = self.options.ping_every {
                    self.world().plan_in(every, Task::Ping(id));
                }
            }
        }
    }

    /// Ends a link in this way; by a reset when its socket does not get so far in time.
    pub(in crate::sim) fn end(&self, id: u64, out: Out) {
        let mut world = self.world();
        if let Some(link) = world.links.get(&id) {
            link.end(out);
            world.plan_in(END_GRACE, Task::Kill(id));
            self.schedule.notify_one();
        }
    }

    fn deadline(&self, seq: u64) {
        let mut world = self.world();
        let Some(entry) = world.ledger.entry_mut(seq) else {
            return;
        };
        if entry.state != FrameState::Open {
            return;
        }
        entry.state = FrameState::TimedOut;
        let (payload, attempt, pushed) = (entry.payload.clone(), entry.attempt, entry.pushed);
        if let Some(payload) = payload {
            let from = match payload.retry() {
                RetryTable::Bot => pushed,
                RetryTable::Event | RetryTable::Never => Instant::now(),
            };
            let last = Some(seq);
            self.plan_retry(
                &mut world,
                Retry {
                    payload,
                    attempt,
                    last,
                },
                from,
            );
        }
        drop(world);
        self.notify();
    }

    /// A refusing ack: the retry table goes on at once.
    pub(in crate::sim) fn refused(&self, world: &mut World, seq: u64) {
        let Some(entry) = world.ledger.entry(seq) else {
            return;
        };
        let attempt = entry.attempt;
        if let Some(payload) = entry.payload.clone() {
            let last = Some(seq);
            self.plan_retry(
                world,
                Retry {
                    payload,
                    attempt,
                    last,
                },
                Instant::now(),
            );
            self.schedule.notify_one();
        }
    }

    /// An event that found no connection: the retry table goes on.
    pub(in crate::sim) fn nobody_there(&self, payload: Payload, attempt: u32) {
        let retry = Retry {
            payload,
            attempt,
            last: None,
        };
        self.plan_retry(&mut self.world(), retry, Instant::now());
        self.schedule.notify_one();
    }

    /// Plans the attempt after `done`, or gives up.
    fn plan_retry(&self, world: &mut World, done: Retry, from: Instant) {
        let table = match done.payload.retry() {
            RetryTable::Event => &self.options.event_retries,
            RetryTable::Bot => &self.options.bot_retries,
            RetryTable::Never => return,
        };
        match table.get(done.attempt as usize) {
            Some(wait) => {
                let attempt = done.attempt + 1;
                world.plan(from + *wait, Task::Redeliver(Retry { attempt, ..done }));
            }
            None if done.payload.retry() == RetryTable::Event => {
                if world.failed_events.len() >= self.options.keep {
                    world.failed_events.remove(0);
                }
                world.failed_events.push(EventFailure {
                    at: Timestamp::now(),
                    app: done.payload.app().as_ref().to_owned(),
                    event_id: done.payload.business_id().unwrap_or_default(),
                    event_type: done.payload.event_type().to_owned(),
                    data: done.payload.data(),
                });
            }
            None => {}
        }
    }

    fn redeliver(&self, retry: Retry) {
        let settled = retry.last.is_some_and(|seq| {
            let world = self.world();
            let entry = world.ledger.entry(seq);
            entry.is_some_and(|entry| entry.state == FrameState::Acked)
        });
        if settled {
            return;
        }
        if self.is_choked(&retry.payload) {
            self.world().plan_in(NO_ROOM, Task::Redeliver(retry));
            return;
        }
        match self.prepare(retry.payload.clone(), retry.attempt, Aim::Any) {
            Ok(prepared) => {
                if prepared.out.try_send(Out::Bytes(prepared.bytes)).is_err() {
                    self.world().plan_in(NO_ROOM, Task::Redeliver(retry));
                }
            }
            Err(SimError::NoLink(_)) if retry.payload.retry() == RetryTable::Event => {
                self.nobody_there(retry.payload, retry.attempt);
            }
            Err(_) => self.world().lost += 1,
        }
        self.notify();
    }

    /// Whether there are connections for this payload, and none of them takes another frame now: one
    /// that is not written must not be in the ledger either.
    fn is_choked(&self, payload: &Payload) -> bool {
        let world = self.world();
        let takers = world.takers(payload);
        let full = |id: &u64| {
            let link = world.links.get(id);
            link.is_some_and(|link| link.out.capacity() == 0)
        };
        !takers.is_empty() && takers.iter().all(full)
    }

    /// Sends the SYSTEM ping of a link (stream-protocol.md, section 2.1).
    fn system_ping(&self, id: u64) {
        let Some((app, mode)) = self
            .world()
            .links
            .get(&id)
            .map(|link| (std::sync::Arc::clone(&link.app), link.mode))
        else {
            return;
        };
        if mode != LinkMode::Live && mode != LinkMode::Stalled {
            return;
        }
        let data = format!("{{\"opaque\":\"{}\"}}", crate::sim::state::uuid());
        let envelope = super::Envelope::new(app, "SYSTEM", "ping", &[], &data);
        let payload = Payload::Envelope(std::sync::Arc::new(envelope));
        if let Ok(prepared) = self.prepare(payload, 0, Aim::Link(id)) {
            let _ = prepared.out.try_send(Out::Bytes(prepared.bytes));
            self.notify();
        }
    }
}
