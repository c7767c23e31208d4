//! What the robot can do with what was said: recall, read state, reactions (oapi.md, sections 3 and
//! 7), and looking people up (section 10).

use std::collections::BTreeMap;

use super::failure::ApiError;
use super::{Api, errors};

/// The chat that messages were sent to, as recall and read state need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentTo<'a> {
    /// People.
    Users,
    /// A group, by openConversationId.
    Group(&'a str),
}

/// What became of a recall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recalled {
    /// Keys whose messages are gone.
    pub recalled: Vec<String>,
    /// Keys whose messages stay, and DingTalk's reason.
    pub failed: BTreeMap<String, String>,
}

/// Who read a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadStatus {
    /// `SUCCESS`, `RECALLED` or `PROCESSING`, as DingTalk writes it.
    pub send_status: String,
    /// staffIds of those who read it.
    pub read: Vec<String>,
    /// staffIds of those who did not; DingTalk tells them for 1:1 chats only.
    pub unread: Vec<String>,
}

/// A reaction on a message of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// msgId of the message.
    pub message_id: String,
    /// conversationId of its chat, group or 1:1.
    pub conversation_id: String,
    /// Text of the reaction, such as `🤔思考中`.
    pub text: String,
}

/// Somebody, as the contact API knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// staffId (userid).
    pub staff_id: String,
    /// Whether they are an external contact.
    pub external: bool,
}

impl Api {
    /// Recalls messages by processQueryKey (or carrierId), at most 20.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn recall(&self, sent_to: SentTo<'_>, keys: &[String]) -> Result<Recalled, ApiError> {
        let _ = (sent_to, keys);
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Who read the message with this processQueryKey; all pages of it.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn read_status(
        &self,
        sent_to: SentTo<'_>,
        key: &str,
    ) -> Result<ReadStatus, ApiError> {
        let _ = (sent_to, key);
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Puts a reaction on a message; one that is there already is no error.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn react(&self, reaction: &Reaction) -> Result<(), ApiError> {
        let _ = reaction;
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Takes a reaction away.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn unreact(&self, reaction: &Reaction) -> Result<(), ApiError> {
        let _ = reaction;
        std::future::ready(Err(errors::mismatch())).await
    }

    /// Who has this unionId; nobody is no error. Not billed.
    ///
    /// # Errors
    /// By [`super::ErrorClass`].
    pub async fn user_by_union_id(&self, union_id: &str) -> Result<Option<Person>, ApiError> {
        let _ = union_id;
        std::future::ready(Err(errors::mismatch())).await
    }
}
