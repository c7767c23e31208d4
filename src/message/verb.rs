//! The verbs of `<prefix>.api.<verb>`: what each is asked and what it answers. Unknown keys of a
//! question are refused; answers may gain members.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binding::{Binding, BoundChat};
use super::chat_ref::ChatRef;
use super::ids::{AccountName, RequestId};
use super::subject::Kind;
use super::timestamp::Timestamp;

/// Every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Sends, and answers with the receipt.
    Send,
    /// Calls off a request that waits for its time.
    Cancel,
    /// Takes messages back.
    Recall,
    /// Tells who read messages.
    ReadStatus,
    /// Puts a reaction on a message.
    React,
    /// Takes a reaction away.
    Unreact,
    /// Tells where media is.
    MediaUrl,
    /// Tells what is known of a chat.
    Chat,
    /// Tells who has a unionId.
    UserByUnionId,
    /// Binds a session to a chat.
    Bind,
    /// Tells the chat of a session.
    Binding,
    /// Frees a session.
    Unbind,
}

impl Verb {
    /// All of them, in the order in which they are announced.
    pub const ALL: [Self; 12] = [
        Self::Send,
        Self::Cancel,
        Self::Recall,
        Self::ReadStatus,
        Self::React,
        Self::Unreact,
        Self::MediaUrl,
        Self::Chat,
        Self::UserByUnionId,
        Self::Bind,
        Self::Binding,
        Self::Unbind,
    ];

    /// What follows `<prefix>.api.` in its subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Cancel => "cancel",
            Self::Recall => "recall",
            Self::ReadStatus => "read_status",
            Self::React => "react",
            Self::Unreact => "unreact",
            Self::MediaUrl => "media.url",
            Self::Chat => "chat",
            Self::UserByUnionId => "user.by_unionid",
            Self::Bind => "bind",
            Self::Binding => "binding",
            Self::Unbind => "unbind",
        }
    }

    /// What it does, in a sentence.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Send => "Send as an outbound request, and wait for its receipt",
            Self::Cancel => "Call off a request that waits for its `not_before`",
            Self::Recall => "Take messages back, within 24 hours",
            Self::ReadStatus => "Tell who read messages",
            Self::React => "Put a reaction on an inbound message",
            Self::Unreact => "Take a reaction away",
            Self::MediaUrl => "Tell what a stored object is, or where a download code leads",
            Self::Chat => "Tell what is known of a chat",
            Self::UserByUnionId => "Tell who has a unionId",
            Self::Bind => "Bind a session to a chat",
            Self::Binding => "Tell the chat of a session",
            Self::Unbind => "Free a session of its chat",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Body of every reply that is a failure; its number stands in `Nats-Service-Error-Code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerbFailure {
    /// DingTalk's code, or the bridge's.
    pub code: String,
    /// The same in words.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// Question of `cancel`; the answer is the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelQuestion {
    /// Account of the request; needed when several are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// Idempotency key of the request.
    pub id: RequestId,
}

/// Which messages `recall` and `read_status` are about: the `id` of a request, or `chat` and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SentQuestion {
    /// Account that sent them; needed when several are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// Idempotency key of the request that sent them; its receipt names the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// DingTalk's key of one message, as in a receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_query_key: Option<String>,
    /// DingTalk's keys of several, at most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub keys: Vec<String>,
    /// Chat that they were sent to; with keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatRef>,
}

/// Answer of `recall`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecallAnswer {
    /// Keys whose messages are gone.
    pub recalled: Vec<String>,
    /// Keys whose messages stay, and why.
    pub failed: BTreeMap<String, String>,
}

/// Answer of `read_status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadStatusAnswer {
    /// Each message.
    pub messages: Vec<MessageRead>,
}

/// Who read one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageRead {
    /// DingTalk's key of it.
    pub key: String,
    /// `SUCCESS`, `RECALLED` or `PROCESSING`, as DingTalk says it.
    pub status: String,
    /// staffIds of those who read it.
    pub read: Vec<String>,
    /// staffIds of those who did not; told for 1:1 chats only.
    pub unread: Vec<String>,
}

/// Question of `react` and `unreact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReactionQuestion {
    /// `id` of the inbound message.
    pub message: String,
    /// The reaction, such as `🤔思考中`.
    #[schemars(length(min = 1, max = 64))]
    pub text: String,
    /// Account that received it; needed when the bridge knows the message no more and serves several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// `chat.id` of the message; needed when the bridge knows the message no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

/// Answer of `react` and `unreact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReactionAnswer {
    /// Whether DingTalk was asked and did it.
    pub done: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Question of `media.url`: exactly one of `object` and `download_code`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaQuestion {
    /// Key in the object store of media, as in an inbound message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// DingTalk's download code, as in `raw` of an inbound message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_code: Option<String>,
    /// Account that received the code; needed when several are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
}

/// Answer of `media.url`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaAnswer {
    /// Where the bytes are fetched from, without a token, for a short time: whoever has the address
    /// has the bytes. Only for a download code, and told to nobody but who asked with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Key of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// File name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of the bytes, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Question of `chat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatQuestion {
    /// Account; needed when several are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The chat.
    pub chat: ChatRef,
}

/// Answer of `chat`: what is known, which may be nothing beyond the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatAnswer {
    /// Account.
    pub account: AccountName,
    /// Group or user.
    pub kind: Kind,
    /// Exact id, as in subjects.
    pub id: String,
    /// DingTalk's conversationId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// Title of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `id` of the newest inbound message that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<String>,
    /// When it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// Until when answers may go through the session webhook, which itself is told to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_until: Option<Timestamp>,
    /// Session that is bound to it; of several the one that was bound last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Subject that requests to it are published on.
    pub subject: String,
}

/// Question of `user.by_unionid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonQuestion {
    /// Account; needed when several are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The unionId.
    #[schemars(length(min = 1))]
    pub union_id: String,
}

/// Answer of `user.by_unionid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PersonAnswer {
    /// Whether the organisation knows somebody with this unionId.
    pub found: bool,
    /// Their staffId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staff_id: Option<String>,
    /// Whether they are an external contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<bool>,
}

/// Question of `bind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindQuestion {
    /// Id of the session, the caller's own.
    #[schemars(length(min = 1, max = 512))]
    pub session: String,
    /// Account that speaks in the chat; needed when several are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The chat.
    pub chat: BoundChat,
}

/// Question of `binding` and `unbind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionQuestion {
    /// Id of the session.
    #[schemars(length(min = 1, max = 512))]
    pub session: String,
}

/// Answer of `bind`, `binding` and `unbind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BindingAnswer {
    /// Id of the session.
    pub session: String,
    /// Chat that it is bound to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Binding>,
    /// Chat that it was bound to before, of `bind` and `unbind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Binding>,
}
