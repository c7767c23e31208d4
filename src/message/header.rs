//! Names of the NATS headers that the bridge writes and reads.

/// JetStream's deduplication key.
pub const MSG_ID: &str = "Nats-Msg-Id";
/// Media type of the body.
pub const CONTENT_TYPE: &str = "Content-Type";
/// W3C trace context, passed through or begun by the bridge.
pub const TRACEPARENT: &str = "traceparent";
/// Account name.
pub const ACCOUNT: &str = "Dingtalk-Account";
/// Exact id of the chat, card, event type or topic, before it was made a subject token.
pub const CHAT: &str = "Dingtalk-Chat";
/// DingTalk's own id of the message (`msgId`, `eventId`, else the frame's `messageId`).
pub const DINGTALK_MSG_ID: &str = "Dingtalk-Msg-Id";
/// Idempotency key of an outbound request.
pub const REQUEST_ID: &str = "Dingtalk-Request-Id";
/// Object-store key of a body that was too large for the broker (claim check).
pub const CLAIM: &str = "Dingtalk-Claim";
/// How many media items of an inbound message are fetched into the object store; absent when none is.
pub const MEDIA: &str = "Dingtalk-Media";
/// Subject that a moved or given-up message came from.
pub const SOURCE_SUBJECT: &str = "Dingtalk-Source-Subject";
/// Stream sequence that a moved or given-up message came from.
pub const SOURCE_SEQUENCE: &str = "Dingtalk-Source-Sequence";
/// When a moved request was published first, in RFC 3339.
pub const SOURCE_TIME: &str = "Dingtalk-Source-Time";
/// Stands in for headers that cannot be read; a request that carries it is refused.
pub const ILLEGIBLE: &str = "Dingtalk-Illegible-Headers";
/// Canonical subject that a request is moved to when its time has come.
pub const DUE_SUBJECT: &str = "Dingtalk-Due-Subject";
/// Instant before which a request is not moved, in RFC 3339; on a canonical subject: it was waited for.
pub const NOT_BEFORE: &str = "Dingtalk-Not-Before";
/// Present on a request that was called off before its time.
pub const CANCELLED: &str = "Dingtalk-Cancelled";
/// On a request in the backlog: its sequence in the outbound stream.
pub const STOWED_SEQUENCE: &str = "Dingtalk-Stowed-Sequence";
/// On a request in the backlog: when it was published, in RFC 3339.
pub const STOWED_TIME: &str = "Dingtalk-Stowed-Time";
/// On a request in the backlog: the [`MSG_ID`] of its publisher.
pub const STOWED_MSG_ID: &str = "Dingtalk-Stowed-Msg-Id";
/// Present on the message that wakes a bridge for a backlog which nobody serves.
pub const WAKE: &str = "Dingtalk-Wake";
/// Why a message was given up, one of the reasons of `DeadReason`.
pub const DEAD_REASON: &str = "Dingtalk-Dead-Reason";
/// The same for people.
pub const DEAD_DETAIL: &str = "Dingtalk-Dead-Detail";
/// CloudEvents: version of the specification.
pub const CE_SPECVERSION: &str = "ce-specversion";
/// CloudEvents: id, equal to [`MSG_ID`].
pub const CE_ID: &str = "ce-id";
/// CloudEvents: source.
pub const CE_SOURCE: &str = "ce-source";
/// CloudEvents: type.
pub const CE_TYPE: &str = "ce-type";
/// CloudEvents: time.
pub const CE_TIME: &str = "ce-time";
/// CloudEvents: subject.
pub const CE_SUBJECT: &str = "ce-subject";
/// CloudEvents: schema of the body.
pub const CE_DATASCHEMA: &str = "ce-dataschema";
