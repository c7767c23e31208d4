//! What the bridge keeps at the broker: its streams and buckets as they are created, and the check
//! of those that are there. It stores and reads no message.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Compression, Config, DiscardPolicy, Info, RetentionPolicy, StorageType,
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::error::{BrokerError, NO_STREAM, STREAM_EXISTS};
use super::fitness;
use super::hub::{Hub, Names};
use super::media;
use super::objects;
use crate::config;

/// How long dead letters are kept.
const DEAD_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long what the policy kept out is kept.
const GATED_AGE: Duration = Duration::from_secs(24 * 3600);
/// Most bytes of what the policy kept out.
const GATED_BYTES: i64 = 256 << 20;
/// Status events kept for each account, some 3 MB. Links and media share one subject, as that is what
/// readers subscribe to, so a burst of media must not push the link states out: this is three times the
/// messages of a month under DingTalk's standard quota (oapi.md, section 9.4).
const STATUS_PER_ACCOUNT: i64 = 10_000;
/// Most advisories kept.
const ADVISORIES: i64 = 100_000;
/// How long an entry of the send ledger lives.
const LEDGER_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest life of a session webhook; each has its own, shorter one.
const WEBHOOK_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the state of a card is kept: one that is open that long is closed by its deadline.
const CARD_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long what replicas tell each other is kept; each entry has its own, shorter life.
const FLEET_AGE: Duration = Duration::from_secs(3600);
/// How long the calls of a month are kept.
const QUOTA_AGE: Duration = Duration::from_secs(400 * 24 * 3600);
/// Longest time that DingTalk is not asked again.
const CACHE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Oldest server with pinned priority groups and per-message TTL, which the promises rest on.
const OLDEST_SERVER: (i64, i64) = (2, 11);
/// Oldest server that the bridge is tested with.
const TESTED_SERVER: (i64, i64) = (2, 12);
/// Oldest server that delivers a message at its time.
const SCHEDULING_SERVER: (i64, i64) = (2, 12);
/// Pause between two tries while the broker or JetStream is not there.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How often waiting is logged.
const WAIT_LOG_INTERVAL: Duration = Duration::from_secs(15);

/// What may not differ in a stream, beside its subjects and its file storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// Only storage.
    Kept,
    /// Its deduplication window must be as long as configured.
    Deduplicated,
    /// Takes work off when it is done, and refuses more when it is full.
    Queue,
    /// A bucket: last value by key, entries with a life of their own.
    Bucket,
}

/// One stream as the bridge wants it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) duty: Duty,
}

/// Creates what is missing and checks what is there; waits for the broker as long as it takes. It may
/// be dropped at any time: the next one goes on with what is there.
pub(super) async fn prepare(hub: &Hub) -> Result<(), BrokerError> {
    let mut patience = Patience::new();
    while !hub.connected() {
        patience.wait(&hub.report().unwrap_or_default()).await;
    }
    check_server(hub)?;
    let schedules = at_least(hub, SCHEDULING_SERVER);
    for mut plan in plans(&hub.names, &hub.settings) {
        // An older server refuses the setting, or ignores it.
        plan.config.allow_message_schedules &= schedules;
        loop {
            match ensure(hub, &plan).await {
                Ok(()) => break,
                Err(BrokerError::Away(reason)) => patience.wait(&reason).await,
                Err(BrokerError::Refused { code, description }) => {
                    return Err(not_created(&plan.config, code, &description));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

pub(super) fn check_server(hub: &Hub) -> Result<(), BrokerError> {
    let version = hub.client().server_info().version;
    if !at_least(hub, OLDEST_SERVER) {
        return Err(BrokerError::Unfit(format!(
            "nats-server {version} is too old: pinned consumers and message TTLs need 2.11, and 2.12 or newer is recommended"
        )));
    }
    if !at_least(hub, TESTED_SERVER) {
        warn!(nats.version = %version, "nats-server older than 2.12; newer is recommended");
    }
    Ok(())
}

fn at_least(hub: &Hub, (major, minor): (i64, i64)) -> bool {
    hub.client().is_server_compatible(major, minor, 0)
}

async fn ensure(hub: &Hub, plan: &Plan) -> Result<(), BrokerError> {
    let name = &plan.config.name;
    if let Some(found) = find(hub, name).await? {
        return fitness::check(plan, &found.config);
    }
    match hub
        .ask::<_, Info>(format!("STREAM.CREATE.{name}"), &plan.config)
        .await
    {
        Ok(_) => {
            info!(nats.stream = %name, "stream created");
            Ok(())
        }
        // Another bridge was faster, with other settings; or with the same, which is no error.
        Err(error) if error.is_code(STREAM_EXISTS) => match find(hub, name).await? {
            Some(found) => fitness::check(plan, &found.config),
            None => Err(BrokerError::Away(format!("stream {name} comes and goes"))),
        },
        Err(error) => Err(error),
    }
}

pub(super) async fn find(hub: &Hub, name: &str) -> Result<Option<Info>, BrokerError> {
    match hub.look(format!("STREAM.INFO.{name}")).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.is_code(NO_STREAM) => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_created(config: &Config, code: u64, description: &str) -> BrokerError {
    BrokerError::Unfit(format!(
        "stream {} cannot be created with subjects {:?} and {} replicas (nats.replicas): {description} (err_code {code})",
        config.name, config.subjects, config.num_replicas
    ))
}

/// Every stream and bucket of a bridge with this configuration.
pub(super) fn plans_of(settings: &config::Nats) -> Vec<Plan> {
    plans(&Names::new(settings), settings)
}

/// Every stream and bucket of the bridge.
pub(super) fn plans(names: &Names, settings: &config::Nats) -> Vec<Plan> {
    let subjects = &names.subjects;
    let outbound = names.of("OUTBOUND");
    let advisory = |kind: &str| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{outbound}.*");
    let age = settings.max_age;
    let stream = |what: &str, taken: Vec<String>, max_age: Duration| {
        let mut config = base(names.of(what), taken, settings);
        config.max_age = max_age;
        // A window longer than the age is refused by the server.
        config.duplicate_window = match max_age {
            Duration::ZERO => settings.dedup_window,
            max_age => settings.dedup_window.min(max_age),
        };
        config
    };
    let plan = |config, duty| Plan { config, duty };

    let inbound = stream("INBOUND", vec![subjects.all("inbound")], age);
    let mut gated = stream("GATED", vec![subjects.all("gated")], age.min(GATED_AGE));
    gated.max_bytes = GATED_BYTES;
    let taken = vec![subjects.branch("outbound"), subjects.all("outbound")];
    // No age: a request that nobody served yet must not vanish without a receipt.
    let mut queue = stream("OUTBOUND", taken, Duration::ZERO);
    queue.retention = RetentionPolicy::WorkQueue;
    queue.discard = DiscardPolicy::New;
    // No age either: what waits for its time is kept until then, and one of each key.
    let mut schedule = stream("SCHEDULE", vec![subjects.all("schedule")], Duration::ZERO);
    schedule.max_messages_per_subject = 1;
    schedule.allow_message_schedules = true;
    // Nor here: it is the rest of the queue.
    let mut backlog = stream("BACKLOG", vec![subjects.all("backlog")], Duration::ZERO);
    backlog.discard = DiscardPolicy::New;
    let receipt = stream("RECEIPT", vec![subjects.all("receipt")], age);
    let dead = stream("DEAD", vec![subjects.all("dead")], DEAD_AGE);
    let mut status = stream("STATUS", vec![subjects.all("status")], age);
    status.max_messages_per_subject = STATUS_PER_ACCOUNT;
    let taken = vec![advisory("MAX_DELIVERIES"), advisory("MSG_TERMINATED")];
    let mut advisories = stream("ADVISORY", taken, age);
    advisories.max_messages = ADVISORIES;

    vec![
        plan(inbound, Duty::Deduplicated),
        plan(gated, Duty::Kept),
        plan(queue, Duty::Queue),
        plan(schedule, Duty::Kept),
        plan(backlog, Duty::Queue),
        plan(receipt, Duty::Kept),
        plan(dead, Duty::Kept),
        plan(status, Duty::Kept),
        plan(advisories, Duty::Kept),
        plan(
            bucket(&names.of("WEBHOOKS"), WEBHOOK_AGE, settings),
            Duty::Bucket,
        ),
        plan(
            bucket(&names.of("LEDGER"), LEDGER_AGE, settings),
            Duty::Bucket,
        ),
        plan(bucket(&names.of("CARDS"), CARD_AGE, settings), Duty::Bucket),
        plan(
            bucket(&names.of("FLEET"), FLEET_AGE, settings),
            Duty::Bucket,
        ),
        plan(
            bucket(&names.of("QUOTA"), QUOTA_AGE, settings),
            Duty::Bucket,
        ),
        plan(
            bucket(&names.of("CACHE"), CACHE_AGE, settings),
            Duty::Bucket,
        ),
        plan(
            bucket(&names.of("BINDINGS"), Duration::ZERO, settings),
            Duty::Bucket,
        ),
        plan(objects(&names.of(objects::BUCKET), settings), Duty::Kept),
        plan(objects(&names.of(media::BUCKET), settings), Duty::Kept),
    ]
}

fn base(name: String, subjects: Vec<String>, settings: &config::Nats) -> Config {
    Config {
        name,
        subjects,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        compression: Some(Compression::S2),
        allow_direct: true,
        max_messages: -1,
        max_bytes: -1,
        max_consumers: -1,
        ..Config::default()
    }
}

/// A key-value bucket as the NATS clients know it (one value by key, ADR-8), with a life for each
/// entry.
fn bucket(name: &str, max_age: Duration, settings: &config::Nats) -> Config {
    let subjects = vec![format!("$KV.{name}.>")];
    Config {
        max_age,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_message_ttl: true,
        duplicate_window: Duration::from_secs(120),
        ..base(format!("KV_{name}"), subjects, settings)
    }
}

/// An object-store bucket as the NATS clients know it (ADR-20); bodies live as long as messages.
fn objects(name: &str, settings: &config::Nats) -> Config {
    let subjects = vec![format!("$O.{name}.C.>"), format!("$O.{name}.M.>")];
    Config {
        max_age: settings.max_age,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        duplicate_window: Duration::from_secs(120),
        ..base(format!("OBJ_{name}"), subjects, settings)
    }
}

/// Waits between tries and says every 15 s what for.
struct Patience {
    said_at: Instant,
}

impl Patience {
    fn new() -> Self {
        Self {
            said_at: Instant::now(),
        }
    }

    async fn wait(&mut self, reason: &str) {
        if self.said_at.elapsed() >= WAIT_LOG_INTERVAL {
            self.said_at = Instant::now();
            warn!(reason, "waiting for the broker");
        }
        sleep(RETRY_DELAY).await;
    }
}
