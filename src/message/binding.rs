//! Sessions of services and the chats that are bound to them: the one format that the verbs write and
//! the outbound side reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::AccountName;
use super::outbound::RequestError;
use super::subject::Kind;
use super::target::Target;

/// Group or 1:1, as whoever binds calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BoundKind {
    /// A 1:1 chat, by staffId.
    Direct,
    /// A group, by openConversationId.
    Group,
}

/// A chat that is bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundChat {
    /// What it is.
    pub kind: BoundKind,
    /// staffId of a 1:1 chat, openConversationId of a group.
    pub id: String,
}

impl BoundChat {
    /// Refuses ids that cannot be addressed, such as a group id with a sender suffix.
    ///
    /// # Errors
    /// [`RequestError::Target`] that says what to write instead.
    pub fn check(&self) -> Result<(), RequestError> {
        match self.kind {
            BoundKind::Direct => Target::User(self.id.clone()).check(),
            BoundKind::Group => Target::Group(self.id.clone()).check(),
        }
    }
}

/// The chat of a session: a value of the bucket of bindings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// Account that speaks in the chat.
    pub account: AccountName,
    /// The chat.
    pub chat: BoundChat,
}

impl Binding {
    /// Key by session.
    pub fn session_key(session: &str) -> String {
        format!("session:{session}")
    }

    /// Key by chat: the session that was bound to it last.
    pub fn chat_key(account: &AccountName, kind: Kind, chat: &str) -> String {
        format!("chat:{account}:{kind}:{chat}")
    }

    /// The chat as subjects name it.
    pub fn place(&self) -> (Kind, &str) {
        let kind = match self.chat.kind {
            BoundKind::Direct => Kind::User,
            BoundKind::Group => Kind::Group,
        };
        (kind, &self.chat.id)
    }

    /// Reads a value of the bucket; `None` when it is of another format.
    pub fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_id_with_a_sender_suffix_is_refused_with_the_cure() {
        let chat = |kind, id: &str| BoundChat {
            kind,
            id: id.to_owned(),
        };
        let suffixed = chat(BoundKind::Group, "cid6KeBBLoveMJOGXo==:manager1");
        assert!(suffixed.check().unwrap_err().to_string().contains("suffix"));
        assert!(
            chat(BoundKind::Group, "cid6KeBBLoveMJOGXo==")
                .check()
                .is_ok()
        );
        assert!(chat(BoundKind::Direct, "manager1").check().is_ok());
        assert!(
            chat(BoundKind::Direct, "cid6KeBBLoveMJOGXo==")
                .check()
                .is_err()
        );
        let other: Result<BoundChat, _> = serde_json::from_str(r#"{"kind":"user","id":"u1"}"#);
        assert!(other.is_err(), "direct or group only");
    }
}
