//! What the bridge keeps about a session webhook, so that any replica can answer through it: the
//! one format that the inbound side writes and the outbound side reads.

use serde::{Deserialize, Serialize};

use super::ids::AccountName;
use super::secret::Secret;
use super::subject::Kind;
use super::timestamp::Timestamp;

/// A value of the bucket of session webhooks, under [`SessionEntry::message_key`] and
/// [`SessionEntry::chat_key`] alike.
///
/// The URL is a secret: it is written into the bucket and nowhere else, and `Debug` hides it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEntry {
    /// URL that answers the session.
    #[serde(with = "exposed")]
    pub url: Secret,
    /// When DingTalk stops accepting it.
    pub expires_at: Timestamp,
    /// Account that the session belongs to.
    pub account: AccountName,
    /// [`Kind::Group`] or [`Kind::User`].
    pub kind: Kind,
    /// Exact id of the chat, as in the subject: openConversationId, staffId, or an outsider's
    /// conversationId.
    pub chat: String,
    /// conversationId, which reactions need; absent in entries of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

impl SessionEntry {
    /// Key by the id of an inbound message.
    pub fn message_key(inbound_id: &str) -> String {
        format!("id:{inbound_id}")
    }

    /// Key by chat: the newest webhook of it.
    pub fn chat_key(account: &AccountName, kind: Kind, chat: &str) -> String {
        format!("chat:{account}:{kind}:{chat}")
    }

    /// The JSON text that goes into the bucket.
    ///
    /// # Errors
    /// Only when serialising fails, which the types rule out.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a value of the bucket; `None` when it is of another format.
    pub fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}

mod exposed {
    //! The one place where a secret is written out on purpose: into the bridge's own bucket.

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Secret;

    pub(super) fn serialize<S: Serializer>(url: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> SessionEntry {
        SessionEntry {
            url: Secret::new("https://oapi.dingtalk.com/robot/sendBySession?session=c4na"),
            expires_at: Timestamp::from_millis(1_769_851_697_611),
            account: AccountName::parse("sales").unwrap(),
            kind: Kind::Group,
            chat: "cid6KeB+/oA==".to_owned(),
            conversation: None,
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        let json = entry().encode().unwrap();
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            r#"{"url":"https://oapi.dingtalk.com/robot/sendBySession?session=c4na","expires_at":"2026-01-31T09:28:17.611Z","account":"sales","kind":"group","chat":"cid6KeB+/oA=="}"#
        );
        assert_eq!(SessionEntry::decode(&json), Some(entry()));
        assert_eq!(SessionEntry::decode(b"{}"), None);
    }

    #[test]
    fn debug_output_hides_the_url() {
        assert!(!format!("{:?}", entry()).contains("c4na"));
    }

    #[test]
    fn keys_name_the_message_and_the_chat() {
        assert_eq!(SessionEntry::message_key("ding:msg=="), "id:ding:msg==");
        let key = SessionEntry::chat_key(&entry().account, Kind::Group, "cidA==");
        assert_eq!(key, "chat:sales:group:cidA==");
    }
}
