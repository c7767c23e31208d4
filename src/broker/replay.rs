//! Reading what is stored, from any point and on as it comes: what a person does who looks. It keeps
//! no place at the broker, acknowledges nothing and disturbs no consumer.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::Info;
use bytes::Bytes;
use futures_util::StreamExt;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

use super::Broker;
use super::error::{BrokerError, NO_STREAM};
use super::hub::Hub;
use super::outgoing::{Headers, read_headers};
use crate::message::Timestamp;

/// Silence after which the consumer is made anew: it costs little, and a consumer that went deaf says
/// nothing either.
const RENEW_AFTER: Duration = Duration::from_secs(30);
/// How often a silent consumer is looked at: one of an earlier connection is made anew, as it may have
/// gone with its broker.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before a consumer that failed is made anew.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Which stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// What DingTalk delivered.
    Inbound,
    /// Outcomes of requests.
    Receipts,
}

impl Shelf {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "INBOUND",
            Self::Receipts => "RECEIPT",
        }
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the next message that is stored.
    New,
    /// With the oldest that is kept.
    Oldest,
    /// With the newest of each subject.
    Newest,
    /// With this sequence, or the next one that is kept.
    Sequence(u64),
    /// With what was stored at this instant.
    Since(Timestamp),
}

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Subject.
    pub subject: String,
    /// Headers, sorted by name.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    /// Sequence in the stream.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
}

impl Broker {
    /// Reads `shelf` on the subjects that `filter` matches, in order, from `start` on.
    ///
    /// # Errors
    /// [`BrokerError::Away`], or [`BrokerError::Unfit`] when no bridge has made the stream yet.
    pub async fn replay(
        &self,
        shelf: Shelf,
        filter: String,
        start: Start,
    ) -> Result<Replay, BrokerError> {
        let hub = Arc::clone(&self.hub);
        let start = match start {
            // Pinned to a sequence now, so that a consumer made anew misses nothing in between.
            Start::New => Start::Sequence(last_sequence(&hub, shelf).await? + 1),
            other => other,
        };
        let consumer = open(&hub, shelf, &filter, start).await?;
        let left = consumer.cached_info().num_pending;
        let messages = Box::new(consumer.messages().await.map_err(away)?);
        Ok(Replay {
            connection: connection(&hub),
            heard_at: Instant::now(),
            hub,
            shelf,
            filter,
            start,
            messages,
            left,
        })
    }
}

/// Messages of one stream, in order, without end.
pub struct Replay {
    hub: Arc<Hub>,
    shelf: Shelf,
    filter: String,
    start: Start,
    messages: Box<Ordered>,
    left: u64,
    /// Connection that the consumer was made on.
    connection: u64,
    heard_at: Instant,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("shelf", &self.shelf)
            .field("filter", &self.filter)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// Whether everything that was stored has been read.
    pub fn is_caught_up(&self) -> bool {
        self.left == 0
    }

    /// The next message; pending while there is none. Cancel-safe.
    ///
    /// # Errors
    /// [`BrokerError::Away`] while the broker is away; the next call goes on where this one was.
    pub async fn next(&mut self) -> Result<Recorded, BrokerError> {
        loop {
            match timeout(LOOK, self.messages.next()).await {
                Ok(Some(Ok(message))) => {
                    self.heard_at = Instant::now();
                    if let Some(recorded) = self.accept(message) {
                        return Ok(recorded);
                    }
                }
                Ok(_) => {
                    sleep(RETRY_DELAY).await;
                    self.renew().await?;
                }
                Err(_) => {
                    let silent = self.heard_at.elapsed() >= RENEW_AFTER;
                    if silent || self.connection != connection(&self.hub) {
                        self.renew().await?;
                    }
                }
            }
        }
    }

    /// Takes a message unless it was read already.
    fn accept(&mut self, message: Message) -> Option<Recorded> {
        let (sequence, pending, at) = {
            let info = message.info().ok()?;
            (info.stream_sequence, info.pending, info.published)
        };
        if matches!(self.start, Start::Sequence(from) if sequence < from) {
            return None;
        }
        self.start = Start::Sequence(sequence + 1);
        self.left = pending;
        let millis = at.unix_timestamp_nanos() / 1_000_000;
        Some(Recorded {
            subject: message.subject.to_string(),
            headers: read_headers(message.headers.as_ref()),
            payload: message.message.payload,
            sequence,
            stored_at: Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)),
        })
    }

    async fn renew(&mut self) -> Result<(), BrokerError> {
        // Read before, so that a connection made meanwhile is noticed.
        let connection = connection(&self.hub);
        let consumer = open(&self.hub, self.shelf, &self.filter, self.start).await?;
        self.left = consumer.cached_info().num_pending;
        *self.messages = consumer.messages().await.map_err(away)?;
        self.connection = connection;
        self.heard_at = Instant::now();
        Ok(())
    }
}

/// Number of the connection that consumers are made on.
fn connection(hub: &Hub) -> u64 {
    hub.consuming_connects()
}

async fn last_sequence(hub: &Hub, shelf: Shelf) -> Result<u64, BrokerError> {
    let name = hub.names.of(shelf.name());
    let found = hub.ask::<_, Info>(format!("STREAM.INFO.{name}"), &()).await;
    match found {
        Ok(info) => Ok(info.state.last_sequence),
        Err(error) if error.is_code(NO_STREAM) => Err(missing(&name)),
        Err(error) => Err(error),
    }
}

async fn open(
    hub: &Hub,
    shelf: Shelf,
    filter: &str,
    start: Start,
) -> Result<Consumer<OrderedConfig>, BrokerError> {
    // Also tells a stream that is missing from a broker that is away.
    last_sequence(hub, shelf).await?;
    let config = OrderedConfig {
        filter_subject: filter.to_owned(),
        deliver_policy: match start {
            Start::New => DeliverPolicy::New,
            Start::Oldest => DeliverPolicy::All,
            Start::Newest => DeliverPolicy::LastPerSubject,
            Start::Sequence(start_sequence) => DeliverPolicy::ByStartSequence {
                start_sequence: start_sequence.max(1),
            },
            Start::Since(at) => {
                let nanos = i128::from(at.as_millis()) * 1_000_000;
                let start_time = OffsetDateTime::from_unix_timestamp_nanos(nanos);
                DeliverPolicy::ByStartTime {
                    start_time: start_time.unwrap_or(OffsetDateTime::UNIX_EPOCH),
                }
            }
        },
        replay_policy: ReplayPolicy::Instant,
        ..OrderedConfig::default()
    };
    hub.consuming_ready().await?;
    let stream = hub.names.of(shelf.name());
    let jetstream = hub.consuming();
    let created = jetstream.create_consumer_on_stream(config, stream);
    created.await.map_err(away)
}

fn missing(stream: &str) -> BrokerError {
    BrokerError::Unfit(format!(
        "stream {stream} does not exist: no bridge has run on this broker yet, or nats.subject_prefix differs"
    ))
}

fn away(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Away(error.to_string())
}
