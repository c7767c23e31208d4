//! What an observer of the simulator reads: calls, sends, connections, counters. Values only.

use serde::Serialize;
use serde_json::Value;

use super::state::Subscription;
use crate::message::Timestamp;

/// Where a card has its text, by the variables of the shared templates and by the old API.
const CARD_TEXTS: [&str; 5] = [
    "/msgContent",
    "/markdown",
    "/content",
    "/staticMsgContent",
    "/contents/0/text",
];

/// One request to the API, faults included.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// When it came.
    pub at: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Status that was answered; absent when nothing was answered.
    pub status: Option<u16>,
    /// The fault that changed the outcome.
    pub fault: Option<&'static str>,
    /// Body of a `connections/open` request, secret removed.
    pub body: Option<Value>,
}

/// The way that a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SentVia {
    /// `oToMessages/batchSend`.
    User,
    /// `groupMessages/send`.
    Group,
    /// A session webhook.
    Webhook,
    /// The webhook of a custom robot.
    CustomRobot,
    /// A card that was put into a chat.
    Card,
}

/// What the simulator made of a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// People can see it, whatever the caller was told.
    Delivered,
    /// Nobody can see it.
    Refused {
        /// Code of the refusal, as the caller read it.
        code: String,
    },
}

/// One send through the API or a webhook, accepted or refused.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    /// Position in the order of sends.
    pub seq: u64,
    /// When it was applied.
    pub at: Timestamp,
    /// The app that sent; empty for a custom robot, and when the token or session was not known.
    pub app: String,
    /// The way it took.
    pub via: SentVia,
    /// Conversation id, or the staff ids of a batch.
    pub to: Vec<String>,
    /// Users of the batch that do not exist.
    pub invalid_users: Vec<String>,
    /// Users of the batch that were flow-controlled.
    pub flow_controlled_users: Vec<String>,
    /// `msgKey`, `msgtype` of a post to a webhook, or the template of a card.
    pub msg_key: String,
    /// `msgParam` parsed, the whole body of a webhook post, or the variables of a card at its delivery.
    pub msg_param: Value,
    /// Key of the send; carrier id of a card.
    pub process_query_key: Option<String>,
    /// Whether it was taken back.
    pub recalled: bool,
    /// Staff ids of who read it.
    pub read_by: Vec<String>,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Sent {
    /// A send that names only its way.
    pub(super) fn draft(via: SentVia) -> Self {
        Self {
            seq: 0,
            at: Timestamp::now(),
            app: String::new(),
            via,
            to: Vec::new(),
            invalid_users: Vec::new(),
            flow_controlled_users: Vec::new(),
            msg_key: String::new(),
            msg_param: Value::Null,
            process_query_key: None,
            recalled: false,
            read_by: Vec::new(),
            verdict: Verdict::Delivered,
        }
    }

    /// Whether people can see it still: delivered and not taken back.
    pub fn visible(&self) -> bool {
        self.delivered() && !self.recalled
    }

    /// Whether people could see it.
    pub fn delivered(&self) -> bool {
        self.verdict == Verdict::Delivered
    }

    /// The readable text: of a text, of a markdown, of a card at its delivery, else empty.
    pub fn text(&self) -> &str {
        let paths: &[&str] = match self.via {
            SentVia::Card => &CARD_TEXTS,
            _ => &["/content", "/text/content", "/markdown/text", "/text"],
        };
        paths
            .iter()
            .find_map(|path| self.msg_param.pointer(path)?.as_str())
            .unwrap_or_default()
    }
}

/// One gateway connection, live or ended.
#[derive(Debug, Clone, Serialize)]
pub struct LinkView {
    /// Number of the connection, in order of upgrades.
    pub id: u64,
    /// The app it serves.
    pub app: String,
    /// Ticket, which is also the `connectionId` of its frames.
    pub ticket: String,
    /// `ua` of the open request.
    pub ua: String,
    /// Address of the client.
    pub peer: String,
    /// What may be pushed to it.
    pub subscriptions: Vec<Subscription>,
    /// `live`, `stalled`, `half_open`, `leaving` or `closed`.
    pub state: &'static str,
    /// When it was upgraded.
    pub opened_at: Timestamp,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
    /// Why it ended.
    pub ended: Option<String>,
    /// Frames pushed on it.
    pub pushed: u64,
    /// Acks read from it.
    pub acks: u64,
    /// WebSocket pings read from it.
    pub pings: u64,
    /// `opaque` values of SYSTEM pings that came back in an ack.
    pub opaque_echoes: Vec<String>,
}

/// An event that nobody took in all its attempts (stream-protocol.md, section 4.4).
#[derive(Debug, Clone, Serialize)]
pub struct EventFailure {
    /// When it was given up.
    pub at: Timestamp,
    /// The app it was for.
    pub app: String,
    /// `eventId`.
    pub event_id: String,
    /// `eventType`.
    pub event_type: String,
    /// The event itself.
    pub data: Value,
}

/// Counters of the whole simulator.
#[derive(Debug, Clone, Serialize)]
pub struct Counters {
    /// Frames pushed, redeliveries included.
    pub pushed: u64,
    /// Frames whose ack counted.
    pub acked: u64,
    /// Acks for frames that were never pushed or are forgotten.
    pub stray_acks: u64,
    /// Deliveries that found no connection and will not come again.
    pub lost: u64,
    /// Sends, refused ones included.
    pub sent: u64,
    /// Sends that people can see.
    pub delivered: u64,
    /// Connections that are up.
    pub links: usize,
    /// Events that were given up.
    pub failed_events: usize,
}
