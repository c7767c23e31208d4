//! From the spool to the broker, in order, under the ids that the frames were admitted with.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::record::{self, Record};
use crate::broker::{Broker, BrokerError, Outgoing, Publisher, Settled};
use crate::message::{Timestamp, header};
use crate::spool::{Spool, SpoolError};
use crate::telemetry::Metrics;

/// Records read and published at a time.
const PAGE: usize = 512;
/// Publishes without a PubAck at a time.
const WINDOW: usize = 128;
/// How often an idle drain looks whether there is something to do, besides being woken.
const IDLE: Duration = Duration::from_millis(250);
/// Pause after the broker or the disk refused.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a standing refusal is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(15);
/// Room that NATS needs around headers and body.
const FRAMING: usize = 64;

/// Moves the spool to the broker.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    pub(super) broker: Broker,
    pub(super) spool: Spool,
    pub(super) wake: Arc<Notify>,
    pub(super) dedup_window: Duration,
    pub(super) metrics: Metrics,
}

/// Why a page could not be moved whole.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Bytes of a message as the server counts them against its limit.
pub(super) fn size_of(message: &Outgoing) -> usize {
    let headers: usize = message
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    message.payload.len() + headers + FRAMING
}

impl Drain {
    /// Moves for ever.
    pub(super) async fn run(self) -> Infallible {
        let mut publisher = self.broker.publisher(WINDOW);
        let mut complained_at: Option<Instant> = None;
        loop {
            let depth = self.spool.depth();
            self.metrics.spool_depth(depth.records, depth.bytes);
            if depth.records == 0 || !self.broker.connected() {
                // The notification only shortens the wait.
                let _ = timeout(IDLE, self.wake.notified()).await;
                continue;
            }
            match self.move_page(&mut publisher).await {
                Ok(moved) => {
                    complained_at = None;
                    self.metrics.spool_drained(moved);
                    let left = self.spool.depth().records;
                    if left == 0 && moved > 1 {
                        info!(spool.moved = moved, "the spool is empty");
                    }
                }
                Err(stuck) => {
                    if complained_at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                        complained_at = Some(Instant::now());
                        warn!(error = %stuck, spool.records = depth.records, "the spool cannot be drained now");
                    }
                    // What is in flight is published again, under the same ids and in order.
                    publisher = self.broker.publisher(WINDOW);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Moves the oldest records; how many. What the broker refuses stops the page there, since
    /// what stands behind it must not overtake it.
    async fn move_page(&self, publisher: &mut Publisher) -> Result<u64, Stuck> {
        let page = self.spool.read(0, PAGE).await?;
        let Some(end) = page.last().map(|(position, _)| *position) else {
            return Ok(0);
        };
        let records: Vec<(u64, Option<Record>)> = page
            .into_iter()
            .map(|(position, bytes)| (position, record::decode(bytes)))
            .collect();
        let known = self.stored_before(&records).await?;
        let count = records.len() as u64;
        let mut settled = None;
        match self
            .publish_all(publisher, records, &known, &mut settled)
            .await
        {
            Ok(()) => {
                self.spool.remove_through(end).await?;
                Ok(count)
            }
            Err(refusal) => {
                if let Some(position) = settled {
                    self.spool.remove_through(position).await?;
                }
                Err(refusal.into())
            }
        }
    }

    /// Publishes records in order and waits for every PubAck; `last` is the newest that is stored.
    async fn publish_all(
        &self,
        publisher: &mut Publisher,
        records: Vec<(u64, Option<Record>)>,
        known: &HashSet<String>,
        last: &mut Option<u64>,
    ) -> Result<(), BrokerError> {
        let mut outstanding = 0;
        for (position, record) in records {
            let Some(record) = record else {
                error!(
                    spool.position = position,
                    "a spooled record cannot be read, it is left out"
                );
                continue;
            };
            if known.contains(msg_id(&record.message)) {
                continue;
            }
            let message = self.claimed(record.message).await?;
            while outstanding >= WINDOW {
                *last = Some(stored(publisher.settled().await)?);
                outstanding -= 1;
            }
            publisher.publish(position, message).await;
            outstanding += 1;
        }
        while outstanding > 0 {
            *last = Some(stored(publisher.settled().await)?);
            outstanding -= 1;
        }
        Ok(())
    }

    /// Ids among `records` that the stream has from before: asked only when they may be older than
    /// the deduplication window, which would let them in twice.
    async fn stored_before(
        &self,
        records: &[(u64, Option<Record>)],
    ) -> Result<HashSet<String>, BrokerError> {
        let oldest = records
            .iter()
            .filter_map(|(_, record)| record.as_ref().map(|record| record.spooled_at))
            .min();
        let Some(oldest) = oldest else {
            return Ok(HashSet::new());
        };
        if Timestamp::now().since(oldest) < self.dedup_window / 2 {
            return Ok(HashSet::new());
        }
        let subjects: HashSet<String> = records
            .iter()
            .filter_map(|(_, record)| record.as_ref().map(|record| record.message.subject.clone()))
            .collect();
        let window = i64::try_from(self.dedup_window.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp::from_millis(oldest.as_millis().saturating_sub(window));
        self.broker.ids_since(&subjects, since).await
    }

    /// The message itself, or, when it is larger than the server takes, one that names the object
    /// which holds it (claim check).
    async fn claimed(&self, message: Outgoing) -> Result<Outgoing, BrokerError> {
        if size_of(&message) <= self.broker.max_payload() {
            return Ok(message);
        }
        let key = msg_id(&message).to_owned();
        let claim = claim_of(&message.payload, &key);
        self.broker.put_object(&key, message.payload).await?;
        let mut headers = message.headers;
        headers.push((header::CLAIM.into(), key));
        Ok(Outgoing {
            subject: message.subject,
            headers,
            payload: claim,
        })
    }
}

/// The position of a record that is stored.
fn stored(settled: Settled) -> Result<u64, BrokerError> {
    settled.result.map(|_| settled.token)
}

fn msg_id(message: &Outgoing) -> &str {
    message
        .headers
        .iter()
        .find(|(name, _)| name == header::MSG_ID)
        .map_or("", |(_, value)| value)
}

/// The members of a body that are always there, with `raw` naming the object.
fn claim_of(body: &[u8], key: &str) -> Bytes {
    let mut whole: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let mut small = serde_json::Map::new();
    for name in [
        "id",
        "account",
        "kind",
        "chat",
        "sender",
        "sent_at",
        "received_at",
        "reply",
    ] {
        if let Some(value) = whole.get_mut(name) {
            small.insert(name.to_owned(), value.take());
        }
    }
    small.insert("raw".to_owned(), serde_json::json!({ "claim": key }));
    serde_json::to_vec(&small).unwrap_or_default().into()
}
