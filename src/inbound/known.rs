//! What the broker stored before an outage, for records that may be older than its deduplication
//! window. It publishes nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::record::Record;
use crate::broker::{Broker, BrokerError};
use crate::message::Timestamp;

/// Ids that are remembered at most, some 100 MiB; beyond them the memory starts anew.
const MAX_IDS: usize = 1_000_000;

/// Ids of what is stored, by the subjects that were asked for: each of them once for the whole
/// drain, since asking for a subject reads all of its recent ids.
#[derive(Debug)]
pub(super) struct Known {
    dedup_window: Duration,
    subjects: HashSet<String>,
    ids: HashSet<String>,
    /// When the first of them was asked for, and for the time since when.
    asked: Option<(Instant, Timestamp)>,
}

impl Known {
    pub(super) fn new(dedup_window: Duration) -> Self {
        Self {
            dedup_window,
            subjects: HashSet::new(),
            ids: HashSet::new(),
            asked: None,
        }
    }

    /// Whether the message with this id is stored already.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Starts anew.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.dedup_window);
    }

    /// Asks for `records`, but only when they may be older than the deduplication window, which
    /// would let in twice what was stored before.
    pub(super) async fn ask(
        &mut self,
        broker: &Broker,
        records: &[(u64, Option<Record>)],
    ) -> Result<(), BrokerError> {
        let records = || records.iter().filter_map(|(_, record)| record.as_ref());
        let Some(oldest) = records().map(|record| record.spooled_at).min() else {
            return Ok(());
        };
        let half = self.dedup_window / 2;
        if Timestamp::now().since(oldest) < half {
            return Ok(());
        }
        // What was stored after the question is known to the broker's own window.
        let stale = self
            .asked
            .is_some_and(|(at, since)| at.elapsed() >= half || oldest < since);
        if stale || self.ids.len() >= MAX_IDS {
            self.forget();
        }
        let unasked: HashSet<String> = records()
            .map(|record| &record.message.subject)
            .filter(|subject| !self.subjects.contains(*subject))
            .cloned()
            .collect();
        if unasked.is_empty() {
            return Ok(());
        }
        let since = self
            .asked
            .map_or_else(|| self.start(oldest), |(_, since)| since);
        self.ids.extend(broker.ids_since(&unasked, since).await?);
        self.subjects.extend(unasked);
        self.asked.get_or_insert((Instant::now(), since));
        Ok(())
    }

    /// A record was stored at most a deduplication window before it was spooled again.
    fn start(&self, oldest: Timestamp) -> Timestamp {
        let window = i64::try_from(self.dedup_window.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(oldest.as_millis().saturating_sub(window))
    }
}
