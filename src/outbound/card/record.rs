//! What is known about one card, changed by compare-and-set only: the ledger of a card, so that two
//! bridges which both hold its requests neither show it twice nor lose a piece. It knows neither
//! lanes nor DingTalk.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ask::{Chat, Feed, Text};
use crate::broker::{Broker, BrokerError, Bucket, Entry, KeyValue};
use crate::dingtalk::api::FrameEnd;
use crate::message::{AccountName, RequestId, Timestamp};

use super::super::ledger::{Owner, Publication};

/// How many merged pieces are remembered: far more than are delivered and not acknowledged.
const REMEMBERED: usize = 1024;
/// The same once a card has ended: what was acknowledged is not delivered again.
const REMEMBERED_AFTER: usize = 128;

/// Longest text of one card or stream, in bytes: far more than a card shows, far less than the broker
/// takes.
pub(super) const MAX_TEXT: usize = 256 << 10;
/// Pieces whose receipts may wait for a plain message; then what there is of it is said.
pub(super) const MAX_OWED: usize = 2000;

/// How far a card has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub(in crate::outbound) enum Phase {
    /// It is being created, which may be repeated.
    Creating,
    /// The call that shows it may have left.
    Delivering {
        /// Since when.
        since: Timestamp,
    },
    /// It is there and nobody streams into it.
    Standing,
    /// It is being streamed into: it spins.
    Open,
    /// There is no card, or it broke: the text is collected for a plain message.
    Plain,
    /// It came to its end.
    Ended,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::outbound) enum Ending {
    /// As finished.
    Finished,
    /// As failed.
    Failed,
}

impl Ending {
    /// What the last frame does to the card.
    pub(super) fn frame(self) -> FrameEnd {
        match self {
            Self::Finished => FrameEnd::Finished,
            Self::Failed => FrameEnd::Failed,
        }
    }
}

/// A piece whose receipt is still to be written, because its text waits for a plain message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::outbound) struct Owed {
    /// Idempotency key.
    pub(super) id: RequestId,
    /// Publication.
    #[serde(flatten)]
    pub(super) publication: Publication,
    /// When it was asked for first.
    pub(super) asked: Timestamp,
    /// Subject, where it is not the chat's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
}

/// Everything that is known about a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::outbound) struct Record {
    /// Who wrote it last.
    pub(super) owner: Owner,
    /// How far it has come.
    #[serde(flatten)]
    pub(super) phase: Phase,
    /// Where it stands, when the bridge put it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chat: Option<Chat>,
    /// Sequence of the request that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) opener: Option<u64>,
    /// Variable that is streamed.
    pub(super) key: String,
    /// The whole text so far.
    #[serde(default)]
    pub(super) text: String,
    /// Bytes of it that the card is known to show.
    #[serde(default)]
    pub(super) shown: usize,
    /// Whether text or ending may not have reached the card.
    #[serde(default)]
    pub(super) dirty: bool,
    /// DingTalk's idempotency key of the frame that says this.
    #[serde(default)]
    pub(super) guid: String,
    /// How it is to end, once that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ending: Option<Ending>,
    /// Whether nobody knows if people see it.
    #[serde(default)]
    pub(super) doubt: bool,
    /// Whether it is a streamed answer: without a card its text goes out in words.
    #[serde(default)]
    pub(super) streams: bool,
    /// Whether it was a card until DingTalk took no more of it.
    #[serde(default)]
    pub(super) broke: bool,
    /// DingTalk's key, which recalls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) carrier: Option<String>,
    /// Sequences of the pieces that are in it, oldest first.
    #[serde(default)]
    pub(super) merged: Vec<u64>,
    /// Fingerprints of the keys that their callers gave them.
    #[serde(default)]
    pub(super) keys: Vec<u64>,
    /// Up to where the text is being said although the stream goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) saying: Option<usize>,
    /// Pieces whose receipts wait for the plain message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) owed: Vec<Owed>,
    /// When it was opened.
    pub(super) opened_at: Timestamp,
    /// When it is closed unless another piece comes.
    pub(super) deadline: Timestamp,
}

/// A piece that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// The same publication.
    Delivered,
    /// Another publication of the same key.
    Published,
}

impl Record {
    /// A card of which nothing is known yet.
    pub(super) fn new(owner: Owner, phase: Phase, key: &str, deadline: Timestamp) -> Self {
        Self {
            owner,
            phase,
            chat: None,
            opener: None,
            key: key.to_owned(),
            text: String::new(),
            shown: 0,
            dirty: false,
            guid: String::new(),
            ending: None,
            doubt: false,
            streams: false,
            broke: false,
            carrier: None,
            merged: Vec::new(),
            keys: Vec::new(),
            saying: None,
            owed: Vec::new(),
            opened_at: Timestamp::now(),
            deadline,
        }
    }

    /// Whether a piece is in the card already.
    pub(super) fn knows(&self, sequence: u64, key: Option<u64>) -> Option<Before> {
        let forgotten =
            self.merged.len() >= REMEMBERED && self.merged.first().is_some_and(|at| sequence < *at);
        if forgotten || self.merged.contains(&sequence) {
            return Some(Before::Delivered);
        }
        let published = key.is_some_and(|key| self.keys.contains(&key));
        published.then_some(Before::Published)
    }

    /// Writes a piece down as being in the card.
    pub(super) fn remember(&mut self, sequence: u64, key: Option<u64>) {
        let at = self.merged.partition_point(|before| *before < sequence);
        self.merged.insert(at, sequence);
        self.keys.extend(key);
        self.forget_beyond(REMEMBERED);
    }

    fn forget_beyond(&mut self, most: usize) {
        let excess = |list: &Vec<u64>| list.len().saturating_sub(most);
        self.merged.drain(..excess(&self.merged));
        self.keys.drain(..excess(&self.keys));
    }

    /// Whether there is room for what a feed says.
    pub(super) fn takes(&self, feed: &Feed) -> bool {
        match &feed.text {
            Text::Same => true,
            Text::Append(text) => self.text.len() + text.len() <= MAX_TEXT,
            Text::Whole(text) => text.len() <= MAX_TEXT,
        }
    }

    /// Takes text and ending of a feed.
    pub(super) fn feed(&mut self, feed: &Feed) {
        let mut is_new = feed.ending.is_some();
        match &feed.text {
            Text::Same => {}
            Text::Append(text) => {
                is_new |= !text.is_empty();
                self.text.push_str(text);
            }
            Text::Whole(text) => {
                let kept = text.get(..self.shown) == self.text.get(..self.shown);
                if !kept {
                    self.shown = 0;
                }
                is_new |= *text != self.text;
                self.text.clone_from(text);
            }
        }
        if let Some(key) = &feed.key {
            self.key.clone_from(key);
        }
        self.ending = feed.ending.or(self.ending);
        self.streams |= feed.opens;
        if is_new {
            self.dirty = true;
            self.guid.clear();
        }
    }

    /// What the card does not show yet.
    pub(super) fn rest(&self) -> &str {
        self.text.get(self.shown..).unwrap_or(&self.text)
    }

    /// Whether it may not be left as it is: it spins, or somebody waits for its text.
    pub(super) fn is_unfinished(&self) -> bool {
        match self.phase {
            Phase::Creating | Phase::Delivering { .. } | Phase::Open => true,
            Phase::Plain => !self.owed.is_empty(),
            Phase::Standing | Phase::Ended => false,
        }
    }

    /// Ends it; what only mattered before is dropped.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        self.dirty = false;
        self.owed.clear();
        self.forget_beyond(REMEMBERED_AFTER);
    }
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::outbound) struct Found {
    /// The record; `None` when another version of the bridge wrote it in a form of its own.
    pub(super) record: Option<Record>,
    /// Revision, for compare-and-set.
    pub(super) revision: u64,
}

/// All cards of one account.
#[derive(Debug, Clone)]
pub(in crate::outbound) struct Album {
    account: AccountName,
    bucket: KeyValue,
}

impl Album {
    pub(super) fn new(broker: &Broker, account: AccountName) -> Self {
        Self {
            account,
            bucket: broker.bucket(Bucket::Cards),
        }
    }

    fn key(&self, track: &str) -> String {
        format!("{}:{track}", self.account)
    }

    /// What is known about a card.
    pub(super) async fn read(&self, track: &str) -> Result<Option<Found>, BrokerError> {
        let entry = self.bucket.read(&self.key(track)).await?;
        Ok(entry.map(|entry| found(&entry)))
    }

    /// Every card of the account.
    pub(super) async fn all(&self) -> Result<Vec<(String, Record)>, BrokerError> {
        let prefix = self.key("");
        let entries = self.bucket.entries().await?.into_iter();
        let own = entries.filter_map(|(key, entry)| {
            let track = key.strip_prefix(&prefix)?.to_owned();
            Some((track, found(&entry).record?))
        });
        Ok(own.collect())
    }

    /// Writes `record` over `revision`, or as the first when that is `None`; `None` when another
    /// write came first. One whose answer was lost is recognised when it is made again.
    pub(super) async fn write(
        &self,
        track: &str,
        record: &Record,
        revision: Option<u64>,
    ) -> Result<Option<u64>, BrokerError> {
        let key = self.key(track);
        let value = serde_json::to_vec(record).map(Bytes::from);
        let value = value.map_err(|error| {
            BrokerError::Unfit(format!("a card record cannot be written: {error}"))
        })?;
        let written = match revision {
            Some(revision) => self.bucket.update(&key, value.clone(), revision).await,
            None => self.bucket.create(&key, value.clone()).await,
        };
        match written {
            Ok(revision) => Ok(Some(revision)),
            Err(BrokerError::Conflict) => {
                let now = self.bucket.read(&key).await?;
                let ours = now.filter(|entry| entry.value == value);
                Ok(ours.map(|entry| entry.revision))
            }
            Err(error) => Err(error),
        }
    }
}

fn found(entry: &Entry) -> Found {
    Found {
        record: serde_json::from_slice(&entry.value).ok(),
        revision: entry.revision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let deadline = Timestamp::from_millis(9);
        Record::new(Owner::random(), Phase::Open, "content", deadline)
    }

    fn feed(text: Text) -> Feed {
        Feed {
            text,
            ..Feed::default()
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let mut record = record();
        record.phase = Phase::Delivering {
            since: Timestamp::from_millis(4),
        };
        record.chat = Some(Chat::group("cidA=="));
        record.remember(7, Some(u64::MAX));
        record.ending = Some(Ending::Failed);
        record.owed.push(Owed {
            id: RequestId::parse("a").unwrap(),
            publication: Publication {
                seq: 3,
                at: Timestamp::from_millis(2),
            },
            asked: Timestamp::from_millis(1),
            subject: None,
        });
        let json = serde_json::to_vec(&record).unwrap();
        let entry = Entry {
            value: json.into(),
            revision: 2,
        };
        assert_eq!(found(&entry).record, Some(record));
    }

    #[test]
    fn a_piece_is_known_by_its_sequence_and_a_copy_by_its_key() {
        let mut record = record();
        record.remember(7, Some(1));
        record.remember(5, None);
        assert_eq!(record.merged, [5, 7]);
        assert_eq!(record.knows(7, None), Some(Before::Delivered));
        assert_eq!(record.knows(8, Some(1)), Some(Before::Published));
        assert_eq!(record.knows(6, Some(2)), None);
        for sequence in 10..(10 + 2 * REMEMBERED as u64) {
            record.remember(sequence, Some(sequence));
        }
        assert_eq!(record.merged.len(), REMEMBERED);
        assert_eq!(record.keys.len(), REMEMBERED);
        assert_eq!(record.knows(5, None), Some(Before::Delivered), "long ago");
    }

    #[test]
    fn text_grows_or_is_replaced_and_the_card_knows_what_it_lacks() {
        let mut record = record();
        record.feed(&feed(Text::Append("Hello".into())));
        assert!(record.dirty);
        (record.dirty, record.shown) = (false, 5);
        record.feed(&feed(Text::Append(", world".into())));
        assert_eq!(record.rest(), ", world");
        record.feed(&feed(Text::Whole("Hello, you".into())));
        assert_eq!(record.rest(), ", you");
        record.feed(&feed(Text::Whole("Else".into())));
        assert_eq!((record.rest(), record.shown), ("Else", 0));
        record.dirty = false;
        record.feed(&feed(Text::Same));
        record.feed(&feed(Text::Whole("Else".into())));
        assert!(!record.dirty, "nothing is new");
    }
}
