//! An envelope in exactly the documented form, read in one pass: nearly every frame. What differs in
//! anything is left to the tolerant reading of `frame.rs`, which comes to the same result.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::dingtalk::json;

/// An envelope with everything in its documented place and type.
#[derive(Deserialize)]
pub(super) struct Documented<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) frame_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) headers: Headers<'a>,
    #[serde(borrow)]
    pub(super) data: Text<'a>,
}

/// A string full of escapes.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        let text = json::text(value).filter(|_| value.get().starts_with('"'));
        text.map(Self).ok_or_else(|| D::Error::custom("no string"))
    }
}

/// Headers as documented: strings, all of them (stream-protocol.md, section 3).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Headers<'a> {
    #[serde(borrow)]
    pub(super) topic: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) message_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) time: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) event_born_time: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) event_corp_id: Option<Cow<'a, str>>,
}

impl<'a> Documented<'a> {
    /// Reads `text`; `None` when it differs from the documented form.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let envelope: Self = serde_json::from_str(text).ok()?;
        let headers = &envelope.headers;
        let whole = match envelope.frame_type.as_ref() {
            "CALLBACK" => true,
            "EVENT" => [
                &headers.event_type,
                &headers.event_id,
                &headers.event_born_time,
                &headers.event_corp_id,
            ]
            .iter()
            .all(|header| header.is_some()),
            // SYSTEM frames are rare, and the rest is not documented.
            _ => false,
        };
        let filled = !headers.topic.is_empty() && !headers.message_id.is_empty();
        (whole && filled).then_some(envelope)
    }
}
