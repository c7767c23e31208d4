//! What keeps a request on the shelf while a card has it: whichever way the card loses it, it is off
//! the shelf then, so that nothing is kept from everybody for ever.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::super::held::{Held, Shelf};
use super::super::receipt::Published;
use crate::message::DeadReason;

/// What was let go because the bridge stops, to be given back.
#[derive(Debug, Default)]
pub(super) struct Released(Mutex<Vec<Arc<Held>>>);

impl Released {
    /// What came since the last time.
    pub(super) fn take(&self) -> Vec<Arc<Held>> {
        let mut released = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *released)
    }

    fn add(&self, held: Arc<Held>) {
        let mut released = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        released.push(held);
    }
}

/// The grip of a card on one request. Dropped before the request has its end it lets go of it: the
/// request is delivered again, at once when it is because the bridge stops. Else another bridge took
/// it over, and whoever has it too keeps it.
#[derive(Debug)]
pub(super) struct Grip {
    held: Arc<Held>,
    shelf: Arc<Shelf>,
    released: Arc<Released>,
    stop: CancellationToken,
}

impl Grip {
    pub(super) fn new(
        held: Arc<Held>,
        (shelf, released): (Arc<Shelf>, Arc<Released>),
        stop: CancellationToken,
    ) -> Self {
        Self {
            held,
            shelf,
            released,
            stop,
        }
    }

    /// The request.
    pub(super) fn published(&self) -> &Published {
        &self.held.published
    }

    /// Acknowledges the request, which has its end, and takes it off the shelf.
    pub(super) async fn settle(&self, dead: Option<DeadReason>) {
        self.held.settle(dead).await;
        self.unshelve();
    }

    /// Takes the request off the shelf; whether it was there. One whose acknowledgement was not heard
    /// may be there anew, and is not ours then.
    fn unshelve(&self) -> bool {
        let sequence = self.published().publication.seq;
        let shelved = self.shelf.find(sequence);
        let is_ours = shelved.is_some_and(|shelved| Arc::ptr_eq(&shelved, &self.held));
        if is_ours {
            self.shelf.remove(sequence);
        }
        is_ours
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        if self.unshelve() && self.stop.is_cancelled() {
            self.released.add(Arc::clone(&self.held));
        }
    }
}
