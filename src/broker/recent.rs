//! What the streams of the inbound side stored lately, by id: the question that the spool asks before
//! it sends what may have been stored before an outage. It knows no body.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy, pull};
use futures_util::StreamExt;
use time::OffsetDateTime;
use tokio::time::timeout;
use tracing::warn;

use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use crate::message::{Timestamp, header};

/// What stands after the prefix in the subjects of a stream, and its name: a consumer sees only what
/// its own stream holds.
const STREAMS: [(&str, &str); 3] = [("inbound", "INBOUND"), ("gated", "GATED"), ("dead", "DEAD")];
/// Subjects that one consumer is asked for: a request must stay well under the largest payload.
const SUBJECTS_PER_CONSUMER: usize = 500;
/// Most ids that are collected, some 100 MiB. Beyond them a message may be stored twice.
const MAX_IDS: usize = 1_000_000;
/// Messages asked for at a time.
const BATCH: usize = 1000;
/// Life of the consumer after the last pull.
const IDLE: Duration = Duration::from_secs(30);

/// The `Nats-Msg-Id`s of the messages on `subjects` since `since`; of inbound messages, of those that
/// a policy kept out, and of dead letters.
pub(super) async fn ids_since(
    hub: &Hub,
    subjects: &HashSet<String>,
    since: Timestamp,
) -> Result<HashSet<String>, BrokerError> {
    let mut ids = HashSet::new();
    for (branch, name) in STREAMS {
        let branch = format!("{}.", hub.names.subjects.branch(branch));
        let stream = hub.names.of(name);
        let of_stream = subjects.iter().filter(|name| name.starts_with(&branch));
        let of_stream: Vec<&String> = of_stream.collect();
        for chunk in of_stream.chunks(SUBJECTS_PER_CONSUMER) {
            collect(hub, &stream, chunk, since, &mut ids).await?;
            if ids.len() >= MAX_IDS {
                warn!(
                    ids = ids.len(),
                    "too many recent messages; some may be stored twice"
                );
                return Ok(ids);
            }
        }
    }
    Ok(ids)
}

async fn collect(
    hub: &Hub,
    stream: &str,
    subjects: &[&String],
    since: Timestamp,
    ids: &mut HashSet<String>,
) -> Result<(), BrokerError> {
    let consumer = open(hub, stream, subjects, since).await?;
    let mut left = consumer.cached_info().num_pending;
    while left > 0 && ids.len() < MAX_IDS {
        let fetching = consumer.fetch().max_messages(BATCH).messages();
        let mut batch = fetching.await.map_err(away)?;
        let before = left;
        while let Some(message) = timeout(REQUEST_TIMEOUT, batch.next()).await.map_err(away)? {
            let message = message.map_err(away)?;
            // What is stored from now on is not asked for.
            left = left.saturating_sub(1);
            let id = message
                .headers
                .as_ref()
                .and_then(|map| map.get(header::MSG_ID));
            ids.extend(id.map(|id| id.as_str().to_owned()));
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
        .delete_consumer_from_stream(name, stream)
        .await;
    Ok(())
}

async fn open(
    hub: &Hub,
    stream: &str,
    subjects: &[&String],
    since: Timestamp,
) -> Result<Consumer<pull::Config>, BrokerError> {
    hub.ready().await?;
    let nanos = i128::from(since.as_millis()) * 1_000_000;
    let start_time =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let config = pull::Config {
        filter_subjects: subjects.iter().map(|&subject| subject.clone()).collect(),
        deliver_policy: DeliverPolicy::ByStartTime { start_time },
        replay_policy: ReplayPolicy::Instant,
        ack_policy: AckPolicy::None,
        headers_only: true,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: IDLE,
        ..pull::Config::default()
    };
    let jetstream = hub.consuming();
    let created = jetstream.create_consumer_on_stream(config, stream);
    created.await.map_err(away)
}

fn away(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Away(error.to_string())
}
