//! EVENT frames: the type, the id and the time of birth. The body stays untyped, as its members
//! change type between events (stream-protocol.md, section 3.2).

use std::borrow::Cow;

use super::redact::Redacted;
use super::{Reading, UNKNOWN, filled, instant, other};
use crate::dingtalk::json::Members;
use crate::dingtalk::stream::Frame;
use crate::message::Kind;

/// Reads an EVENT. The headers name it; the flattened form of the documentation, which names it in
/// the data, is understood too.
pub(super) fn read<'a>(
    frame: &'a Frame,
    data: Option<&Members<'a>>,
    raw: Redacted<'a>,
) -> Reading<'a> {
    let inside = |name| data.and_then(|data| data.filled(name));
    let named =
        |header: Option<&'a str>, name| filled(header).map(Cow::Borrowed).or_else(|| inside(name));
    let event_type = named(frame.event_type.as_deref(), "eventType");
    let born = frame
        .event_born_time
        .or_else(|| data?.integer("eventBornTime"));
    let reading = other(frame, raw);
    Reading {
        kind: Kind::Event,
        chat_key: event_type.clone().unwrap_or(Cow::Borrowed(UNKNOWN)),
        dedup_id: named(frame.event_id.as_deref(), "eventId").or(reading.dedup_id),
        topic: event_type,
        sent_at: instant(born),
        readable: data.is_some(),
        ..reading
    }
}
