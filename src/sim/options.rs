//! What a simulated DingTalk is told at its start. It knows no socket and no state.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::api::CustomRobot;
use super::cards::CardTemplate;
use crate::message::Secret;

/// One app (robot) that the simulator knows.
#[derive(Debug, Clone)]
pub struct SimApp {
    /// AppKey.
    pub client_id: String,
    /// AppSecret.
    pub client_secret: Secret,
    /// Robot code; for an internal app the same as the client id.
    pub robot_code: String,
}

impl SimApp {
    /// An app whose robot code is its client id, as it is for internal apps.
    pub fn new(client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        let client_id = client_id.into();
        Self {
            robot_code: client_id.clone(),
            client_id,
            client_secret: Secret::new(client_secret),
        }
    }
}

/// On which socket an ack counts (stream-protocol.md, section 4.5: the real rule is unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMatching {
    /// Only on the socket that the frame went out on.
    SourceSocket,
    /// On any socket of the same app.
    AnySocket,
}

/// Whether an ack after the deadline still stops the redelivery (reports differ).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateAck {
    /// The frame comes again: the harsher reading, and the default.
    Redelivered,
    /// The ack counts.
    Accepted,
}

/// What a second delivery of a card into the same chat does (oapi.md, section 9.5: unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardAgain {
    /// The card stands there twice: the harsher reading, and the default.
    Repeated,
    /// Nothing changes, and the answer names the first carrier.
    Folded,
}

/// Which tokens each API family accepts (oapi.md, section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFamilies {
    /// Either token works everywhere, as it does in practice.
    Shared,
    /// Each family takes only its own token.
    Strict,
}

/// Everything that can be set about a [`Sim`](super::Sim); the defaults are DingTalk's documented numbers.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// Where both API families are served over HTTP; port 0 picks a free one.
    pub api_listen: SocketAddr,
    /// Where the gateway takes WebSockets; port 0 picks a free one.
    pub gateway_listen: SocketAddr,
    /// Base URL of the API as clients see it, when it is not the listen address.
    pub public_api_url: Option<String>,
    /// URL of the gateway as clients see it, when it is not the listen address.
    pub public_gateway_url: Option<String>,
    /// The apps that exist.
    pub apps: Vec<SimApp>,
    /// The custom robots that exist.
    pub custom_robots: Vec<CustomRobot>,
    /// Whether every other credential is taken too; the first secret seen for a client id is its secret.
    pub any_app: bool,
    /// The staff ids that exist; `None` accepts every one.
    pub users: Option<Vec<String>>,
    /// The group conversations that exist; `None` accepts every id that begins with `cid`.
    pub groups: Option<Vec<String>>,
    /// Pairs of a unionId and the staff id of the same person.
    pub union_ids: Vec<(String, String)>,
    /// API calls per second for one app and path (20 on the standard plan); `None` switches the limit off.
    pub calls_per_second: Option<u32>,
    /// Posts per minute to the webhooks of one app before it is muted; whether DingTalk counts
    /// session webhooks is unknown, so it is off unless set.
    pub webhooks_per_minute: Option<u32>,
    /// Billed calls of one app before its month is used up; `None`: no end.
    pub quota: Option<u32>,
    /// Posts to the session webhooks of one app before its month is used up; `None`: no end.
    pub webhook_quota: Option<u32>,
    /// Whether all bytes of uploads are kept for observation, not only the first KiB.
    pub keep_uploads: bool,
    /// Life of a download code (undocumented; 2 h).
    pub download_code_life: Duration,
    /// Life of the URL that a download code gives (15 min).
    pub download_url_life: Duration,
    /// Whether the URL comes as `data.downloadUrl`, as some have seen it.
    pub nested_download_url: bool,
    /// How long after a send its key can be recalled and asked about (24 h).
    pub key_life: Duration,
    /// How long after a send its read status is not there yet.
    pub read_status_after: Duration,
    /// The span in which posts to webhooks are counted (a minute).
    pub webhook_span: Duration,
    /// How long a mute lasts (10 minutes).
    pub mute_for: Duration,
    /// Whether a post to a muted webhook makes the mute last as long again (unknown; it does not).
    pub mute_extends: bool,
    /// When the SYSTEM ping comes after the upgrade; `None` sends none.
    pub auto_ping: Option<Duration>,
    /// How often a SYSTEM ping comes later; `None` sends none.
    pub ping_every: Option<Duration>,
    /// How long an ack is waited for (3 s).
    pub ack_timeout: Duration,
    /// On which socket an ack counts.
    pub ack_matching: AckMatching,
    /// What an ack after the deadline does.
    pub late_ack: LateAck,
    /// Waits before each redelivery of an EVENT, from the missed deadline or the refusal (10 s, 30 s).
    pub event_retries: Vec<Duration>,
    /// Waits before each redelivery of a bot message, from its push (once, 60 s).
    pub bot_retries: Vec<Duration>,
    /// Life of a ticket (90 s).
    pub ticket_life: Duration,
    /// Life of an access token (7200 s).
    pub token_life: Duration,
    /// Which tokens each API family accepts.
    pub token_families: TokenFamilies,
    /// Life of a session webhook (90 min).
    pub webhook_life: Duration,
    /// Silence between a disconnect frame and the close (10 s).
    pub close_after_disconnect: Duration,
    /// Connections per app (50).
    pub max_links: usize,
    /// The card templates that exist; `None` accepts every one, with every key.
    pub card_templates: Option<Vec<CardTemplate>>,
    /// Time between two streamed frames of one card (500 ms); `None` switches the limit off.
    pub card_frame_gap: Option<Duration>,
    /// How long the answer to a press may change the card (2 s).
    pub card_answer_within: Duration,
    /// What a second delivery of a card into the same chat does.
    pub card_again: CardAgain,
    /// Whether an open request without `Accept` is answered in XML, as DingTalk does.
    pub xml_without_accept: bool,
    /// Milliseconds added to every time that the simulator writes.
    pub clock_skew_ms: i64,
    /// Whether texts of frames and data of acks are kept for observation; off for load.
    pub record_texts: bool,
    /// How many frames, calls and sends are remembered; older ones are forgotten.
    pub keep: usize,
    /// How long the waiting helpers of the library wait.
    pub patience: Duration,
}

impl Default for SimOptions {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            api_listen: free,
            gateway_listen: free,
            public_api_url: None,
            public_gateway_url: None,
            apps: Vec::new(),
            custom_robots: Vec::new(),
            any_app: false,
            users: None,
            groups: None,
            union_ids: Vec::new(),
            calls_per_second: Some(20),
            webhooks_per_minute: None,
            quota: None,
            webhook_quota: None,
            keep_uploads: false,
            download_code_life: Duration::from_secs(7200),
            download_url_life: Duration::from_secs(900),
            nested_download_url: false,
            key_life: Duration::from_secs(86_400),
            read_status_after: Duration::ZERO,
            webhook_span: Duration::from_secs(60),
            mute_for: Duration::from_secs(600),
            mute_extends: false,
            auto_ping: Some(Duration::from_millis(300)),
            ping_every: None,
            ack_timeout: Duration::from_secs(3),
            ack_matching: AckMatching::SourceSocket,
            late_ack: LateAck::Redelivered,
            event_retries: vec![Duration::from_secs(10), Duration::from_secs(30)],
            bot_retries: vec![Duration::from_secs(60)],
            ticket_life: Duration::from_secs(90),
            token_life: Duration::from_secs(7200),
            token_families: TokenFamilies::Shared,
            webhook_life: Duration::from_secs(5400),
            close_after_disconnect: Duration::from_secs(10),
            max_links: 50,
            card_templates: Some(CardTemplate::shared()),
            card_frame_gap: Some(Duration::from_millis(500)),
            card_answer_within: Duration::from_secs(2),
            card_again: CardAgain::Repeated,
            xml_without_accept: true,
            clock_skew_ms: 0,
            record_texts: true,
            keep: 200_000,
            patience: Duration::from_secs(15),
        }
    }
}
