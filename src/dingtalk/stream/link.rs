//! The link of one account: what it is made of, and its connections side by side.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::delivery::{Delivery, LinkEvent};
use super::endpoint::Endpoint;
use super::slot::Slot;
use crate::config;
use crate::dingtalk::net::Net;
use crate::message::{AccountName, Timestamp};
use crate::telemetry::{Health, Metrics};

/// Bytes of the large frames of an account that are unanswered at a time.
const LARGE_ROOM: usize = 32 << 20;

/// What a link is made of.
pub struct LinkConfig {
    /// Name of the account.
    pub name: AccountName,
    /// The account itself.
    pub account: config::Account,
    /// Base URL of the API, without a slash at the end.
    pub api_url: String,
    /// Client for `connections/open`; its deadlines hold.
    pub http: reqwest::Client,
    /// How the WebSocket is reached.
    pub net: Net,
    /// Board for the state of each connection.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
    /// When what happens; [`Timings::default`] outside tests.
    pub timings: Timings,
}

/// [`Timings::unreached_most`] of a bridge with few accounts.
const UNREACHED_MOST: Duration = Duration::from_secs(2);

/// When what happens in the life of a connection.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Time between two WebSocket pings; two without a sign of life are death.
    pub ping_every: Duration,
    /// Age at which a connection is replaced, give or take a tenth.
    pub max_age: Duration,
    /// How long a replaced connection is still read and answered.
    pub overlap: Duration,
    /// Ceiling of the first wait before a new attempt.
    pub backoff_least: Duration,
    /// Ceiling of the longest.
    pub backoff_most: Duration,
    /// Ceiling of the longest while the gateway is not reached: an attempt costs DingTalk nothing then, and
    /// nobody keeps the messages that are written until one succeeds.
    pub unreached_most: Duration,
    /// Longest wait for the successor of a connection that DingTalk sent away while it was young:
    /// until it is there nothing is pushed, however often this happens.
    pub dismissed_most: Duration,
    /// Time between the first attempts of two connections of an account.
    pub stagger: Duration,
    /// A connection that ends sooner without a data frame is a step towards a stall.
    pub stall_life: Duration,
    /// Time between two attempts of a stalled account.
    pub stall_retry: Duration,
    /// Time between two attempts of an account whose credentials or settings are refused.
    pub refused_retry: Duration,
    /// Wait after a ban of this machine's address.
    pub ban_wait: Duration,
    /// Longest wait for open tickets before a connection is closed.
    pub drain: Duration,
    /// Longest wait for the other side's goodbye.
    pub close: Duration,
}

impl Timings {
    /// Those of one link among the links of so many accounts, which together look up and dial at most some
    /// hundred times a second while the network is gone.
    pub fn among(accounts: usize) -> Self {
        let share =
            Duration::from_millis(40).saturating_mul(u32::try_from(accounts).unwrap_or(u32::MAX));
        Self {
            unreached_most: UNREACHED_MOST.max(share),
            ..Self::default()
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(20),
            max_age: Duration::from_secs(6 * 3600),
            overlap: Duration::from_secs(15),
            backoff_least: Duration::from_secs(1),
            backoff_most: Duration::from_secs(60),
            unreached_most: UNREACHED_MOST,
            dismissed_most: Duration::from_secs(4),
            stagger: Duration::from_secs(1),
            stall_life: Duration::from_secs(30),
            stall_retry: Duration::from_secs(5 * 60),
            refused_retry: Duration::from_secs(10 * 60),
            ban_wait: Duration::from_secs(5 * 60),
            drain: Duration::from_secs(10),
            close: Duration::from_secs(2),
        }
    }
}

/// The Stream connections of one account.
pub struct Link(LinkConfig);

impl fmt::Debug for LinkConfig {
    /// Only who it is for: the HTTP client may know a proxy's password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkConfig")
            .field("name", &self.name)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0).finish()
    }
}

/// What the connections of a link share.
pub(super) struct Context {
    pub(super) account: AccountName,
    pub(super) client_id: Arc<str>,
    pub(super) endpoint: Endpoint,
    pub(super) http: reqwest::Client,
    pub(super) net: Net,
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) timings: Timings,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    /// Room for large frames, in bytes.
    pub(super) large: Arc<Semaphore>,
}

impl Context {
    /// Reports when the last frame came in, and how many came since the last report.
    pub(super) fn frames_seen(&self, slot: usize, at: Timestamp, count: u64) {
        self.health.account(&self.account, |health| {
            health.last_frame_at = Some(at);
            *health.frames.entry(slot).or_default() += count;
        });
    }
}

impl Link {
    /// A link that nothing was done with yet.
    pub fn new(config: LinkConfig) -> Self {
        Self(config)
    }

    /// Keeps the connections of the account open until `stop` is cancelled, then lets each of them
    /// wait for its open tickets and say goodbye. Ends within `drain` + `close` after that.
    ///
    /// Frames go to `deliveries`; while that is full, or 32 MiB of frames above 64 KiB are
    /// unanswered, nothing is read, but answers are written.
    /// Changes go to `events`, in order; of changes that wait for room only the latest are kept.
    pub async fn run(
        self,
        deliveries: mpsc::Sender<Delivery>,
        events: mpsc::Sender<LinkEvent>,
        stop: CancellationToken,
    ) {
        let config = self.0;
        let connections = config.account.connections;
        let context = Arc::new(Context {
            client_id: Arc::from(config.account.client_id.as_str()),
            endpoint: Endpoint {
                api_url: config.api_url,
                client_id: config.account.client_id,
                client_secret: config.account.client_secret,
                events: config.account.events,
                delegate: config.account.delegate,
            },
            account: config.name,
            http: config.http,
            net: config.net,
            health: config.health,
            metrics: config.metrics,
            timings: config.timings,
            deliveries,
            large: Arc::new(Semaphore::new(LARGE_ROOM)),
        });
        let slot = |index| Slot::new(Arc::clone(&context), index, events.clone(), &stop).run();
        let mut slots: FuturesUnordered<_> = (0..connections).map(slot).collect();
        while slots.next().await.is_some() {}
    }
}
