//! All of NATS: connection, streams, publish, consume, objects, key-value, managed server. It
//! knows no DingTalk.

mod backlog;
mod connection;
mod consumer;
mod ear;
mod error;
mod feed;
mod fitness;
mod hub;
mod illegible;
mod incoming;
mod insist;
mod keyvalue;
mod lasting;
mod line;
mod listing;
mod managed;
mod marked;
mod media;
mod media_reader;
mod neighbours;
mod newest;
mod objects;
mod outgoing;
mod permitted;
mod pin_watch;
mod program;
mod publisher;
mod recent;
mod register;
mod rehearsal;
mod replay;
mod rights;
mod schedule;
mod service;
mod strays;
mod streams;
mod survey;
mod sweep;
mod takeover;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use backlog::{Ends, Fetched, ServedBy};
pub use ear::Ear;
pub use error::BrokerError;
pub use feed::Feed;
pub use incoming::Incoming;
pub use keyvalue::{Bucket, Entry, KeyValue};
pub use managed::{ManagedError, ManagedServer};
pub use media::{Description, MediaError, MediaObject, MediaStore};
pub use media_reader::MediaReader;
pub use neighbours::Neighbours;
pub use outgoing::{Headers, Outgoing, Stored};
pub use permitted::Permitted;
pub use pin_watch::PinWatch;
pub use publisher::{Publisher, Settled};
pub use rehearsal::{acknowledgement, echo, rehearse};
pub use replay::{Recorded, Replay, Shelf, Start};
pub use rights::{Reach, Rights, Role, rights};
pub use schedule::{Appointment, Booked};
pub use service::{Complaint, EndpointPlan, Question, ServicePlan, Switchboard};
pub use strays::Stray;
pub use survey::Survey;

use crate::config;
use crate::message::{AccountName, Timestamp};
use crate::telemetry::{Health, Metrics};
use hub::Hub;

/// How often the state of the connection is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often waiting for the broker is logged.
const WAIT_LOG_INTERVAL: Duration = Duration::from_secs(15);
/// How long closing waits for what is buffered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Header that lets a message in only where its subject holds none.
const EXPECTED_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";

/// The connection to the broker and everything that the bridge keeps there; cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    hub: Arc<Hub>,
}

impl Broker {
    /// Connects (each publisher on a connection of its own, consuming and requests on one each) and
    /// keeps connecting for ever; reports part `broker` to `health`. Returns at once, connected or
    /// not, unless the configuration itself is wrong. [`Broker::watch`] goes with it.
    ///
    /// # Errors
    /// [`BrokerError::Unfit`] for credentials or certificates that cannot be read.
    pub async fn connect(
        nats: &config::Nats,
        url: &str,
        metrics: Metrics,
        health: Health,
    ) -> Result<Self, BrokerError> {
        let hub = Arc::new(Hub::connect(nats, url, metrics, health).await?);
        Ok(Self { hub })
    }

    /// Keeps the health board true and logs every 15 s what is waited for, until `stop`. The bridge
    /// spawns it once.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut tick = interval(WATCH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said_at = Instant::now();
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.hub.revive().await;
            match self.hub.report() {
                None => said_at = Instant::now(),
                Some(reason) if said_at.elapsed() >= WAIT_LOG_INTERVAL => {
                    said_at = Instant::now();
                    warn!(reason, nats.servers = %self.hub.route.names(), "waiting for the broker");
                }
                Some(_) => {}
            }
        }
    }

    /// Creates what is missing and verifies what is there (streams, buckets). Waits for the broker.
    ///
    /// # Errors
    /// [`BrokerError::Unfit`] where an operator's change would break a promise, where the server is
    /// too old, or where it cannot hold what the configuration asks for.
    pub async fn prepare(&self) -> Result<(), BrokerError> {
        streams::prepare(&self.hub).await
    }

    /// Whether the broker is connected now.
    pub fn connected(&self) -> bool {
        self.hub.connected()
    }

    /// Largest message, headers included, that the server takes, in bytes; the server's default
    /// of 1 MiB before the first connection.
    pub fn max_payload(&self) -> usize {
        self.hub.client().max_payload()
    }

    /// A windowed publisher with at most `window` messages without PubAck.
    pub fn publisher(&self, window: usize) -> Publisher {
        Publisher::new(Arc::clone(&self.hub), window)
    }

    /// Stores one message and waits for its PubAck, 5 s at most; for receipts, dead letters,
    /// status. After [`BrokerError::Away`] it may be stored all the same: try again under the same
    /// `Nats-Msg-Id`.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn store(&self, message: &Outgoing) -> Result<Stored, BrokerError> {
        self.hub.store(message, &[]).await
    }

    /// Stores one message unless its subject holds one already; `None` when it does.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn store_once(&self, message: &Outgoing) -> Result<Option<Stored>, BrokerError> {
        let empty = [(EXPECTED_SUBJECT_SEQUENCE, "0".to_owned())];
        match self.hub.store(message, &empty).await {
            Err(error) if error.is_wrong_sequence() => Ok(None),
            stored => stored.map(Some),
        }
    }

    /// The `Nats-Msg-Id`s of what was stored on `subjects` since `since`: subjects of inbound
    /// messages, of gated ones and of dead letters.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn ids_since(
        &self,
        subjects: &HashSet<String>,
        since: Timestamp,
    ) -> Result<HashSet<String>, BrokerError> {
        recent::ids_since(&self.hub, subjects, since).await
    }

    /// Sequences of the inbound messages since `since` that carry `header`, in order.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn marked_since(
        &self,
        header: &'static str,
        since: Timestamp,
    ) -> Result<Vec<u64>, BrokerError> {
        marked::since(&self.hub, header, since).await
    }

    /// Headers and body of one inbound message; `None` when it is gone.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn read_inbound(
        &self,
        sequence: u64,
    ) -> Result<Option<(Headers, Bytes)>, BrokerError> {
        marked::read(&self.hub, sequence).await
    }

    /// One of the buckets.
    pub fn bucket(&self, bucket: Bucket) -> KeyValue {
        KeyValue::new(Arc::clone(&self.hub), bucket)
    }

    /// What bridges of other configurations tell each other in this NATS account: the buckets of
    /// replicas under other names, by key. Of those that may not be read there is nothing.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn neighbours(&self) -> Result<Neighbours, BrokerError> {
        neighbours::look(&self.hub).await
    }

    /// The object store of media.
    pub fn media(&self) -> MediaStore {
        MediaStore::new(Arc::clone(&self.hub))
    }

    /// Asks whoever answers on `subject` outside JetStream; `None` when nobody is there, which shows
    /// at once, or the answer does not come within `patience`.
    pub async fn ask(&self, subject: String, body: Bytes, patience: Duration) -> Option<Bytes> {
        if !self.connected() {
            return None;
        }
        let request = async_nats::Request::new()
            .payload(body)
            .timeout(Some(patience));
        let answer = self.hub.client().send_request(subject, request).await;
        answer.ok().map(|answer| answer.payload)
    }

    /// Puts a body that is too large for a message into the object store under `key`.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn put_object(&self, key: &str, body: Bytes) -> Result<(), BrokerError> {
        objects::put(&self.hub, key, body).await
    }

    /// Reads an object back; `None` when there is none under `key`.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn read_object(&self, key: &str) -> Result<Option<Bytes>, BrokerError> {
        objects::read(&self.hub, key).await
    }

    /// The canonical requests of one account, from its one durable consumer, pinned to one bridge
    /// at a time. Opens lazily and reopens for ever.
    pub fn requests(&self, account: &AccountName) -> Feed {
        Feed::account(Arc::clone(&self.hub), account)
    }

    /// Watches whether another bridge is pinned to the requests of an account.
    pub fn pin_watch(&self, account: &AccountName) -> PinWatch {
        PinWatch::new(Arc::clone(&self.hub), account)
    }

    /// The requests on the bare subjects, which are to be moved.
    pub fn bare_requests(&self) -> Feed {
        Feed::bare(Arc::clone(&self.hub))
    }

    /// Deletes the consumer of an account that is served no more, unless another bridge pulls on it.
    /// The account's own feed must be closed before.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn retire(&self, account: &AccountName) -> Result<(), BrokerError> {
        consumer::retire(&self.hub, account).await
    }

    /// Requests that no consumer would ever take, at most `limit`: accounts that nobody serves, and
    /// subjects of no form. Remove each with [`Broker::remove_request`] when its dead letter is
    /// stored.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn unserved(&self, limit: usize) -> Result<Vec<Stray>, BrokerError> {
        strays::unserved(&self.hub, limit).await
    }

    /// Removes such a request; one that is gone already is no error.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn remove_request(&self, stray: &Stray) -> Result<(), BrokerError> {
        strays::remove(&self.hub, stray.place()).await
    }

    /// Sends what is buffered and closes the connections; waits for nothing while the broker is away.
    /// Publishers and feeds are to be dropped before.
    pub async fn close(&self) {
        let hub = &self.hub;
        let consume = leave(hub.consuming().client(), hub.consuming_connected());
        tokio::join!(consume, leave(hub.client(), hub.connected()));
    }
}

/// Sends what is buffered and closes the connection, unless there is none: the process ends anyway.
async fn leave(client: async_nats::Client, connected: bool) {
    if connected {
        let last = async {
            let _ = client.flush().await;
            let _ = client.drain().await;
        };
        let _ = timeout(CLOSE_TIMEOUT, last).await;
    }
}
