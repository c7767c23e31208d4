//! One pass over what a stream holds now, by a consumer that leaves nothing behind. It knows no
//! message of the bridge.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use futures_util::StreamExt;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use crate::message::Timestamp;

/// Life of the consumer after the last pull.
const IDLE: Duration = Duration::from_secs(30);

/// Longest rest between two batches, well within the life of the consumer.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What a pass sees.
#[derive(Debug)]
pub(super) struct Scope {
    /// Stream.
    pub(super) stream: String,
    /// Where it begins.
    pub(super) from: DeliverPolicy,
    /// Subjects; empty: all of them.
    pub(super) subjects: Vec<String>,
    /// Whether bodies are left out.
    pub(super) headers_only: bool,
    /// Messages asked for at a time.
    pub(super) batch: usize,
    /// How many times as long as a batch took it rests before the next one: a pass that nobody waits for must
    /// not slow down what is live.
    pub(super) rest: u32,
}

/// Whether a pass goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// With the next batch.
    On,
    /// No further.
    Enough,
}

/// Hands every message of `scope` that was stored before now to `see`, until it has seen enough; then
/// the batch at hand is finished. What is removed meanwhile, by age or by hand, is left out.
///
/// # Errors
/// [`BrokerError::Away`], and whatever `see` says.
pub(super) async fn sweep(
    hub: &Hub,
    scope: Scope,
    mut see: impl FnMut(&Message) -> Result<Pass, BrokerError>,
) -> Result<(), BrokerError> {
    hub.consuming_ready().await?;
    let config = pull::Config {
        deliver_policy: scope.from,
        filter_subjects: scope.subjects,
        replay_policy: ReplayPolicy::Instant,
        ack_policy: AckPolicy::None,
        headers_only: scope.headers_only,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: IDLE,
        ..pull::Config::default()
    };
    let jetstream = hub.consuming();
    let created = jetstream.create_consumer_on_stream(config, &scope.stream);
    let consumer = created.await.map_err(away)?;
    // What is stored from now on is not asked for.
    let mut left = consumer.cached_info().num_pending;
    let mut pass = Pass::On;
    while left > 0 && pass == Pass::On {
        let began = Instant::now();
        let fetching = consumer.fetch().max_messages(scope.batch).messages();
        let mut batch = fetching.await.map_err(away)?;
        let before = left;
        while let Some(message) = timeout(REQUEST_TIMEOUT, batch.next()).await.map_err(away)? {
            left = left.saturating_sub(1);
            pass = see(&message.map_err(away)?)?;
        }
        if left == before {
            // The rest was removed meanwhile.
            break;
        }
        // Even a sleep of nothing waits for the next tick of the timer.
        if scope.rest > 0 && left > 0 && pass == Pass::On {
            sleep((began.elapsed() * scope.rest).min(LONGEST_REST)).await;
        }
    }
    let name = &consumer.cached_info().name;
    // It would end by itself soon.
    let _ = hub
        .consuming()
        .delete_consumer_from_stream(name, &scope.stream)
        .await;
    Ok(())
}

/// The policy that begins at `at`.
pub(super) fn from(at: Timestamp) -> DeliverPolicy {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let start_time =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    DeliverPolicy::ByStartTime { start_time }
}

/// An answer that did not come, or not in order.
pub(super) fn away(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Away(error.to_string())
}
