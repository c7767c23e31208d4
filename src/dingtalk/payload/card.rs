//! Card actions: which button of which card, with which values (stream-protocol.md, section 3.4).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::redact::{self, Redacted};
use super::{Reading, UNKNOWN, instant, other};
use crate::dingtalk::json::{self, Members};
use crate::dingtalk::stream::Frame;
use crate::message::{CardAction, Chat, ChatType, Kind, Sender};

/// Reads a card action.
///
/// An AI-assistant card has a conversationToken and no outTrackId: the token names no card that could be
/// updated, so such actions share the key `unknown` and the token stays in `raw`. An action has no
/// id of its own and is not redelivered, so the frame's messageId deduplicates it
/// (stream-protocol.md, section 4.5).
pub(super) fn read<'a>(frame: &'a Frame, data: &Members<'a>, raw: Redacted<'a>) -> Reading<'a> {
    let scattered = raw.scattered;
    let out_track_id = data.filled("outTrackId");
    let mut card = CardAction {
        out_track_id: out_track_id.clone(),
        space_type: data.filled("spaceType"),
        space_id: data.filled("spaceId"),
        ..CardAction::default()
    };
    // `value` repeats `content`; either may be missing.
    for name in ["content", "value"] {
        if let Some(value) = data.value(name) {
            let text = opened(value);
            let text = if scattered {
                Cow::Owned(redact::inside(&text).into_owned())
            } else {
                text
            };
            pressed(&text, &mut card);
        }
        if !(card.actions.is_empty() && card.params.is_empty() && card.form.is_empty()) {
            break;
        }
    }
    Reading {
        kind: Kind::Card,
        chat_key: out_track_id.unwrap_or(Cow::Borrowed(UNKNOWN)),
        chat: chat(card.space_type.as_deref(), card.space_id.as_ref()),
        sender: sender(data),
        card: Some(card),
        topic: None,
        sent_at: instant(frame.time),
        ..other(frame, raw)
    }
}

/// JSON text of a value that may stand in a string.
fn opened(value: &RawValue) -> Cow<'_, str> {
    match value.get().as_bytes().first() {
        Some(b'"') => json::text(value).unwrap_or_default(),
        _ => Cow::Borrowed(value.get()),
    }
}

fn pressed(content: &str, card: &mut CardAction<'_>) {
    let Some(content) = Members::read(content) else {
        return;
    };
    let private = content.value("cardPrivateData").map(opened);
    let private = private.as_deref().and_then(Members::read);
    let private = private.as_ref().unwrap_or(&content);
    card.actions = match private.array("actionIds") {
        Some(ids) => ids
            .iter()
            .filter_map(|id| json::text(id))
            .map(Cow::into_owned)
            .collect(),
        None => private
            .filled("actionIds")
            .into_iter()
            .map(Cow::into_owned)
            .collect(),
    };
    card.params = private.value("params").and_then(values).unwrap_or_default();
    let form = match card.params.get("form") {
        Some(Value::Object(form)) => Some(form.clone().into_iter().collect()),
        Some(Value::String(form)) => serde_json::from_str(form).ok(),
        _ => None,
    };
    if let Some(form) = form {
        card.form = form;
        card.params.remove("form");
    }
}

fn values(object: &RawValue) -> Option<BTreeMap<String, Value>> {
    serde_json::from_str(&opened(object)).ok()
}

/// `userIdType` 1, the default, is a staffId and 2 a unionId.
fn sender<'a>(data: &Members<'a>) -> Option<Sender<'a>> {
    let user = data.filled("userId");
    let mut sender = Sender {
        corp_id: data.filled("corpId"),
        ..Sender::default()
    };
    match user {
        Some(user) if user.starts_with("$:") => sender.id = Some(user),
        Some(user) if data.integer("userIdType") == Some(2) => sender.union_id = Some(user),
        user => sender.staff_id = user,
    }
    (sender != Sender::default()).then_some(sender)
}

/// The chat that the card stands in, where its space names one: `IM_GROUP` with an
/// openConversationId, `IM_ROBOT` with a user; `IM` means a group when the id is one of a conversation.
fn chat<'a>(space_type: Option<&str>, space_id: Option<&Cow<'a, str>>) -> Option<Chat<'a>> {
    let id = space_id?.clone();
    let chat_type = match space_type?.to_ascii_uppercase().as_str() {
        "IM_GROUP" => ChatType::Group,
        "IM" if id.starts_with("cid") => ChatType::Group,
        "IM_ROBOT" | "IM_SINGLE" => ChatType::User,
        _ => return None,
    };
    Some(Chat {
        id,
        chat_type,
        title: None,
    })
}
