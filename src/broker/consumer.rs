//! The durable consumers of the bridges: how they are made, opened, handed over and retired. It
//! knows no message.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, PriorityPolicy, pull};
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep};

use super::error::{BrokerError, NO_CONSUMER, NO_STREAM};
use super::hub::{Hub, Names};
use super::illegible::{self, Raw};
use super::incoming::ACK_WAIT;
use super::insist::insist;
use crate::message::AccountName;

/// Group of the consumer to which the bridges belong.
const GROUP: &str = "bridge";
/// Silence after which the pin moves on; above [`ACK_WAIT`], well above [`PULL_EXPIRY`].
const PRIORITY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one pull waits at the broker.
const PULL_EXPIRY: Duration = Duration::from_secs(2);
/// How often an idle pull shows life; two misses and the stream is opened anew.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Unacknowledged messages of one account.
const ACCOUNT_PENDING: i64 = 4096;
/// Unacknowledged messages on the bare subjects.
const BARE_PENDING: i64 = 64;
/// Messages asked for at a time.
const BATCH: usize = 256;
/// How often it is looked whether the pulls of a consumer have ended.
const RETIRE_POLL: Duration = Duration::from_millis(250);

/// One durable consumer.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) stream: String,
    pub(super) durable: String,
    filters: Vec<String>,
    pending: i64,
}

impl Plan {
    /// The canonical requests of an account.
    pub(super) fn account(names: &Names, account: &AccountName) -> Self {
        let branch = names.subjects.branch("outbound");
        Self {
            stream: names.of("OUTBOUND"),
            durable: durable(account),
            filters: vec![format!("{branch}.{account}.*.*")],
            pending: ACCOUNT_PENDING,
        }
    }

    /// The requests on the bare subjects.
    pub(super) fn bare(names: &Names) -> Self {
        let branch = names.subjects.branch("outbound");
        Self {
            stream: names.of("OUTBOUND"),
            durable: "router".to_owned(),
            filters: vec![format!("{branch}.*"), branch],
            pending: BARE_PENDING,
        }
    }

    /// The requests whose time has come.
    pub(super) fn due(names: &Names) -> Self {
        Self {
            stream: names.of("SCHEDULE"),
            durable: "due".to_owned(),
            filters: vec![format!("{}.due.>", names.subjects.branch("schedule"))],
            pending: BARE_PENDING,
        }
    }
}

/// What the broker says about a consumer.
pub(super) async fn info_of(hub: &Hub, plan: &Plan) -> Result<Box<consumer::Info>, BrokerError> {
    let Plan {
        stream, durable, ..
    } = plan;
    insist(|| hub.look(format!("CONSUMER.INFO.{stream}.{durable}"))).await
}

/// The pin of the bridge that is given messages now.
pub(super) fn pin_in(info: &consumer::Info) -> Option<&str> {
    let mut groups = info.priority_groups.iter();
    let ours = groups.find(|group| group.group == GROUP)?;
    ours.pinned_client_id.as_deref()
}

/// Creates the consumer when it is missing and begins to pull. `pin` is one that this bridge may
/// still hold from before.
pub(super) async fn open(
    hub: Arc<Hub>,
    plan: Plan,
    pin: Option<String>,
) -> Result<Box<pull::Stream>, BrokerError> {
    hub.consuming_ready().await?;
    let away = |error: &dyn std::fmt::Display| BrokerError::Away(error.to_string());
    let config = pull::Config {
        durable_name: Some(plan.durable.clone()),
        filter_subjects: plan.filters.clone(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: plan.pending,
        priority_policy: PriorityPolicy::PinnedClient,
        priority_groups: vec![GROUP.to_owned()],
        priority_timeout: PRIORITY_TIMEOUT,
        ..pull::Config::default()
    };
    let jetstream = hub.consuming();
    let create = || jetstream.create_consumer_on_stream(config.clone(), plan.stream.clone());
    let consumer = insist(create).await.map_err(|error| away(&error))?;
    if let Some(pin) = pin {
        // The pin of the stream that was given up would keep its successor waiting.
        unpin(&hub, &plan, &pin).await;
    }
    let batch = BATCH.min(usize::try_from(plan.pending).unwrap_or(BATCH));
    consumer
        .stream()
        .max_messages_per_batch(batch)
        .expires(PULL_EXPIRY)
        .heartbeat(HEARTBEAT)
        .group(GROUP)
        .messages()
        .await
        .map(Box::new)
        .map_err(|error| away(&error))
}

/// Releases `pin` if it is the present one.
pub(super) async fn unpin(hub: &Hub, plan: &Plan, pin: &str) {
    let Ok(info) = info_of(hub, plan).await else {
        return;
    };
    if pin_in(&info) == Some(pin) {
        let Plan {
            stream, durable, ..
        } = plan;
        let subject = format!("CONSUMER.UNPIN.{stream}.{durable}");
        let question = serde_json::json!({ "group": GROUP });
        // Otherwise it ends by itself after the priority timeout.
        let _: Result<IgnoredAny, _> = hub.ask(subject, &question).await;
    }
}

/// What the consumer handed out and cannot be delivered, as its header block breaks the connection.
pub(super) async fn undeliverable(hub: Arc<Hub>, plan: &Plan) -> Result<Vec<Raw>, BrokerError> {
    // Only the bridge writes the others.
    if plan.stream != hub.names.of("OUTBOUND") {
        return Ok(Vec::new());
    }
    let info = match info_of(&hub, plan).await {
        Err(error) if error.is_code(NO_CONSUMER) => return Ok(Vec::new()),
        info => info?,
    };
    let first = info.ack_floor.stream_sequence + 1;
    illegible::among(hub, &plan.filters, (first, info.delivered.stream_sequence)).await
}

/// Deletes the consumer of an account unless another bridge pulls on it.
pub(super) async fn retire(hub: &Hub, account: &AccountName) -> Result<(), BrokerError> {
    let plan = Plan::account(&hub.names, account);
    // Pulls of this bridge's own feed last that long.
    let patience = Instant::now() + PULL_EXPIRY + HEARTBEAT;
    loop {
        match info_of(hub, &plan).await {
            Ok(info) if info.num_waiting == 0 => break,
            Ok(_) if Instant::now() >= patience => return Ok(()),
            Ok(_) => sleep(RETIRE_POLL).await,
            Err(error) if error.is_code(NO_CONSUMER) || error.is_code(NO_STREAM) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    let Plan {
        stream, durable, ..
    } = &plan;
    let subject = format!("CONSUMER.DELETE.{stream}.{durable}");
    match hub.look::<IgnoredAny>(subject).await {
        Err(error) if !error.is_code(NO_CONSUMER) => Err(error),
        _ => Ok(()),
    }
}

fn durable(account: &AccountName) -> String {
    format!("account-{account}")
}
