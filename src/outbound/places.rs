//! Places for calls that are under way at once: some of them are kept for what is urgent.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::message::Priority;

/// Calls of one account that may be on their way at once: 20 a second in three families for the
/// better part of a deadline of 10 s. Waiting for anything else takes no place.
const FOR_ALL: usize = 256;
/// More of them, for what is urgent.
const FOR_URGENT: usize = 32;

/// The places of one account.
#[derive(Debug)]
pub(super) struct Places {
    all: Semaphore,
    urgent: Semaphore,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            all: Semaphore::new(FOR_ALL),
            urgent: Semaphore::new(FOR_URGENT),
        }
    }

    /// Waits for a place. Cancel-safe.
    pub(super) async fn take(&self, priority: Priority) -> Place<'_> {
        // The semaphores are never closed.
        let permit = match priority {
            Priority::Normal => self.all.acquire().await.ok(),
            Priority::High | Priority::Alert => tokio::select! {
                biased;
                permit = self.urgent.acquire() => permit.ok(),
                permit = self.all.acquire() => permit.ok(),
            },
        };
        Place { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::task::unconstrained;

    use super::*;

    #[tokio::test]
    async fn what_is_urgent_finds_a_place_when_the_others_do_not() {
        let places = Places::new();
        let mut taken = Vec::new();
        while let Some(place) = unconstrained(places.take(Priority::Normal)).now_or_never() {
            taken.push(place);
        }
        assert_eq!(taken.len(), FOR_ALL);
        while let Some(place) = unconstrained(places.take(Priority::High)).now_or_never() {
            taken.push(place);
        }
        assert_eq!(taken.len(), FOR_ALL + FOR_URGENT);
        taken.swap_remove(0);
        let urgent = unconstrained(places.take(Priority::Alert));
        assert!(urgent.now_or_never().is_some());
    }
}
