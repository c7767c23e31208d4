//! Rich text: a list of items that each project of DingTalk writes in its own way
//! (stream-protocol.md, section 5).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::content::Content;
use super::media;
use crate::dingtalk::json::{self, Members};

/// Joins the items in order: texts as they are, mentions as `@Name`, skills by their name; pictures
/// and other media are listed.
pub(super) fn read<'a>(items: &[&'a RawValue]) -> Content<'a> {
    let mut content = Content::default();
    for item in items {
        match Members::read(item.get()) {
            Some(members) => object(&members, &mut content),
            None => content.push(json::text(item).unwrap_or_default()),
        }
    }
    content
}

fn object<'a>(item: &Members<'a>, content: &mut Content<'a>) {
    let item_type = ["type", "msgType", "msgtype"]
        .iter()
        .find_map(|name| item.filled(name))
        .unwrap_or_default();
    let item_type = item_type.to_ascii_lowercase();
    if let Some(kind) = media::kind(&item_type) {
        let inner = item.object("content");
        let found = media::item(kind, item).or_else(|| media::item(kind, inner.as_ref()?));
        content.media.extend(found);
        return;
    }
    if item_type == "skill" || item.value("skillData").is_some() {
        content.push(skill(item));
        return;
    }
    if item_type == "at" || item.value("atName").is_some() {
        let name = item
            .filled("atName")
            .or_else(|| item.filled("name"))
            .or_else(|| text(item))
            .unwrap_or_default();
        let name = match name.strip_prefix('@') {
            Some(name) => Cow::Owned(name.to_owned()),
            None => name,
        };
        if !name.is_empty() {
            content.push(Cow::Owned(format!("@{name}")));
            content.names.push(name);
        }
        return;
    }
    match text(item) {
        Some(text) => content.push(text),
        None => {
            let kind = media::guess(item);
            content
                .media
                .extend(kind.and_then(|kind| media::item(kind, item)));
        }
    }
}

/// `{text}`, `{content}`, `{content:{text}}` or `{text:{content}}`.
fn text<'a>(item: &Members<'a>) -> Option<Cow<'a, str>> {
    item.filled("text")
        .or_else(|| item.filled("content"))
        .or_else(|| item.object("content")?.filled("text"))
        .or_else(|| item.object("text")?.filled("content"))
}

fn skill<'a>(item: &Members<'a>) -> Cow<'a, str> {
    let named = |skill: &Members<'a>| {
        ["displayName", "name", "skillName", "skillId"]
            .iter()
            .find_map(|name| skill.filled(name))
    };
    item.object("skillData")
        .and_then(|skill| named(&skill))
        .or_else(|| text(item))
        .unwrap_or_default()
}
