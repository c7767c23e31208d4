//! The shapes of what DingTalk delivers, read into the bridge's language.

use std::borrow::Cow;

use super::stream::Frame;
use crate::message::{
    CardAction, Chat, Kind, Mention, MessageBody, Notice, Secret, Sender, Timestamp,
};

/// What one frame says. Everything borrows from the frame.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Group, user, card, event or other: with `chat_key` the subject of the message.
    pub kind: Kind,
    /// Exact id for the subject: openConversationId, staffId (outsider: conversationId),
    /// outTrackId, eventType or topic.
    pub chat_key: Cow<'a, str>,
    /// msgId, eventId or messageId, in that order of preference by kind: the deduplication key
    /// without the client id. `None` when the frame has none of them.
    pub dedup_id: Option<Cow<'a, str>>,
    /// Chat it was said in.
    pub chat: Option<Chat<'a>>,
    /// Who said or pressed it.
    pub sender: Option<Sender<'a>>,
    /// Whether the robot was mentioned.
    pub mentioned: Option<bool>,
    /// People mentioned beside the robot.
    pub mentions: Vec<Mention<'a>>,
    /// What was said.
    pub message: Option<MessageBody<'a>>,
    /// What was pressed.
    pub card: Option<CardAction<'a>>,
    /// Event type or topic.
    pub topic: Option<Cow<'a, str>>,
    /// DingTalk's notice.
    pub notice: Option<Notice<'a>>,
    /// When it was said.
    pub sent_at: Option<Timestamp>,
    /// The session webhook, if any.
    pub webhook: Option<SessionWebhook>,
    /// Valid JSON text for `raw`: the data with every session webhook removed; a JSON string when
    /// the data is not JSON.
    pub raw: Cow<'a, str>,
    /// Whether the data could be read as the JSON that its topic promises.
    pub readable: bool,
}

/// The address that answers one inbound message for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionWebhook {
    /// URL: whoever has it can speak as the robot.
    pub url: Secret,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Reads a data frame of any kind. Never fails: what cannot be read comes out as kind `other` (or
/// its own kind with little in it) and `readable: false`, with the data kept in `raw`.
pub fn read(frame: &Frame) -> Reading<'_> {
    let _ = frame;
    unimplemented!()
}
