//! All of NATS: connection, streams, publish, consume, objects, key-value, managed server. It
//! knows no DingTalk.

use std::collections::HashSet;

use bytes::Bytes;
use thiserror::Error;

use crate::config;
use crate::message::{AccountName, Timestamp};
use crate::telemetry::{Health, Metrics};

/// Name and value of each header, in order.
pub type Headers = Vec<(String, String)>;

/// A message to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Subject.
    pub subject: String,
    /// Headers; `Nats-Msg-Id` always among them.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
}

/// What a PubAck says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Sequence in the stream.
    pub sequence: u64,
    /// It was there already.
    pub duplicate: bool,
}

/// Why the broker did not do what was asked.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// No connection, or no answer in time: try again.
    #[error("the broker does not answer: {0}")]
    Away(String),
    /// JetStream refused a message (full stream, wrong sequence, too large): the text is its own.
    #[error("jetstream refused: {description} (err_code {code})")]
    Refused {
        /// JetStream's err_code.
        code: u64,
        /// JetStream's words.
        description: String,
    },
    /// A compare-and-set found another value.
    #[error("changed meanwhile")]
    Conflict,
    /// A stream, bucket or setting that would break a promise; the text names it and the cure.
    #[error("{0}")]
    Unfit(String),
}

/// The connection to the broker and everything that the bridge keeps there; cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {}

impl Broker {
    /// Connects (publishing and consuming on connections of their own) and keeps connecting for
    /// ever; logs every 15 s what it waits for and reports part `broker` to `health`. Returns at
    /// once, connected or not, unless the configuration itself is wrong.
    ///
    /// # Errors
    /// [`BrokerError::Unfit`] for credentials or certificates that cannot be read.
    pub async fn connect(
        nats: &config::Nats,
        url: &str,
        metrics: Metrics,
        health: Health,
    ) -> Result<Self, BrokerError> {
        let _ = (nats, url, metrics, health);
        unimplemented!()
    }

    /// Creates what is missing and verifies what is there (streams, buckets). Waits for the broker.
    ///
    /// # Errors
    /// [`BrokerError::Unfit`] where an operator's change would break a promise.
    pub async fn prepare(&self) -> Result<(), BrokerError> {
        unimplemented!()
    }

    /// Whether the publishing connection is up now.
    pub fn connected(&self) -> bool {
        unimplemented!()
    }

    /// Largest message, headers included, that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        unimplemented!()
    }

    /// A windowed publisher with at most `window` messages without PubAck.
    pub fn publisher(&self, window: usize) -> Publisher {
        let _ = window;
        unimplemented!()
    }

    /// Stores one message and waits for its PubAck; for receipts, dead letters, status.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn store(&self, message: &Outgoing) -> Result<Stored, BrokerError> {
        let _ = message;
        unimplemented!()
    }

    /// Stores one message unless its subject holds one already; `None` when it does.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn store_once(&self, message: &Outgoing) -> Result<Option<Stored>, BrokerError> {
        let _ = message;
        unimplemented!()
    }

    /// The `Nats-Msg-Id`s of what the inbound stream stored on `subjects` since `since`.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn ids_since(
        &self,
        subjects: &HashSet<String>,
        since: Timestamp,
    ) -> Result<HashSet<String>, BrokerError> {
        let _ = (subjects, since);
        unimplemented!()
    }

    /// The first inbound message with deduplication key `id`, if it is still kept: its subject.
    pub fn bucket(&self, bucket: Bucket) -> KeyValue {
        let _ = bucket;
        unimplemented!()
    }

    /// Puts a body that is too large for a message into the object store under `key`.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn put_object(&self, key: &str, body: Bytes) -> Result<(), BrokerError> {
        let _ = (key, body);
        unimplemented!()
    }

    /// The canonical requests of one account, from its one durable consumer, pinned to one bridge
    /// at a time. Opens lazily and reopens for ever.
    pub fn requests(&self, account: &AccountName) -> Feed {
        let _ = account;
        unimplemented!()
    }

    /// The requests on the bare subjects, which are to be moved.
    pub fn bare_requests(&self) -> Feed {
        unimplemented!()
    }

    /// Deletes the consumer of an account that is served no more, unless another bridge pulls on it.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn retire(&self, account: &AccountName) -> Result<(), BrokerError> {
        let _ = account;
        unimplemented!()
    }

    /// Canonical requests for accounts that have no consumer, at most `limit`. Remove each with
    /// [`Broker::remove_request`] when its dead letter is stored.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn unserved(&self, limit: usize) -> Result<Vec<Stray>, BrokerError> {
        let _ = limit;
        unimplemented!()
    }

    /// Removes one message of the outbound stream.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn remove_request(&self, sequence: u64) -> Result<(), BrokerError> {
        let _ = sequence;
        unimplemented!()
    }

    /// Sends what is buffered and closes the connections.
    pub async fn close(&self) {
        unimplemented!()
    }
}

/// A request that nobody would ever take.
#[derive(Debug, Clone)]
pub struct Stray {
    /// Subject.
    pub subject: String,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    /// Sequence in the stream.
    pub sequence: u64,
    /// When it was published.
    pub published_at: Timestamp,
}

/// Publishes in order with a bounded number of messages in flight, and sends again under the same
/// id whatever a broken connection may have lost. Owned by one task.
#[derive(Debug)]
pub struct Publisher {}

/// How one publish ended.
#[derive(Debug)]
pub struct Settled {
    /// The caller's own number.
    pub token: u64,
    /// PubAck, or JetStream's refusal.
    pub result: Result<Stored, BrokerError>,
    /// The message, given back.
    pub message: Outgoing,
}

impl Publisher {
    /// Whether another message may be published.
    pub fn has_room(&self) -> bool {
        unimplemented!()
    }

    /// Messages in flight.
    pub fn in_flight(&self) -> usize {
        unimplemented!()
    }

    /// Sends `message` and keeps it until it settles; while the broker is away it is kept and sent
    /// on reconnection, in order. Never waits for an acknowledgement. Cancel-safe.
    pub async fn publish(&mut self, token: u64, message: Outgoing) {
        let _ = (token, message);
        unimplemented!()
    }

    /// The next message that settled; pending while none does. Notices reconnections and sends
    /// everything in flight again, in order. Cancel-safe.
    pub async fn settled(&mut self) -> Settled {
        unimplemented!()
    }

    /// Forgets a message that the caller put elsewhere; it may still turn out to be stored.
    pub fn forget(&mut self, token: u64) -> Option<Outgoing> {
        let _ = token;
        unimplemented!()
    }
}

/// What is kept beside the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Session webhooks by inbound id and by chat; entries live until the webhook expires.
    Webhooks,
    /// The ledger of sends by account and request id; entries live 7 d.
    Ledger,
}

/// A key-value bucket. Keys are any text; they are base64url on the wire.
#[derive(Debug, Clone)]
pub struct KeyValue {}

/// A value and its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Value.
    pub value: Bytes,
    /// Revision, for compare-and-set.
    pub revision: u64,
}

impl KeyValue {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn read(&self, key: &str) -> Result<Option<Entry>, BrokerError> {
        let _ = key;
        unimplemented!()
    }

    /// Creates `key`; its revision.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] when it exists, [`BrokerError::Away`].
    pub async fn create(&self, key: &str, value: Bytes) -> Result<u64, BrokerError> {
        let _ = (key, value);
        unimplemented!()
    }

    /// Replaces the value when the revision is still `revision`; the new revision.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] when it changed, [`BrokerError::Away`].
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, BrokerError> {
        let _ = (key, value, revision);
        unimplemented!()
    }

    /// Puts a value that vanishes at `until` (whole seconds, rounded up), whatever was there.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn put_until(
        &self,
        key: &str,
        value: Bytes,
        until: Timestamp,
    ) -> Result<(), BrokerError> {
        let _ = (key, value, until);
        unimplemented!()
    }
}

/// Messages of one durable consumer, in stream order.
#[derive(Debug)]
pub struct Feed {}

impl Feed {
    /// The next request; pending while there is none or while another bridge is pinned. After a
    /// takeover the redelivered ones come first, sorted by sequence. Cancel-safe.
    pub async fn next(&mut self) -> Incoming {
        unimplemented!()
    }
}

/// One request as the broker delivered it.
#[derive(Debug)]
pub struct Incoming {
    /// Subject.
    pub subject: String,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    /// Sequence in the stream.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub delivered: u64,
    /// When it was published.
    pub published_at: Timestamp,
}

impl Incoming {
    /// Says that it is still being worked on.
    pub async fn progress(&self) {
        unimplemented!()
    }

    /// Acknowledges it and waits until the broker has that.
    ///
    /// # Errors
    /// [`BrokerError::Away`]; it is then delivered again.
    pub async fn done(&self) -> Result<(), BrokerError> {
        unimplemented!()
    }

    /// Terminates it with a reason, after its dead letter was stored.
    ///
    /// # Errors
    /// [`BrokerError::Away`]; it is then delivered again.
    pub async fn reject(&self, reason: &str) -> Result<(), BrokerError> {
        let _ = reason;
        unimplemented!()
    }
}
