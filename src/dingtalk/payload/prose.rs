//! Readable text of cards, links and of kinds that nobody has described yet: what an object shows of
//! itself under its usual names (stream-protocol.md, section 5).

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dingtalk::json::{self, Members};

/// Depth to which the tree of a card is read.
const MAX_DEPTH: usize = 32;
/// Names under which objects keep their body, the best one first.
const BODIES: [&str; 10] = [
    "text",
    "markdown",
    "content",
    "msgContent",
    "summary",
    "recognition",
    "description",
    "desc",
    "address",
    "unknownMsgType",
];
/// Names under which cards and links keep the address that they open.
const LINKS: [&str; 5] = [
    "biz_custom_action_url",
    "messageUrl",
    "docUrl",
    "url",
    "actionUrl",
];

/// The title, the body and the link of an object, each on a line of its own; empty when it has none.
pub(super) fn read<'a>(members: &Members<'a>) -> Cow<'a, str> {
    let tree = members
        .value("cardContent")
        .map(|card| of_value(card, 0))
        .filter(|text| !text.is_empty());
    let body = tree.or_else(|| {
        let card = ["cardData", "cardParamMap"]
            .iter()
            .find_map(|name| members.value(name))?;
        Some(of_value(card, 0)).filter(|text| !text.is_empty())
    });
    let first = |names: &[&str]| names.iter().find_map(|name| members.filled(name));
    let title = first(&["title"]);
    let body = body
        .or_else(|| first(&BODIES))
        .or_else(|| members.object("text")?.filled("content"));
    lines(title, body, first(&LINKS))
}

fn lines<'a>(
    title: Option<Cow<'a, str>>,
    body: Option<Cow<'a, str>>,
    link: Option<Cow<'a, str>>,
) -> Cow<'a, str> {
    let mut all = title.unwrap_or_default();
    for line in [body, link].into_iter().flatten() {
        if all.is_empty() || line.starts_with(all.as_ref()) {
            all = line;
        } else if !all.contains(line.as_ref()) {
            let all = all.to_mut();
            all.push('\n');
            all.push_str(&line);
        }
    }
    all
}

/// What a card shows: a tree of elements, or the variables of its template.
fn of_value(card: &RawValue, depth: usize) -> Cow<'_, str> {
    if depth >= MAX_DEPTH {
        return Cow::Borrowed("");
    }
    match card.get().as_bytes().first() {
        Some(b'{') => of_object(card, depth),
        Some(b'[') => {
            let elements = json::elements(card.get()).unwrap_or_default();
            of_elements(&elements, depth)
        }
        Some(b'"') => {
            let text = json::text(card).unwrap_or_default();
            match serde_json::from_str::<&RawValue>(&text) {
                // JSON in a string goes one level down, so depth bounds it too.
                Ok(inner) if text.starts_with(['{', '[']) => {
                    Cow::Owned(of_value(inner, depth + 1).into_owned())
                }
                _ => text,
            }
        }
        _ => Cow::Borrowed(""),
    }
}

fn of_object(card: &RawValue, depth: usize) -> Cow<'_, str> {
    let Some(members) = Members::read(card.get()) else {
        return Cow::Borrowed("");
    };
    for inside in ["children", "cardContent", "cardData", "cardParamMap"] {
        if let Some(inside) = members.value(inside) {
            let text = of_value(inside, depth + 1);
            if !text.is_empty() {
                return text;
            }
        }
    }
    match members.filled("elementType") {
        // `UNKNOWN` is layout, the value of an `IMAGE` is a code that nothing downloads.
        Some(kind) if kind == "TEXT" || kind == "LINK" => members.filled("value"),
        Some(_) => None,
        None => {
            let first = |names: &[&str]| names.iter().find_map(|name| members.filled(name));
            return lines(first(&["title"]), first(&BODIES), first(&LINKS));
        }
    }
    .unwrap_or_default()
}

/// Elements with children are blocks and stand on lines of their own; bare ones run on.
pub(super) fn of_elements<'a>(elements: &[&'a RawValue], depth: usize) -> Cow<'a, str> {
    let mut all = Cow::Borrowed("");
    let mut after_block = false;
    for element in elements {
        let text = of_value(element, depth + 1);
        if text.is_empty() {
            continue;
        }
        let is_block = Members::read(element.get()).is_some_and(|m| m.value("children").is_some());
        if all.is_empty() {
            all = text;
        } else {
            let all = all.to_mut();
            if is_block || after_block {
                all.push('\n');
            }
            all.push_str(&text);
        }
        after_block = is_block;
    }
    all
}
