//! The account book of one month: how many billed calls all replicas made, and whether DingTalk
//! refuses more. Pure: it reads and writes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::month::Span;
use crate::message::{Brake, QuotaStanding, Timestamp};
use crate::telemetry::{Month, Tally};

/// How long the mark of a writer is kept: a write whose answer was lost is made again well before.
const MARK_LIFE_MS: i64 = 600_000;

/// One value of the bucket, under `<account>:<YYYY-MM>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Book {
    /// Billed calls by family.
    calls: BTreeMap<String, u64>,
    /// Since when DingTalk refuses every call, and the limit that was configured then.
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted: Option<Exhausted>,
    /// The last entry of each writer, in milliseconds of its clock: what is in here is not added again.
    marks: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Exhausted {
    at: Timestamp,
    #[serde(default)]
    limit: Option<u64>,
}

/// What one replica adds.
#[derive(Debug, Clone)]
pub(super) struct Posting<'a> {
    /// Who adds it.
    pub(super) writer: &'a str,
    /// When it was drawn up: larger with each one.
    pub(super) mark: i64,
    /// What.
    pub(super) tally: &'a Tally,
    /// The limit as this replica has it configured.
    pub(super) limit: Option<u64>,
}

impl Book {
    /// Reads a value; an unreadable one counts as empty.
    pub(super) fn decode(value: &[u8]) -> Self {
        serde_json::from_slice(value).unwrap_or_default()
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Whether the posting stands in it already.
    pub(super) fn holds(&self, posting: &Posting<'_>) -> bool {
        let mark = self.marks.get(posting.writer);
        mark.is_some_and(|mark| *mark >= posting.mark)
    }

    /// Adds a posting.
    pub(super) fn add(&mut self, posting: &Posting<'_>) {
        for (family, calls) in &posting.tally.calls {
            *self.calls.entry(family.as_str().to_owned()).or_default() += calls;
        }
        match posting.tally.month {
            Some(Month::Open) => self.exhausted = None,
            Some(Month::UsedUp) if self.refuses(posting.limit) => {}
            Some(Month::UsedUp) => {
                self.exhausted = Some(Exhausted {
                    at: Timestamp::from_millis(posting.mark),
                    limit: posting.limit,
                });
            }
            None => {}
        }
        self.marks
            .retain(|_, mark| posting.mark.saturating_sub(*mark) < MARK_LIFE_MS);
        self.marks.insert(posting.writer.to_owned(), posting.mark);
    }

    /// Whether DingTalk refuses every call. A limit that was raised since, or given for the first
    /// time, says that more were bought.
    fn refuses(&self, limit: Option<u64>) -> bool {
        match (self.exhausted, limit) {
            (None, _) => false,
            (Some(exhausted), Some(limit)) => exhausted.limit.is_some_and(|before| limit <= before),
            (Some(exhausted), None) => exhausted.limit.is_none(),
        }
    }

    /// How the account stands.
    pub(super) fn standing(&self, limit: Option<u64>, now: Timestamp) -> QuotaStanding {
        let used = self.calls.values().sum();
        QuotaStanding {
            used,
            limit,
            forecast: Span::of(now).forecast(used, now),
            brake: match limit {
                _ if self.refuses(limit) => Brake::Exhausted,
                Some(limit) => Brake::after(used, limit),
                None => Brake::Off,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ApiFamily;

    fn tally(calls: u64, month: Option<Month>) -> Tally {
        Tally {
            calls: [(ApiFamily::SendUser, calls)].into(),
            month,
        }
    }

    fn posting<'a>(mark: i64, tally: &'a Tally, limit: Option<u64>) -> Posting<'a> {
        Posting {
            writer: "me",
            mark,
            tally,
            limit,
        }
    }

    #[test]
    fn a_posting_counts_once_and_comes_back_as_it_was_written() {
        let mut book = Book::default();
        let five = tally(5, None);
        let first = posting(1000, &five, Some(100));
        assert!(!book.holds(&first));
        book.add(&first);
        let mut book = Book::decode(&book.encode());
        assert!(book.holds(&first));
        let second = posting(2000, &five, Some(100));
        assert!(!book.holds(&second));
        book.add(&second);
        let now = Timestamp::from_millis(2000);
        assert_eq!(book.standing(Some(100), now).used, 10);
        assert_eq!(Book::decode(b"?"), Book::default());
    }

    #[test]
    fn an_exhausted_month_ends_with_an_accepted_call_or_a_raised_limit() {
        let now = Timestamp::from_millis(5000);
        let refused = tally(0, Some(Month::UsedUp));
        let mut book = Book::default();
        book.add(&posting(1000, &refused, Some(100)));
        assert_eq!(book.standing(Some(100), now).brake, Brake::Exhausted);
        assert_eq!(book.standing(Some(50), now).brake, Brake::Exhausted);
        assert_eq!(book.standing(Some(200), now).brake, Brake::Off);
        book.add(&posting(2000, &tally(1, Some(Month::Open)), Some(100)));
        assert_eq!(book.standing(Some(100), now).brake, Brake::Off);
        book.add(&posting(3000, &refused, None));
        assert_eq!(book.standing(None, now).brake, Brake::Exhausted);
        assert_eq!(book.standing(Some(100), now).brake, Brake::Off);
    }
}
