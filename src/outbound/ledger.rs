//! The ledger of sends: what is known about each idempotency key, changed by compare-and-set only,
//! so that two bridges which both hold a request cannot both send it.
//!
//! `pending` says that nothing is under way, `sending` that a call may have left, `done` carries the
//! receipt. It knows neither lanes nor DingTalk.

use std::fmt::Write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::broker::{Broker, BrokerError, Bucket, Entry, KeyValue};
use crate::message::{AccountName, DeadReason, Part, Receipt, RequestId, Timestamp, Via};

use super::batch::Batch;

/// Who writes: one life of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Owner(String);

impl Owner {
    /// A fresh random owner.
    pub(super) fn random() -> Self {
        let mut text = String::with_capacity(32);
        // Writing to a String cannot fail.
        let _ = write!(text, "{:032x}", fastrand::u128(..));
        Self(text)
    }
}

/// Which publication of a key this is: a stream sequence and, should the stream have been made
/// anew, its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Publication {
    /// Sequence in the outbound stream.
    pub(super) seq: u64,
    /// When it was published.
    pub(super) at: Timestamp,
}

/// How far a request has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    /// Index of the call's worth of users that is next or under way.
    pub(super) chunk: usize,
    /// Index of the part that is next or under way.
    pub(super) part: usize,
    /// Messages that the request became; 0 while that is not known.
    pub(super) parts: usize,
    /// Calls that ended: those that DingTalk took for somebody, and those in doubt.
    pub(super) parts_done: Vec<Part>,
    /// Calls that carried content.
    pub(super) attempts: u32,
    /// Calls that DingTalk bills for.
    pub(super) cost: u32,
    /// Users whom DingTalk refused for good.
    pub(super) refused_users: Vec<String>,
    /// Users whose call was not answered.
    pub(super) uncertain_users: Vec<String>,
    /// Users of the present call, once they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rest: Option<Vec<String>>,
    /// Users whom DingTalk put off; they come last.
    pub(super) put_off: Vec<Batch>,
    /// Whether a call may be made again without an answer, as DingTalk shows its key once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) repeatable: bool,
    /// Whether it is for a list of users, whose calls stand and fall alone.
    pub(super) list: bool,
    /// Path of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) via: Option<Via>,
}

/// What is known about one idempotency key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Publication that the key belongs to.
    #[serde(flatten)]
    pub(super) publication: Publication,
    /// How it stands.
    #[serde(flatten)]
    pub(super) state: State,
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum State {
    /// Nothing is under way.
    Pending {
        /// Who has it.
        owner: Owner,
        /// How far it came.
        #[serde(flatten)]
        progress: Progress,
    },
    /// A call may have left.
    Sending {
        /// Who makes it.
        owner: Owner,
        /// Since when.
        since: Timestamp,
        /// How far it came.
        #[serde(flatten)]
        progress: Progress,
    },
    /// It ended.
    Done(Box<Done>),
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    /// Its receipt.
    pub(super) receipt: Receipt,
    /// Why it is a dead letter, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dead: Option<DeadReason>,
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// The record; `None` when another version of the bridge wrote it in a form of its own.
    pub(super) record: Option<Record>,
    /// Revision, for compare-and-set.
    pub(super) revision: u64,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Written {
    /// It stands, at this revision.
    Stands(u64),
    /// Another write came first.
    Overtaken(Box<Found>),
}

/// The bucket behind the ledger.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    bucket: KeyValue,
}

impl Ledger {
    pub(super) fn new(broker: &Broker) -> Self {
        Self {
            bucket: broker.bucket(Bucket::Ledger),
        }
    }

    /// The key of a request in the bucket; no account name holds a colon.
    pub(super) fn key(account: &AccountName, id: &RequestId) -> String {
        format!("{account}:{id}")
    }

    /// What is known.
    pub(super) async fn read(&self, key: &str) -> Result<Option<Found>, BrokerError> {
        Ok(self.bucket.read(key).await?.map(|entry| found(&entry)))
    }

    /// Writes `record` over `revision`, or as the first when that is `None`. A write whose answer
    /// was lost is recognised when it is made again.
    pub(super) async fn write(
        &self,
        key: &str,
        record: &Record,
        revision: Option<u64>,
    ) -> Result<Written, BrokerError> {
        let value = encode(record)?;
        let written = match revision {
            Some(revision) => self.bucket.update(key, value.clone(), revision).await,
            None => self.bucket.create(key, value.clone()).await,
        };
        match written {
            Ok(revision) => return Ok(Written::Stands(revision)),
            Err(BrokerError::Conflict) => {}
            Err(
                error
                @ (BrokerError::Away(_) | BrokerError::Refused { .. } | BrokerError::Unfit(_)),
            ) => {
                return Err(error);
            }
        }
        match self.bucket.read(key).await? {
            Some(entry) if entry.value == value => Ok(Written::Stands(entry.revision)),
            Some(entry) => Ok(Written::Overtaken(Box::new(found(&entry)))),
            // Expired or purged under our hands: begin it anew.
            None => match self.bucket.create(key, value).await {
                Ok(revision) => Ok(Written::Stands(revision)),
                Err(BrokerError::Conflict) => {
                    Err(BrokerError::Away("a ledger entry came and went".to_owned()))
                }
                Err(error) => Err(error),
            },
        }
    }
}

fn encode(record: &Record) -> Result<Bytes, BrokerError> {
    serde_json::to_vec(record)
        .map(Bytes::from)
        .map_err(|error| BrokerError::Unfit(format!("a ledger record cannot be written: {error}")))
}

fn found(entry: &Entry) -> Found {
    Found {
        record: serde_json::from_slice(&entry.value).ok(),
        revision: entry.revision,
    }
}

#[cfg(test)]
mod tests {
    use crate::message::Outcome;

    use super::*;

    fn back_and_forth(state: State) -> serde_json::Value {
        let publication = Publication {
            seq: 7,
            at: Timestamp::from_millis(1_769_851_697_611),
        };
        let record = Record { publication, state };
        let json = encode(&record).unwrap();
        let entry = Entry {
            value: json.clone(),
            revision: 3,
        };
        assert_eq!(found(&entry).record, Some(record));
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn every_state_comes_back_as_it_was_written() {
        let progress = Progress {
            repeatable: false,
            chunk: 4,
            part: 1,
            parts: 3,
            parts_done: vec![Part {
                outcome: Outcome::Sent,
                via: Some(Via::Openapi),
                process_query_key: Some("k".into()),
            }],
            attempts: 2,
            cost: 1,
            refused_users: vec!["u1".into()],
            uncertain_users: vec!["u4".into()],
            rest: Some(vec!["u2".into()]),
            put_off: vec![Batch {
                part: 0,
                users: vec!["u3".into()],
            }],
            list: true,
            via: Some(Via::Openapi),
        };
        let owner = Owner("me".into());
        let pending = back_and_forth(State::Pending {
            owner: owner.clone(),
            progress: progress.clone(),
        });
        assert_eq!(pending["state"], "pending");
        assert_eq!(pending["seq"], 7);
        assert_eq!(pending["part"], 1);
        let sending = back_and_forth(State::Sending {
            owner,
            since: Timestamp::from_millis(5),
            progress,
        });
        assert_eq!(sending["state"], "sending");
        assert_eq!(sending["since"], "1970-01-01T00:00:00.005Z");
        let receipt = Receipt {
            id: RequestId::parse("x").unwrap(),
            account: AccountName::parse("sales").unwrap(),
            subject: None,
            outcome: Outcome::Expired,
            via: None,
            process_query_key: None,
            code: None,
            message: None,
            cure: None,
            refused_users: Vec::new(),
            uncertain_users: Vec::new(),
            unsent_users: Vec::new(),
            out_track_id: None,
            parts: Vec::new(),
            attempts: 0,
            requested_at: Timestamp::from_millis(1),
            finished_at: Timestamp::from_millis(2),
            cost: 0,
        };
        let dead = Some(DeadReason::Expired);
        let done = back_and_forth(State::Done(Box::new(Done { receipt, dead })));
        assert_eq!(done["state"], "done");
        assert_eq!(done["receipt"]["outcome"], "expired");
    }

    #[test]
    fn a_record_of_another_form_is_found_and_not_read() {
        let entry = Entry {
            value: Bytes::from_static(b"{\"state\":\"later\"}"),
            revision: 9,
        };
        assert_eq!(
            found(&entry),
            Found {
                record: None,
                revision: 9
            }
        );
    }

    #[test]
    fn owners_differ() {
        assert_ne!(Owner::random(), Owner::random());
    }
}
