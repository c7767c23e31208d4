//! What a message answers. DingTalk tells it under `text`, under `content`, split over both, at the
//! top, in two older forms, or only by its id (stream-protocol.md, section 5).

use std::borrow::Cow;

use super::content::{self, Content, own};
use super::instant;
use crate::dingtalk::json::{self, Members};
use crate::message::{Quoted, Sender};

/// Finds what a message answers in its data and in the containers of its content.
pub(super) fn read(data: &Members<'_>, containers: &[&Members<'_>]) -> Option<Quoted<'static>> {
    let places = || containers.iter().copied().chain([data]);
    let opened: Vec<Cow<'_, str>> = places()
        .filter_map(|place| place.value("repliedMsg"))
        .chain(places().filter_map(|place| place.value("quoteMessage")))
        .chain(places().filter_map(|place| place.value("quoteContent")))
        .filter_map(|value| match value.get().as_bytes().first()? {
            b'"' => json::text(value),
            _ => Some(Cow::Borrowed(value.get())),
        })
        .collect();
    let parts: Vec<Members<'_>> = opened
        .iter()
        .filter_map(|text| Members::read(text))
        .collect();
    let mut quoted = of_parts(&parts);
    if quoted.text.is_empty() {
        // `quoteContent` may be the words themselves.
        let words = places().find_map(|place| place.filled("quoteContent"));
        let words = words.filter(|words| Members::read(words).is_none());
        quoted.text = words.map(own).unwrap_or_default();
    }
    if quoted.id.is_none() {
        quoted.id = data.filled("originalMsgId").map(own);
    }
    // A quoted card of the robot may be told by its process query key alone, which stays in `raw`.
    let told = quoted != Quoted::default() || data.filled("originalProcessQueryKey").is_some();
    told.then_some(quoted)
}

/// Puts one quoted message together from its parts; what an earlier part tells wins.
fn of_parts(parts: &[Members<'_>]) -> Quoted<'static> {
    let first = |names: &[&str]| {
        let mut all = parts
            .iter()
            .flat_map(|part| names.iter().map(move |name| (part, name)));
        all.find_map(|(part, name)| part.filled(name)).map(own)
    };
    let message_type = first(&["msgType", "msgtype"]);
    let created = ["createdAt", "createAt"];
    let sent_at = parts
        .iter()
        .flat_map(|part| created.iter().map(move |name| part.integer(name)))
        .find_map(instant);
    let sender = Sender {
        staff_id: first(&["senderStaffId"]),
        id: first(&["senderId"]),
        union_id: first(&["senderUnionId"]),
        nick: first(&["senderNick"]),
        corp_id: first(&["senderCorpId"]),
        admin: None,
    };
    let said = said(parts, message_type.as_deref().unwrap_or_default());
    Quoted {
        id: first(&["msgId"]),
        message_type,
        text: said.text,
        sender: (sender != Sender::default()).then_some(sender),
        sent_at,
        media: said.media,
    }
}

fn said(parts: &[Members<'_>], message_type: &str) -> Content<'static> {
    let members = parts
        .iter()
        .flat_map(|part| ["content", "text"].map(|name| part.value(name)))
        .flatten()
        .map(|value| content::read(message_type, value));
    let parts = parts
        .iter()
        .map(|part| content::of_object(message_type, part, 0));
    members
        .chain(parts)
        .find(|said| !said.is_empty())
        .unwrap_or_default()
        .into_owned()
}
