//! The shapes of what DingTalk delivers, read into the bridge's language (stream-protocol.md,
//! sections 3 and 5).
//!
//! Nothing here fails: DingTalk's payloads have many shapes, some never seen before, and each of them
//! must reach its consumer. It knows neither sockets nor subjects.

mod body;
mod bot;
mod card;
mod content;
mod event;
mod media;
mod named;
mod prose;
mod quote;
mod record;
mod redact;
mod rich;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::json::Members;
use super::stream::{Frame, FrameType};
use crate::message::{
    CardAction, Chat, Kind, Mention, MessageBody, Notice, Secret, Sender, Timestamp,
};
use redact::Redacted;

/// What stands in a subject where DingTalk names nothing.
const UNKNOWN: &str = "unknown";

/// What one frame says. Everything borrows from the frame.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Group, user, card, event or other: with `chat_key` the subject of the message.
    pub kind: Kind,
    /// Exact id for the subject: openConversationId, staffId (outsider: conversationId),
    /// outTrackId, eventType or topic; `unknown` where DingTalk names nothing.
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
    /// the data is not JSON. Of a frame without data that cannot be read, the whole frame likewise.
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
    let data = Members::read(&frame.data);
    let raw = redact::raw(&frame.data, data.as_ref());
    let scattered = raw.scattered;
    let mut reading = match (promise(frame), data) {
        (Promise::Event, data) => event::read(frame, data.as_ref(), raw),
        (Promise::Bot, Some(data)) => bot::read(frame, &data, raw),
        (Promise::Card, Some(data)) => card::read(frame, &data, raw),
        (Promise::Bot | Promise::Card, None) => Reading {
            readable: false,
            ..other(frame, raw)
        },
        (Promise::Nothing, _) => other(frame, raw),
    };
    if scattered {
        named::scrub(&mut reading);
    }
    if !reading.readable && frame.data.is_empty() {
        reading.raw = redact::inside(&frame.text);
    }
    reading
}

/// What the type and topic of a frame say about its data.
enum Promise {
    Bot,
    Card,
    Event,
    Nothing,
}

fn promise(frame: &Frame) -> Promise {
    match (&frame.frame_type, frame.topic.as_str()) {
        (FrameType::Event, _) => Promise::Event,
        (FrameType::System, _) => Promise::Nothing,
        // `bot_got_msg` is the name of 2023 (stream-protocol.md, section 1.1).
        (
            FrameType::Callback | FrameType::Other(_),
            "/v1.0/im/bot/messages/get" | "/v1.0/im/bot/messages/delegate" | "bot_got_msg",
        ) => Promise::Bot,
        (FrameType::Callback | FrameType::Other(_), "/v1.0/card/instances/callback") => {
            Promise::Card
        }
        (FrameType::Callback | FrameType::Other(_), _) => Promise::Nothing,
    }
}

/// A frame that nothing is known of: kept under its topic.
fn other<'a>(frame: &'a Frame, raw: Redacted<'a>) -> Reading<'a> {
    let topic = filled(Some(&frame.topic));
    Reading {
        kind: Kind::Other,
        chat_key: topic.unwrap_or(UNKNOWN).into(),
        dedup_id: filled(frame.message_id.as_deref()).map(Cow::Borrowed),
        chat: None,
        sender: None,
        mentioned: None,
        mentions: Vec::new(),
        message: None,
        card: None,
        topic: topic.map(Cow::Borrowed),
        notice: None,
        sent_at: None,
        webhook: None,
        raw: raw.json,
        readable: raw.is_json,
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// An instant in milliseconds; zero and less mean that DingTalk told none.
fn instant(millis: Option<i64>) -> Option<Timestamp> {
    millis
        .filter(|millis| *millis > 0)
        .map(Timestamp::from_millis)
}
