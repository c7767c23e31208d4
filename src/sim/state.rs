//! What one simulated DingTalk knows: apps, links, tickets, tokens, webhooks and what it saw.
//! Plain values behind one short lock; it knows neither HTTP nor WebSocket.

use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::aftermath::Emotion;
use super::api::CustomState;
use super::armed::ArmedFault;
use super::cards::Deck;
use super::carrier::Carrier;
use super::gateway::{Due, Link};
use super::ledger::{AckRules, Ledger};
use super::media::Media;
use super::options::{AckMatching, LateAck, SimOptions};
use super::record::{Call, EventFailure, LinkView, Sent};
use crate::message::Timestamp;

/// How many pushes may wait in a link's queue before the pusher waits.
pub(super) const LINK_QUEUE: usize = 1024;

/// The span in which calls are counted, and the penalty for too many.
const SECOND: Duration = Duration::from_secs(1);

/// One app as the simulator keeps it.
pub(super) struct App {
    pub(super) client_id: Arc<str>,
    pub(super) secret: String,
    pub(super) robot_code: String,
    /// Whether it came by `any_app`: then its robot code is not known and every one is taken.
    pub(super) improvised: bool,
    /// UUID that frames carry as `appId`.
    pub(super) app_id: String,
    pub(super) muted_until: Option<Instant>,
    pub(super) webhook_posts: VecDeque<Instant>,
    /// Calls of this month that count against the quota.
    pub(super) billed: u32,
    /// Webhook posts of this month.
    pub(super) webhook_billed: u32,
}

/// What a connection subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// `EVENT`, `CALLBACK` or `SYSTEM`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Topic; `*` for events.
    pub topic: String,
}

pub(super) struct Ticket {
    pub(super) app: Arc<str>,
    pub(super) expires: Instant,
    pub(super) subscriptions: Arc<[Subscription]>,
    pub(super) ua: String,
}

/// The API family that issued a token (oapi.md, section 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    /// `api.dingtalk.com`.
    V1,
    /// `oapi.dingtalk.com`.
    Oapi,
}

pub(super) struct Token {
    pub(super) value: String,
    pub(super) expires: Instant,
}

/// The calls of one app to one path.
#[derive(Default)]
pub(super) struct Rate {
    calls: VecDeque<Instant>,
    blocked_until: Option<Instant>,
}

/// A session webhook: the chat that it answers into.
pub(super) struct WebhookSession {
    pub(super) app: Arc<str>,
    pub(super) chat: String,
    pub(super) expires: Instant,
}

/// Everything behind the lock.
pub(super) struct World {
    pub(super) apps: HashMap<Arc<str>, App>,
    pub(super) custom_robots: HashMap<String, CustomState>,
    pub(super) users: Option<HashSet<String>>,
    pub(super) groups: Option<HashSet<String>>,
    pub(super) unknown_users: HashSet<String>,
    pub(super) flow_controlled: HashSet<String>,
    pub(super) tickets: HashMap<String, Ticket>,
    pub(super) tokens: HashMap<(Arc<str>, Family), Token>,
    pub(super) sessions: HashMap<String, WebhookSession>,
    pub(super) session_order: VecDeque<String>,
    pub(super) rates: HashMap<(Arc<str>, String), Rate>,
    pub(super) links: HashMap<u64, Link>,
    pub(super) by_app: HashMap<Arc<str>, Vec<u64>>,
    pub(super) next_link: u64,
    pub(super) closed: VecDeque<LinkView>,
    pub(super) ledger: Ledger,
    pub(super) due: BinaryHeap<Due>,
    pub(super) failed_events: Vec<EventFailure>,
    pub(super) lost: u64,
    pub(super) sent: VecDeque<Sent>,
    pub(super) sent_total: u64,
    pub(super) delivered: u64,
    pub(super) calls: VecDeque<Call>,
    pub(super) faults: Vec<ArmedFault>,
    /// Delivered cards by carrier id.
    pub(super) carriers: HashMap<String, Carrier>,
    pub(super) media: Media,
    pub(super) emotions: VecDeque<Emotion>,
    /// Staff ids by unionId.
    pub(super) union_ids: HashMap<String, String>,
    pub(super) deck: Deck,
}

/// The world, how to hear of its changes, and the life of its tasks.
pub(super) struct Shared {
    pub(super) options: SimOptions,
    pub(super) api_url: String,
    pub(super) gateway_url: String,
    pub(super) corp_id: String,
    pub(super) changed: watch::Sender<u64>,
    pub(super) schedule: Notify,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    world: Mutex<World>,
}

impl Shared {
    pub(super) fn new(options: SimOptions, api_url: String, gateway_url: String) -> Arc<Self> {
        let prefix = format!(
            "7f000001_{:x}_{:x}_",
            std::process::id(),
            Timestamp::now().as_millis()
        );
        let mut world = World {
            apps: HashMap::new(),
            custom_robots: HashMap::new(),
            users: options.users.clone().map(HashSet::from_iter),
            groups: options.groups.clone().map(HashSet::from_iter),
            unknown_users: HashSet::new(),
            flow_controlled: HashSet::new(),
            tickets: HashMap::new(),
            tokens: HashMap::new(),
            sessions: HashMap::new(),
            session_order: VecDeque::new(),
            rates: HashMap::new(),
            links: HashMap::new(),
            by_app: HashMap::new(),
            next_link: 1,
            closed: VecDeque::new(),
            ledger: Ledger::new(prefix, options.keep),
            due: BinaryHeap::new(),
            failed_events: Vec::new(),
            lost: 0,
            sent: VecDeque::new(),
            sent_total: 0,
            delivered: 0,
            calls: VecDeque::new(),
            faults: Vec::new(),
            carriers: HashMap::new(),
            media: Media::new(options.keep),
            emotions: VecDeque::new(),
            union_ids: HashMap::from_iter(options.union_ids.clone()),
            deck: Deck::default(),
        };
        for robot in &options.custom_robots {
            let state = CustomState::new(robot.clone());
            let token = robot.access_token.clone();
            world.custom_robots.insert(token, state);
        }
        for app in &options.apps {
            let secret = app.client_secret.expose().to_owned();
            world.add_app(&app.client_id, secret, Some(app.robot_code.clone()));
        }
        Arc::new(Self {
            options,
            api_url,
            gateway_url,
            corp_id: "dingsim00000000000000000000000001".to_owned(),
            changed: watch::Sender::new(0),
            schedule: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            world: Mutex::new(world),
        })
    }

    /// The world, locked. Never held across an await.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everyone who waits that something happened.
    pub(super) fn notify(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// The simulator's clock, skew included.
    pub(super) fn now_millis(&self) -> i64 {
        Timestamp::now().as_millis() + self.options.clock_skew_ms
    }

    pub(super) fn ack_rules(&self) -> AckRules {
        AckRules {
            any_socket: self.options.ack_matching == AckMatching::AnySocket,
            late_counts: self.options.late_ack == LateAck::Accepted,
            record_texts: self.options.record_texts,
            timeout: self.options.ack_timeout,
        }
    }
}

impl World {
    pub(super) fn add_app(&mut self, client_id: &str, secret: String, robot_code: Option<String>) {
        let client_id: Arc<str> = Arc::from(client_id);
        let app = App {
            client_id: Arc::clone(&client_id),
            secret,
            improvised: robot_code.is_none(),
            robot_code: robot_code.unwrap_or_else(|| client_id.as_ref().to_owned()),
            app_id: uuid(),
            muted_until: None,
            webhook_posts: VecDeque::new(),
            billed: 0,
            webhook_billed: 0,
        };
        self.apps.insert(client_id, app);
    }

    /// The app with these credentials, improvised when `any_app` says so.
    pub(super) fn authenticate(
        &mut self,
        client_id: &str,
        secret: &str,
        any_app: bool,
    ) -> Option<&App> {
        if client_id.is_empty() || secret.is_empty() {
            return None;
        }
        if any_app && !self.apps.contains_key(client_id) {
            self.add_app(client_id, secret.to_owned(), None);
        }
        self.apps.get(client_id).filter(|app| app.secret == secret)
    }

    /// The app that a live token belongs to.
    pub(super) fn app_of_token(&self, token: &str, family: Option<Family>) -> Option<Arc<str>> {
        let now = Instant::now();
        self.tokens
            .iter()
            .find(|((_, issued_by), live)| {
                live.value == token
                    && live.expires > now
                    && family.is_none_or(|family| family == *issued_by)
            })
            .map(|((app, _), _)| Arc::clone(app))
    }

    /// Counts one call in a sliding second; false when the limit is reached, and for one second
    /// after that (oapi.md, section 9.4).
    pub(super) fn within_rate(&mut self, app: &Arc<str>, path: &str, limit: Option<u32>) -> bool {
        let Some(limit) = limit else { return true };
        let now = Instant::now();
        let key = (Arc::clone(app), path.to_owned());
        let rate = self.rates.entry(key).or_default();
        if rate.blocked_until.is_some_and(|until| until > now) {
            return false;
        }
        while rate
            .calls
            .front()
            .is_some_and(|at| now.duration_since(*at) >= SECOND)
        {
            rate.calls.pop_front();
        }
        if rate.calls.len() >= limit as usize {
            rate.blocked_until = Some(now + SECOND);
            return false;
        }
        rate.calls.push_back(now);
        true
    }

    /// Keeps a session webhook; the oldest goes when there are too many.
    pub(super) fn add_session(&mut self, id: String, session: WebhookSession, keep: usize) {
        if self.session_order.len() >= keep
            && let Some(oldest) = self.session_order.pop_front()
        {
            self.sessions.remove(&oldest);
        }
        self.session_order.push_back(id.clone());
        self.sessions.insert(id, session);
    }

    pub(super) fn log_sent(&mut self, mut sent: Sent, keep: usize) {
        sent.seq = self.sent_total;
        self.sent_total += 1;
        self.delivered += u64::from(sent.delivered());
        if self.sent.len() >= keep {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    pub(super) fn log_call(&mut self, call: Call, keep: usize) {
        if self.calls.len() >= keep {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }
}

/// A random UUID in lower case.
pub(super) fn uuid() -> String {
    let bits = fastrand::u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0xfff,
        0x8000 | ((bits >> 48) & 0x3fff),
        bits & 0xffff_ffff_ffff,
    )
}

/// Replaces what nobody may read back in a recorded request body.
pub(super) fn redact(mut body: Value) -> Value {
    if let Some(map) = body.as_object_mut() {
        for key in ["clientSecret", "appSecret", "client_secret"] {
            if let Some(value) = map.get_mut(key) {
                *value = Value::from("***");
            }
        }
    }
    body
}
