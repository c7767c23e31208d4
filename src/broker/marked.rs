//! Inbound messages of late that carry a certain header: what a bridge that starts looks for, to finish
//! what an earlier life announced. It reads headers alone, and one body at a time when asked.

use std::time::Duration;

use async_nats::StatusCode;
use async_nats::client::Request;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::timeout;

use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use super::outgoing::{Headers, read_headers};
use super::replay::Shelf;
use crate::message::Timestamp;

/// Messages asked for at a time.
const BATCH: usize = 1000;
/// Life of the consumer after the last pull.
const IDLE: Duration = Duration::from_secs(30);

/// Sequences of the inbound messages since `since` that carry `header`, in order.
pub(super) async fn since(
    hub: &Hub,
    header: &'static str,
    since: Timestamp,
) -> Result<Vec<u64>, BrokerError> {
    let stream = hub.names.of(Shelf::Inbound.name());
    let nanos = i128::from(since.as_millis()) * 1_000_000;
    let start_time =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartTime { start_time },
        replay_policy: ReplayPolicy::Instant,
        ack_policy: AckPolicy::None,
        headers_only: true,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: IDLE,
        ..pull::Config::default()
    };
    hub.consuming_ready().await?;
    let jetstream = hub.consuming();
    let created = jetstream.create_consumer_on_stream(config, &stream);
    let consumer = created.await.map_err(away)?;
    let mut left = consumer.cached_info().num_pending;
    let mut found = Vec::new();
    while left > 0 {
        let fetching = consumer.fetch().max_messages(BATCH).messages();
        let mut batch = fetching.await.map_err(away)?;
        let before = left;
        while let Some(message) = timeout(REQUEST_TIMEOUT, batch.next()).await.map_err(away)? {
            let message = message.map_err(away)?;
            // What is stored from now on is not asked for.
            left = left.saturating_sub(1);
            let headers = message.headers.as_ref();
            if headers.is_some_and(|headers| headers.get(header).is_some()) {
                found.push(message.info().map_err(away)?.stream_sequence);
            }
        }
        if left == before {
            // The rest was removed meanwhile, by age or by hand.
            break;
        }
    }
    let name = &consumer.cached_info().name;
    // It would end by itself soon.
    let _ = hub
        .consuming()
        .delete_consumer_from_stream(name, &stream)
        .await;
    Ok(found)
}

/// Headers and body of one inbound message; `None` when it is gone.
pub(super) async fn read(
    hub: &Hub,
    sequence: u64,
) -> Result<Option<(Headers, Bytes)>, BrokerError> {
    hub.ready().await?;
    let stream = hub.names.of(Shelf::Inbound.name());
    let question = json!({ "seq": sequence }).to_string();
    let request = Request::new()
        .payload(question.into())
        .timeout(Some(REQUEST_TIMEOUT));
    let api = format!("$JS.API.DIRECT.GET.{stream}");
    let reply = hub.client().send_request(api, request).await?;
    match reply.status {
        None => Ok(Some((read_headers(reply.headers.as_ref()), reply.payload))),
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(status) => Err(BrokerError::Away(format!("direct get answers {status}"))),
    }
}

fn away(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Away(error.to_string())
}
