//! Every metric name and label of the bridge. Label values come from enums and account names.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{ApiFamily, ApiOutcome, FrameOutcome, MediaOutcome, Name, SendOutcome};
use super::meter::Meter;
use crate::message::{AccountName, MediaReason, MediaState, Outcome, QuotaStanding};

/// Upper bounds of the acknowledgement histogram, in seconds: DingTalk waits 3 s.
const ACK_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 3.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabel {
    account: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FrameLabels {
    account: Name,
    outcome: FrameOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SendLabels {
    account: Name,
    outcome: SendOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    account: Name,
    family: ApiFamily,
    outcome: ApiOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MediaLabels {
    account: Name,
    outcome: MediaOutcome,
}

/// The metrics of one bridge; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    received: Family<AccountLabel, Counter>,
    frames: Family<FrameLabels, Counter>,
    in_flight: Family<AccountLabel, Gauge>,
    undecodable: Family<AccountLabel, Counter>,
    acks_late: Family<AccountLabel, Counter>,
    acks_lost: Family<AccountLabel, Counter>,
    ack_latency: Histogram,
    sockets: Family<AccountLabel, Gauge>,
    reconnects: Family<AccountLabel, Counter>,
    spool_records: Gauge,
    spool_bytes: Gauge,
    spool_drained: Counter,
    publish_window: Gauge,
    requests: Family<SendLabels, Counter>,
    requests_duplicate: Family<AccountLabel, Counter>,
    requests_held: Family<AccountLabel, Gauge>,
    requests_backlog: Family<AccountLabel, Gauge>,
    api_calls: Family<ApiLabels, Counter>,
    billed: Family<AccountLabel, Counter>,
    quota_notices: Family<AccountLabel, Counter>,
    pace: Family<AccountLabel, Gauge<f64, AtomicU64>>,
    media: Family<MediaLabels, Counter>,
    fleet: Gauges,
    meter: Meter,
}

/// What all replicas together are and did.
#[derive(Debug)]
struct Gauges {
    quota_used: Family<AccountLabel, Gauge>,
    quota_limit: Family<AccountLabel, Gauge>,
    quota_forecast: Family<AccountLabel, Gauge>,
    replicas: Gauge,
}

impl Gauges {
    fn register(registry: &mut Registry) -> Self {
        let mut accounts = |name, help| {
            let family = Family::<AccountLabel, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let quota_used = accounts("quota_used", "Billed calls of the month, by all replicas");
        let quota_limit = accounts("quota_limit", "Billed calls in a month, when configured");
        let quota_forecast = accounts(
            "quota_forecast",
            "Billed calls that the month will have at its end, at the present pace",
        );
        let replicas = Gauge::default();
        registry.register(
            "replicas",
            "Bridges that serve the same configuration now",
            replicas.clone(),
        );
        Self {
            quota_used,
            quota_limit,
            quota_forecast,
            replicas,
        }
    }
}

impl Metrics {
    /// Fresh metrics, all zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("nats_dingtalk");
        let ack_latency = ack_latency(&mut registry);
        macro_rules! registered {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        let received = registered!("frames_received", "Data frames read");
        let frames = registered!("frames", "Data frames by how they ended");
        let in_flight = registered!("frames_in_flight", "Data frames that have not ended yet");
        let undecodable = registered!(
            "frames_undecodable",
            "Frames that could not be read; kept raw"
        );
        let acks_late = registered!("acks_late", "Frames stored after their answer was withheld");
        let acks_lost = registered!("acks_lost", "Answers whose socket was gone");
        let sockets = registered!("sockets", "Open Stream connections");
        let reconnects = registered!("reconnects", "Stream connections opened");
        let spool_records = registered!("spool_records", "Messages waiting in the spool");
        let spool_bytes = registered!("spool_bytes", "Bytes waiting in the spool");
        let spool_drained = registered!(
            "spool_drained",
            "Messages moved from the spool to JetStream"
        );
        let publish_window = registered!("publish_window", "Publishes without a PubAck yet");
        let requests = registered!("requests", "Outbound requests by receipt");
        let requests_duplicate = registered!(
            "requests_duplicate",
            "Requests whose idempotency key was known"
        );
        let requests_held = registered!("requests_held", "Requests in a lane of this bridge");
        let requests_backlog = registered!("requests_backlog", "Requests in the backlog");
        let api_calls = registered!("api_calls", "Calls to DingTalk by family and outcome");
        let billed = registered!("billed_calls", "Calls that count against the monthly quota");
        let quota_notices = registered!(
            "quota_notices",
            "Messages without content because the quota is used up"
        );
        let pace = registered!(
            "pace_per_second",
            "Sends a second that the account may make now"
        );
        let media = registered!("media", "Media items of inbound messages by how they ended");
        let fleet = Gauges::register(&mut registry);
        Self(Arc::new(Inner {
            registry,
            received,
            frames,
            in_flight,
            undecodable,
            acks_late,
            acks_lost,
            ack_latency,
            sockets,
            reconnects,
            spool_records,
            spool_bytes,
            spool_drained,
            publish_window,
            requests,
            requests_duplicate,
            requests_held,
            requests_backlog,
            api_calls,
            billed,
            quota_notices,
            pace,
            media,
            fleet,
            meter: Meter::default(),
        }))
    }

    /// All metrics in Prometheus text form.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    /// A data frame was read.
    pub fn frame_received(&self, account: &AccountName) {
        self.0.received.get_or_create(&label(account)).inc();
        self.0.in_flight.get_or_create(&label(account)).inc();
    }

    /// A data frame that was counted as received ended.
    pub fn frame_ended(&self, account: &AccountName, outcome: FrameOutcome) {
        let labels = FrameLabels {
            account: Name(account.clone()),
            outcome,
        };
        self.0.frames.get_or_create(&labels).inc();
        self.0.in_flight.get_or_create(&label(account)).dec();
    }

    /// A frame could not be read.
    pub fn frame_undecodable(&self, account: &AccountName) {
        self.0.undecodable.get_or_create(&label(account)).inc();
    }

    /// A frame was answered `elapsed` after it was read.
    pub fn acked(&self, elapsed: Duration) {
        self.0.ack_latency.observe(elapsed.as_secs_f64());
    }

    /// A frame was stored after its answer had been withheld.
    pub fn ack_late(&self, account: &AccountName) {
        self.0.acks_late.get_or_create(&label(account)).inc();
    }

    /// An answer found its socket gone.
    pub fn ack_lost(&self, account: &AccountName) {
        self.0.acks_lost.get_or_create(&label(account)).inc();
    }

    /// A Stream connection was opened.
    pub fn socket_opened(&self, account: &AccountName) {
        self.0.sockets.get_or_create(&label(account)).inc();
        self.0.reconnects.get_or_create(&label(account)).inc();
    }

    /// A Stream connection was closed.
    pub fn socket_closed(&self, account: &AccountName) {
        self.0.sockets.get_or_create(&label(account)).dec();
    }

    /// What the spool holds now.
    pub fn spool_depth(&self, records: u64, bytes: u64) {
        self.0
            .spool_records
            .set(i64::try_from(records).unwrap_or(i64::MAX));
        self.0
            .spool_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Messages moved from the spool to JetStream.
    pub fn spool_drained(&self, records: u64) {
        self.0.spool_drained.inc_by(records);
    }

    /// Publishes without a PubAck now.
    pub fn publish_window(&self, open: usize) {
        self.0
            .publish_window
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// A request ended with a receipt.
    pub fn request_ended(&self, account: &AccountName, outcome: Outcome) {
        let labels = SendLabels {
            account: Name(account.clone()),
            outcome: outcome.into(),
        };
        self.0.requests.get_or_create(&labels).inc();
    }

    /// A request came again under a known idempotency key.
    pub fn request_duplicate(&self, account: &AccountName) {
        self.0
            .requests_duplicate
            .get_or_create(&label(account))
            .inc();
    }

    /// Requests in the lanes of an account now.
    pub fn requests_held(&self, account: &AccountName, held: usize) {
        let gauge = self.0.requests_held.get_or_create(&label(account));
        gauge.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// How many requests of an account wait in the backlog.
    pub fn requests_backlog(&self, account: &AccountName, waiting: u64) {
        let gauge = self.0.requests_backlog.get_or_create(&label(account));
        gauge.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// A call to DingTalk ended.
    pub fn api_call(&self, account: &AccountName, family: ApiFamily, outcome: ApiOutcome) {
        let labels = ApiLabels {
            account: Name(account.clone()),
            family,
            outcome,
        };
        self.0.api_calls.get_or_create(&labels).inc();
    }

    /// A call counts against the monthly quota.
    pub fn billed(&self, account: &AccountName, family: ApiFamily) {
        self.0.billed.get_or_create(&label(account)).inc();
        self.0.meter.count(account, family);
    }

    /// Billed calls that are not yet in the shared count of the month.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// A message came without content because the quota is used up.
    pub fn quota_notice(&self, account: &AccountName) {
        self.0.quota_notices.get_or_create(&label(account)).inc();
    }

    /// Sends a second that an account may make now, its slowest family.
    pub fn pace(&self, account: &AccountName, per_second: f64) {
        self.0.pace.get_or_create(&label(account)).set(per_second);
    }

    /// A media item of an inbound message was stored, or will not be.
    pub fn media_ended(
        &self,
        account: &AccountName,
        state: MediaState,
        reason: Option<MediaReason>,
    ) {
        let labels = MediaLabels {
            account: Name(account.clone()),
            outcome: MediaOutcome::new(state, reason),
        };
        self.0.media.get_or_create(&labels).inc();
    }

    /// How an account stands against its quota.
    pub fn quota(&self, account: &AccountName, standing: &QuotaStanding) {
        let label = label(account);
        let set = |gauge: &Family<AccountLabel, Gauge>, calls: u64| {
            let calls = i64::try_from(calls).unwrap_or(i64::MAX);
            gauge.get_or_create(&label).set(calls);
        };
        set(&self.0.fleet.quota_used, standing.used);
        set(&self.0.fleet.quota_forecast, standing.forecast);
        match standing.limit {
            Some(limit) => set(&self.0.fleet.quota_limit, limit),
            None => {
                self.0.fleet.quota_limit.remove(&label);
            }
        }
    }

    /// Live replicas, this one included.
    pub fn replicas(&self, live: usize) {
        let live = i64::try_from(live).unwrap_or(i64::MAX);
        self.0.fleet.replicas.set(live);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn ack_latency(registry: &mut Registry) -> Histogram {
    let ack_latency = Histogram::new(ACK_BUCKETS);
    registry.register_with_unit(
        "ack_latency",
        "Time from reading a frame to answering it",
        Unit::Seconds,
        ack_latency.clone(),
    );
    ack_latency
}

fn label(account: &AccountName) -> AccountLabel {
    AccountLabel {
        account: Name(account.clone()),
    }
}
