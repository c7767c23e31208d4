//! What one account holds: the requests that were delivered and are not acknowledged, and the
//! progress reports that keep them from being delivered to somebody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::broker::Incoming;
use crate::message::DeadReason;

use super::ledger::Publication;
use super::receipt::Published;

/// A request and what has to be answered when it ends: its latest delivery, as after a broken
/// connection the same one comes again, and its copies in the backlog.
#[derive(Debug)]
pub(super) struct Held {
    /// The request.
    pub(super) published: Published,
    open: Mutex<Vec<Arc<Incoming>>>,
}

impl Held {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self {
            published: published(&incoming),
            open: Mutex::new(vec![Arc::new(incoming)]),
        }
    }

    fn open(&self) -> Vec<Arc<Incoming>> {
        lock(&self.open).clone()
    }

    /// Takes another delivery of the same request, or a copy.
    fn join(&self, incoming: Incoming) {
        let mut open = lock(&self.open);
        open.retain(|other| !incoming.succeeds(other));
        open.push(Arc::new(incoming));
    }

    /// Gives the request back unfinished, so that it is delivered again at once.
    pub(super) async fn release(&self) {
        for incoming in self.open() {
            incoming.release().await;
        }
    }

    /// Acknowledges the request; a dead one is terminated with its reason. When the broker does not
    /// hear it, the request is delivered again and the ledger knows its end.
    pub(super) async fn settle(&self, dead: Option<DeadReason>) {
        for incoming in self.open() {
            acknowledge(&incoming, dead).await;
        }
    }
}

/// Acknowledges a delivery, as [`Held::settle`] does.
pub(super) async fn acknowledge(incoming: &Incoming, dead: Option<DeadReason>) {
    let told = match dead {
        None => incoming.done().await,
        Some(reason) => incoming.reject(reason.as_str()).await,
    };
    if let Err(error) = told {
        debug!(nats.sequence = incoming.sequence, %error, "acknowledgement not heard, the request is delivered again");
    }
}

/// What a delivery carries.
pub(super) fn published(incoming: &Incoming) -> Published {
    Published {
        subject: incoming.subject.clone(),
        headers: incoming.headers.clone(),
        payload: incoming.payload.clone(),
        publication: Publication {
            seq: incoming.sequence,
            at: incoming.published_at,
        },
    }
}

/// All requests that one account holds, by sequence.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    held: Mutex<Stock>,
}

#[derive(Debug, Default)]
struct Stock {
    requests: BTreeMap<u64, Arc<Held>>,
    /// Bytes of them.
    weight: usize,
}

impl Shelf {
    /// Takes a delivery; `None` when the request is held already and only its delivery is new.
    pub(super) fn put(&self, incoming: Incoming) -> Option<Arc<Held>> {
        let mut shelf = lock(&self.held);
        if let Some(held) = shelf.requests.get(&incoming.sequence) {
            held.join(incoming);
            return None;
        }
        let held = Arc::new(Held::new(incoming));
        let sequence = held.published.publication.seq;
        shelf.weight = shelf.weight.saturating_add(held.published.weight());
        shelf.requests.insert(sequence, Arc::clone(&held));
        Some(held)
    }

    /// The request with this sequence.
    pub(super) fn find(&self, sequence: u64) -> Option<Arc<Held>> {
        lock(&self.held).requests.get(&sequence).cloned()
    }

    /// Requests held.
    pub(super) fn len(&self) -> usize {
        lock(&self.held).requests.len()
    }

    /// About how many bytes they take.
    pub(super) fn weight(&self) -> usize {
        lock(&self.held).weight
    }

    /// Lets go of a request.
    pub(super) fn remove(&self, sequence: u64) -> Option<Arc<Held>> {
        let mut shelf = lock(&self.held);
        let held = shelf.requests.remove(&sequence)?;
        shelf.weight = shelf.weight.saturating_sub(held.published.weight());
        Some(held)
    }

    /// Reports progress for everything held, every `period`, for ever.
    pub(super) async fn report(&self, period: Duration) {
        let mut beat = interval(period);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let held: Vec<Arc<Held>> = lock(&self.held).requests.values().cloned().collect();
            for held in held {
                for incoming in held.open() {
                    incoming.progress().await;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
