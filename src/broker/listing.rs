//! Everything that a key-value bucket holds now. It knows keys, revisions and markers, and not what
//! the values mean.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use super::keyvalue::{Entry, MARKER_REASON, OPERATION};

/// Entries asked for at a time.
const BATCH: usize = 500;
/// Life of the consumer after the last pull.
const IDLE: Duration = Duration::from_secs(30);

/// The entries of `bucket`.
pub(super) async fn entries(
    hub: &Arc<Hub>,
    bucket: &str,
) -> Result<Vec<(String, Entry)>, BrokerError> {
    hub.ready().await?;
    let stream = format!("KV_{bucket}");
    let config = pull::Config {
        deliver_policy: DeliverPolicy::LastPerSubject,
        filter_subject: format!("$KV.{bucket}.>"),
        replay_policy: ReplayPolicy::Instant,
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: IDLE,
        ..pull::Config::default()
    };
    let jetstream = hub.consuming();
    let created = jetstream.create_consumer_on_stream(config, &stream);
    let consumer = created.await.map_err(away)?;
    let mut left = consumer.cached_info().num_pending;
    // A value that changes meanwhile may come twice: the later one counts.
    let mut found = HashMap::new();
    while left > 0 {
        let fetching = consumer.fetch().max_messages(BATCH).messages();
        let mut batch = fetching.await.map_err(away)?;
        let before = left;
        while let Some(message) = timeout(REQUEST_TIMEOUT, batch.next()).await.map_err(away)? {
            let message = message.map_err(away)?;
            left = left.saturating_sub(1);
            let Some(key) = key(&message.subject, bucket) else {
                continue;
            };
            let revision = message.info().map_err(away)?.stream_sequence;
            let marker = message.headers.as_ref().is_some_and(|headers| {
                headers.get(MARKER_REASON).is_some()
                    || headers
                        .get(OPERATION)
                        .is_some_and(|operation| operation.as_str() != "PUT")
            });
            if marker {
                found.remove(&key);
            } else {
                let value = message.payload.clone();
                found.insert(key, Entry { value, revision });
            }
        }
        if left == before {
            // The rest expired meanwhile.
            break;
        }
    }
    let name = &consumer.cached_info().name;
    // It would end by itself soon.
    let _ = hub
        .consuming()
        .delete_consumer_from_stream(name, &stream)
        .await;
    Ok(found.into_iter().collect())
}

fn key(subject: &str, bucket: &str) -> Option<String> {
    let token = subject.strip_prefix("$KV.")?.strip_prefix(bucket)?;
    let token = token.strip_prefix('.')?;
    if token == "=" {
        return Some(String::new());
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

fn away(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Away(error.to_string())
}
