//! Which subjects of one account have a backlog, how far it reaches, and whose turn it is to be fetched.
//! Pure bookkeeping; it knows neither broker nor lanes.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The backlogs of one account.
#[derive(Debug, Default)]
pub(super) struct Book {
    backlogs: HashMap<Arc<str>, Backlog>,
    /// Subjects that are to be fetched next: those with something urgent, and the others.
    urgent: VecDeque<Arc<str>>,
    others: VecDeque<Arc<str>>,
    /// Requests in all of them.
    total: u64,
}

/// What waits on one subject: in the stream, or on its way there.
#[derive(Debug, Default)]
struct Backlog {
    /// Sequence of the last request that was stowed.
    last: u64,
    /// Sequences of those that are on their way there.
    leaving: BTreeSet<u64>,
    /// Requests in the stream that were not taken out, as far as that is known.
    stored: u64,
    /// Place in the stream from which to read on.
    place: u64,
    urgent: bool,
    fetch: Fetching,
}

/// How a backlog stands with its next fetch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Fetching {
    #[default]
    Idle,
    Queued,
    /// Under way; whether something was stowed since it began, or was just being stowed then.
    UnderWay {
        moved: bool,
    },
}

/// What is to be read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) subject: Arc<str>,
    pub(super) place: u64,
}

/// What is left of a backlog after a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// Requests from this sequence on, at the lowest; `None` when the bar stays where it is.
    From(Option<u64>),
}

impl Book {
    /// Subjects with a backlog.
    pub(super) fn len(&self) -> usize {
        self.backlogs.len()
    }

    /// Requests in all backlogs.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn has(&self, subject: &str) -> bool {
        self.backlogs.contains_key(subject)
    }

    /// The subjects with a backlog.
    pub(super) fn known(&self) -> HashSet<Arc<str>> {
        self.backlogs.keys().map(Arc::clone).collect()
    }

    /// The name by which a subject is known, or is going to be.
    pub(super) fn name(&self, subject: &str) -> Arc<str> {
        let known = self.backlogs.get_key_value(subject);
        known.map_or_else(|| Arc::from(subject), |(name, _)| Arc::clone(name))
    }

    /// Whether a request belongs behind the backlog of its subject; `None` when that has none. One that
    /// is not newer than all of it comes again, late, and may be there already.
    pub(super) fn is_behind(&self, subject: &str, sequence: u64) -> Option<bool> {
        let backlog = self.backlogs.get(subject)?;
        Some(sequence > backlog.last)
    }

    /// Notes a backlog that was found at the broker.
    pub(super) fn adopt(&mut self, subject: &Arc<str>, (last, stored): (u64, u64), urgent: bool) {
        let is_new = !self.backlogs.contains_key(subject);
        let backlog = self.backlogs.entry(Arc::clone(subject)).or_default();
        backlog.last = backlog.last.max(last);
        backlog.urgent |= urgent;
        if is_new {
            backlog.stored = stored;
            self.total += stored;
        }
    }

    /// Notes that a request leaves for the backlog; whether it is the first there.
    pub(super) fn stow(&mut self, subject: &Arc<str>, sequence: u64, urgent: bool) -> bool {
        let is_first = !self.backlogs.contains_key(subject);
        let backlog = self.backlogs.entry(Arc::clone(subject)).or_default();
        backlog.last = backlog.last.max(sequence);
        backlog.leaving.insert(sequence);
        backlog.urgent |= urgent;
        if let Fetching::UnderWay { moved } = &mut backlog.fetch {
            *moved = true;
        }
        is_first
    }

    /// Notes that the broker has it, or does not take it.
    pub(super) fn arrived(&mut self, subject: &str, sequence: u64, is_stored: bool) {
        let Some(backlog) = self.backlogs.get_mut(subject) else {
            return;
        };
        backlog.leaving.remove(&sequence);
        if is_stored {
            backlog.stored += 1;
            self.total += 1;
        }
    }

    /// Notes that a subject has too little in its lanes.
    pub(super) fn want(&mut self, subject: &Arc<str>) {
        let Some(backlog) = self.backlogs.get_mut(subject) else {
            return;
        };
        // What is still on its way cannot be fetched.
        let has_some = backlog.stored > 0 || backlog.leaving.is_empty();
        if has_some && backlog.fetch == Fetching::Idle {
            backlog.fetch = Fetching::Queued;
            let queue = match backlog.urgent {
                true => &mut self.urgent,
                false => &mut self.others,
            };
            queue.push_back(Arc::clone(subject));
        }
    }

    /// Whose turn it is: the urgent first, then the others where there is room for them.
    pub(super) fn turn(&mut self, with_others: bool) -> Option<Turn> {
        loop {
            let subject = match self.urgent.pop_front() {
                None if with_others => self.others.pop_front(),
                urgent => urgent,
            }?;
            if let Some(backlog) = self.backlogs.get_mut(&subject) {
                let moved = !backlog.leaving.is_empty();
                backlog.fetch = Fetching::UnderWay { moved };
                let place = backlog.place;
                return Some(Turn { subject, place });
            }
        }
    }

    /// The lowest sequence that is on its way to the backlog of `subject`: nothing after it may be taken
    /// before, as it may not be taken there.
    pub(super) fn leaving_from(&self, subject: &str) -> u64 {
        let backlog = self.backlogs.get(subject);
        let first = backlog.and_then(|backlog| backlog.leaving.first());
        first.copied().unwrap_or(u64::MAX)
    }

    /// Notes what a fetch brought: requests that were taken, by sequence and place, the sequence of the
    /// first that was not, and whether the stream had no more.
    pub(super) fn fetched(
        &mut self,
        subject: &str,
        taken: &[(u64, u64)],
        (left, end): (Option<u64>, bool),
    ) -> Rest {
        let Some(backlog) = self.backlogs.get_mut(subject) else {
            return Rest::Nothing;
        };
        let was = std::mem::take(&mut backlog.fetch);
        let newest = taken.iter().map(|(sequence, _)| sequence + 1).max();
        if let Some((_, place)) = taken.last() {
            backlog.place = place + 1;
        }
        let count = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        let before = backlog.stored;
        backlog.stored = before.saturating_sub(count);
        let is_still = was == Fetching::UnderWay { moved: false } && backlog.leaving.is_empty();
        let is_over = end && left.is_none() && is_still;
        if is_over {
            backlog.stored = 0;
        }
        self.total = self.total + backlog.stored - before;
        if is_over {
            self.backlogs.remove(subject);
            return Rest::Nothing;
        }
        Rest::From(left.or(newest))
    }
}
