//! One text frame: a tolerant envelope (stream-protocol.md, section 3).

use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What the `type` of a frame says, compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameType {
    /// `SYSTEM`.
    System,
    /// `CALLBACK`.
    Callback,
    /// `EVENT`.
    Event,
    /// Anything else, as written; empty when missing.
    Other(String),
}

/// A frame that was read: every field optional but the text itself.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What kind of frame it is.
    pub frame_type: FrameType,
    /// `headers.topic`; empty when missing.
    pub topic: String,
    /// `headers.messageId`: id of this push, new for every redelivery.
    pub message_id: Option<String>,
    /// `headers.time`: push time in milliseconds.
    pub time: Option<i64>,
    /// `headers.eventType`.
    pub event_type: Option<String>,
    /// `headers.eventId`: stable over redeliveries.
    pub event_id: Option<String>,
    /// `headers.eventBornTime` in milliseconds.
    pub event_born_time: Option<i64>,
    /// `headers.eventCorpId`.
    pub event_corp_id: Option<String>,
    /// `data`: the text inside the JSON string, or the JSON text of an object; empty when missing.
    pub data: String,
    /// The frame as it came, for what cannot be read.
    pub text: Utf8Bytes,
}
