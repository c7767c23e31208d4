//! One text frame: a tolerant envelope (stream-protocol.md, section 3). It decides nothing; what
//! cannot be read stays empty and the text itself is kept.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::documented::Documented;
use crate::dingtalk::json::{self, Members};

/// Levels of JSON strings inside JSON strings that are taken off `data`.
const MAX_NESTING: usize = 4;

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
#[derive(Clone)]
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

impl FrameType {
    fn parse(name: &str) -> Self {
        let name = name.trim();
        if name.eq_ignore_ascii_case("CALLBACK") {
            Self::Callback
        } else if name.eq_ignore_ascii_case("EVENT") {
            Self::Event
        } else if name.eq_ignore_ascii_case("SYSTEM") {
            Self::System
        } else {
            Self::Other(name.to_owned())
        }
    }
}

impl fmt::Debug for Frame {
    /// Leaves the payload out: it may hold a session webhook or a ticket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("frame_type", &self.frame_type)
            .field("topic", &self.topic)
            .field("message_id", &self.message_id)
            .field("event_type", &self.event_type)
            .field("event_id", &self.event_id)
            .field("data_bytes", &self.data.len())
            .field("text_bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

impl Frame {
    /// Reads `text`. What is no JSON object becomes a frame of type [`FrameType::Other`] with
    /// nothing in it but the text.
    pub fn decode(text: Utf8Bytes) -> Self {
        // Sharing the text costs a reference count and lets what is read borrow from it.
        let shared = text.clone();
        match Documented::read(&shared) {
            Some(envelope) => Self::of_documented(envelope, text),
            None => Self::tolerant(text),
        }
    }

    fn of_documented(envelope: Documented<'_>, text: Utf8Bytes) -> Self {
        let headers = envelope.headers;
        let filled = |header: Option<Cow<'_, str>>| {
            let header = header.filter(|text| !text.is_empty());
            header.map(Cow::into_owned)
        };
        Self {
            frame_type: FrameType::parse(&envelope.frame_type),
            topic: headers.topic.into_owned(),
            message_id: Some(headers.message_id.into_owned()),
            time: integer(&headers.time),
            event_type: filled(headers.event_type),
            event_id: filled(headers.event_id),
            event_born_time: headers.event_born_time.as_deref().and_then(integer),
            event_corp_id: filled(headers.event_corp_id),
            data: unwrapped(envelope.data.0.into_owned()),
            text,
        }
    }

    /// Reads whatever can be read.
    pub(super) fn tolerant(text: Utf8Bytes) -> Self {
        let mut frame = Self {
            frame_type: FrameType::Other(String::new()),
            topic: String::new(),
            message_id: None,
            time: None,
            event_type: None,
            event_id: None,
            event_born_time: None,
            event_corp_id: None,
            data: String::new(),
            text,
        };
        let text = frame.text.clone();
        if let Some(members) = envelope(&text) {
            frame.fill(&members);
        }
        frame
    }

    /// Whether nothing at all could be read from it.
    pub fn is_undecodable(&self) -> bool {
        self.frame_type == FrameType::Other(String::new())
            && self.topic.is_empty()
            && self.message_id.is_none()
            && self.data.is_empty()
            && envelope(&self.text).is_none()
    }

    /// `data` as it stands in the frame, for an answer that must echo it byte for byte.
    pub(super) fn with_raw_data<T>(&self, read: impl FnOnce(Option<&RawValue>) -> T) -> T {
        let members = envelope(&self.text);
        read(members.as_ref().and_then(|all| all.value_loose("data")))
    }

    fn fill(&mut self, members: &Members<'_>) {
        if let Some(name) = members.value_loose("type").and_then(json::text) {
            self.frame_type = FrameType::parse(&name);
        }
        if let Some(data) = members.value_loose("data") {
            self.data = data_text(data);
        }
        // The documentation prints `header` once (stream-protocol.md, section 3).
        let headers = members
            .value_loose("headers")
            .or_else(|| members.value_loose("header"));
        let Some(headers) = headers else { return };
        match json::text(headers) {
            // Headers that were encoded twice.
            Some(text) => {
                if let Some(headers) = Members::read(&text) {
                    self.fill_headers(&headers);
                }
            }
            None => {
                if let Some(headers) = Members::read(headers.get()) {
                    self.fill_headers(&headers);
                }
            }
        }
    }

    /// One pass: names as documented first, the spellings of other products only when those are
    /// missing.
    fn fill_headers(&mut self, headers: &Members<'_>) {
        for (name, value) in headers.iter() {
            if let Some(header) = Header::exact(name) {
                self.set(header, value);
            }
        }
        for (name, value) in headers.iter() {
            if Header::exact(name).is_none()
                && let Some(header) = Header::loose(name)
                && !self.has(header)
            {
                self.set(header, value);
            }
        }
    }

    fn set(&mut self, header: Header, value: &RawValue) {
        let owned = || json::text(value).map(Cow::into_owned);
        let filled = || owned().filter(|text| !text.is_empty());
        let number = || json::text(value).as_deref().and_then(integer);
        match header {
            Header::Topic => self.topic = owned().unwrap_or_default(),
            Header::MessageId => self.message_id = filled(),
            Header::Time => self.time = number(),
            Header::EventType => self.event_type = filled(),
            Header::EventId => self.event_id = filled(),
            Header::EventBornTime => self.event_born_time = number(),
            Header::EventCorpId => self.event_corp_id = filled(),
            Header::Unused => {}
        }
    }

    fn has(&self, header: Header) -> bool {
        match header {
            Header::Topic => !self.topic.is_empty(),
            Header::MessageId => self.message_id.is_some(),
            Header::Time => self.time.is_some(),
            Header::EventType => self.event_type.is_some(),
            Header::EventId => self.event_id.is_some(),
            Header::EventBornTime => self.event_born_time.is_some(),
            Header::EventCorpId => self.event_corp_id.is_some(),
            Header::Unused => true,
        }
    }
}

/// A header that the bridge knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Topic,
    MessageId,
    Time,
    EventType,
    EventId,
    EventBornTime,
    EventCorpId,
    /// Documented, of no use here; known so that no second look is taken at it.
    Unused,
}

impl Header {
    const LOOSE: [(&'static str, Self); 7] = [
        ("topic", Self::Topic),
        ("messageid", Self::MessageId),
        ("time", Self::Time),
        ("eventtype", Self::EventType),
        ("eventid", Self::EventId),
        ("eventborntime", Self::EventBornTime),
        ("eventcorpid", Self::EventCorpId),
    ];

    fn exact(name: &str) -> Option<Self> {
        Some(match name {
            "topic" => Self::Topic,
            "messageId" => Self::MessageId,
            "time" => Self::Time,
            "eventType" => Self::EventType,
            "eventId" => Self::EventId,
            "eventBornTime" => Self::EventBornTime,
            "eventCorpId" => Self::EventCorpId,
            "appId" | "connectionId" | "contentType" | "eventUnifiedAppId" => Self::Unused,
            _ => return None,
        })
    }

    /// Compares without regard to case, `_` and `-` (the personal-event streams write `MESSAGE_ID`).
    fn loose(name: &str) -> Option<Self> {
        let same = |known: &str| {
            name.bytes()
                .filter(|byte| !matches!(byte, b'_' | b'-'))
                .map(|byte| byte.to_ascii_lowercase())
                .eq(known.bytes())
        };
        Self::LOOSE
            .iter()
            .find_map(|(known, header)| same(known).then_some(*header))
    }
}

/// The members of the envelope; a byte order mark before it is tolerated.
fn envelope(text: &str) -> Option<Members<'_>> {
    Members::read(text.trim_start_matches('\u{feff}'))
}

/// The text inside a JSON string, however often it was encoded, or the JSON text of anything else.
fn data_text(value: &RawValue) -> String {
    let Some(text) = json::text(value) else {
        return match value.get() {
            "null" => String::new(),
            json => json.to_owned(),
        };
    };
    unwrapped(text.into_owned())
}

/// Takes off the strings around JSON that was encoded more than once.
fn unwrapped(mut text: String) -> String {
    for _ in 0..MAX_NESTING {
        match inner(&text) {
            Some(inner) => text = inner,
            None => break,
        }
    }
    text
}

/// What a text holds that is itself a JSON string with JSON inside.
fn inner(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.starts_with('"') {
        return None;
    }
    let inner: String = serde_json::from_str(text).ok()?;
    inner
        .trim_start()
        .starts_with(['{', '[', '"'])
        .then_some(inner)
}

fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        // A fraction of a millisecond is noise; the cast saturates.
        number.is_finite().then_some(number as i64)
    })
}
