//! The key-value buckets: webhooks and the ledger of sends. It knows keys, revisions and lives,
//! and not what the values mean.
//!
//! Written on the JetStream subjects of a bucket (`$KV.<bucket>.<key>`, ADR-8), as the client
//! library has no put with a life of its own.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::error::BrokerError;
use super::hub::Hub;
use super::outgoing::Outgoing;
use super::{listing, register};
use crate::message::Timestamp;

/// Header with the life of a message, in seconds.
const TTL: &str = "Nats-TTL";
/// Header of a marker that a client left in place of a value.
pub(super) const OPERATION: &str = "KV-Operation";
/// Header of a marker that the server left in place of a value.
pub(super) const MARKER_REASON: &str = "Nats-Marker-Reason";

/// What is kept beside the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Session webhooks by inbound id and by chat; entries live until the webhook expires.
    Webhooks,
    /// The ledger of sends by account and request id; entries live 7 d.
    Ledger,
    /// Open cards by account and outTrackId; entries live 7 d.
    Cards,
    /// What replicas tell each other: presence and pace; entries live an hour.
    Fleet,
    /// Billed calls by account and month; entries live 400 d.
    Quota,
    /// What DingTalk need not be asked again: media ids and people; entries live 30 d.
    Cache,
    /// Chats by session id; entries live until they are deleted.
    Bindings,
}

impl Bucket {
    const fn name(self) -> &'static str {
        match self {
            Self::Webhooks => "WEBHOOKS",
            Self::Ledger => "LEDGER",
            Self::Cards => "CARDS",
            Self::Fleet => "FLEET",
            Self::Quota => "QUOTA",
            Self::Cache => "CACHE",
            Self::Bindings => "BINDINGS",
        }
    }
}

/// A key-value bucket. Keys are any text; they are base64url on the wire.
#[derive(Debug, Clone)]
pub struct KeyValue {
    hub: Arc<Hub>,
    bucket: String,
}

/// A value and its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Value.
    pub value: Bytes,
    /// Revision, for compare-and-set.
    pub revision: u64,
}

/// What stands under a key.
enum Found {
    Nothing,
    /// Something was there; a new value must name the revision of the marker.
    Marker(u64),
    Value(Entry),
}

impl KeyValue {
    pub(super) fn new(hub: Arc<Hub>, bucket: Bucket) -> Self {
        let bucket = hub.names.of(bucket.name());
        Self { hub, bucket }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn read(&self, key: &str) -> Result<Option<Entry>, BrokerError> {
        Ok(match self.find(key).await? {
            Found::Value(entry) => Some(entry),
            Found::Nothing | Found::Marker(_) => None,
        })
    }

    /// Creates `key`; its revision. After [`BrokerError::Away`] it may have been created all the
    /// same.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] when it exists, [`BrokerError::Away`].
    pub async fn create(&self, key: &str, value: Bytes) -> Result<u64, BrokerError> {
        match self.update(key, value.clone(), 0).await {
            Err(BrokerError::Conflict) => {}
            created => return created,
        }
        match self.find(key).await? {
            Found::Value(_) => Err(BrokerError::Conflict),
            Found::Marker(revision) => self.update(key, value, revision).await,
            // It expired between the two.
            Found::Nothing => self.update(key, value, 0).await,
        }
    }

    /// Replaces the value when the revision is still `revision`; the new revision. After
    /// [`BrokerError::Away`] it may have been replaced all the same.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] when it changed, [`BrokerError::Away`].
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, BrokerError> {
        let put = self.put(key, value);
        register::replace(&self.hub, &put, revision, Vec::new()).await
    }

    /// Puts a value that vanishes at `until` (whole seconds, rounded up), whatever was there. One
    /// whose time is over lives one second more.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn put_until(
        &self,
        key: &str,
        value: Bytes,
        until: Timestamp,
    ) -> Result<(), BrokerError> {
        let life = [(TTL, life(until))];
        self.hub.store(&self.put(key, value), &life).await?;
        Ok(())
    }

    /// Replaces the value when the revision is still `revision` (0: nothing is there) by one that
    /// vanishes at `until`; the new revision. After [`BrokerError::Away`] it may have been replaced all
    /// the same.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`] when it changed, [`BrokerError::Away`].
    pub async fn update_until(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        until: Timestamp,
    ) -> Result<u64, BrokerError> {
        let extra = vec![(TTL, life(until))];
        register::replace(&self.hub, &self.put(key, value), revision, extra).await
    }

    /// Puts a value, whatever was there; its revision.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn write(&self, key: &str, value: Bytes) -> Result<u64, BrokerError> {
        let stored = self.hub.store(&self.put(key, value), &[]).await?;
        Ok(stored.sequence)
    }

    /// Deletes a value; one that is gone already is no error.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn delete(&self, key: &str) -> Result<(), BrokerError> {
        let marker = [(OPERATION, "DEL".to_owned())];
        let message = self.put(key, Bytes::new());
        self.hub.store(&message, &marker).await?;
        Ok(())
    }

    /// Every key with its value, in no order that means anything. For small buckets.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn entries(&self) -> Result<Vec<(String, Entry)>, BrokerError> {
        listing::entries(&self.hub, &self.bucket).await
    }

    fn put(&self, key: &str, value: Bytes) -> Outgoing {
        Outgoing {
            subject: self.subject(key),
            headers: Vec::new(),
            payload: value,
        }
    }

    fn subject(&self, key: &str) -> String {
        let key = URL_SAFE_NO_PAD.encode(key);
        // An empty key would be an empty token, which is no subject; `=` is in no encoded key.
        let key = if key.is_empty() { "=" } else { &key };
        format!("$KV.{}.{key}", self.bucket)
    }

    async fn find(&self, key: &str) -> Result<Found, BrokerError> {
        let (stream, subject) = (format!("KV_{}", self.bucket), self.subject(key));
        let Some(newest) = register::read(&self.hub, &stream, &subject).await? else {
            return Ok(Found::Nothing);
        };
        let is_marker = newest.header(MARKER_REASON).is_some()
            || newest
                .header(OPERATION)
                .is_some_and(|operation| operation != "PUT");
        if is_marker {
            return Ok(Found::Marker(newest.revision));
        }
        Ok(Found::Value(Entry {
            value: newest.payload,
            revision: newest.revision,
        }))
    }
}

/// Whole seconds until then, one at least.
fn life(until: Timestamp) -> String {
    let left = until.since(Timestamp::now());
    format!("{}s", left.as_millis().div_ceil(1000).max(1))
}
