//! The content of a message or of a quoted one: msgtype and shape in, readable text and media out.
//!
//! Content comes as an object, a list or either of them inside a JSON string (stream-protocol.md,
//! section 5). A kind nobody has seen yet yields what its members suggest.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{media, prose, record, rich};
use crate::dingtalk::json::{self, Members};
use crate::message::{Media, MediaKind};

/// Depth to which content inside of content is read, as in forwarded chat records.
const MAX_DEPTH: usize = 8;

/// What content says and shows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content<'a> {
    /// Readable text; may be empty.
    pub(super) text: Cow<'a, str>,
    /// Media items in order.
    pub(super) media: Vec<Media<'a>>,
    /// Names mentioned in a rich text.
    pub(super) names: Vec<Cow<'a, str>>,
}

impl<'a> Content<'a> {
    /// Content that is only text.
    pub(super) fn from_text(text: Cow<'a, str>) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    /// Appends text.
    pub(super) fn push(&mut self, text: Cow<'a, str>) {
        if self.text.is_empty() {
            self.text = text;
        } else {
            self.text.to_mut().push_str(&text);
        }
    }

    /// Whether there is neither text nor media in it.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.media.is_empty()
    }

    /// This, or the other when this is empty.
    pub(super) fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if self.is_empty() { other() } else { self }
    }

    /// The same without borrows, for what was read out of a string inside the data.
    pub(super) fn into_owned(self) -> Content<'static> {
        Content {
            text: Cow::Owned(self.text.into_owned()),
            media: self.media.into_iter().map(own_media).collect(),
            names: self.names.into_iter().map(own).collect(),
        }
    }
}

/// The text without a borrow.
pub(super) fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// The media item without borrows.
pub(super) fn own_media(media: Media<'_>) -> Media<'static> {
    Media {
        kind: media.kind,
        name: media.name.map(own),
        mime: media.mime.map(own),
        size: media.size,
        duration_ms: media.duration_ms,
        download_code: media.download_code.map(own),
        url: media.url.map(own),
        object: media.object.map(own),
    }
}

/// Reads content of the given msgtype; an empty msgtype lets the shape decide.
pub(super) fn read<'a>(message_type: &str, value: &'a RawValue) -> Content<'a> {
    read_at(message_type, value, 0)
}

/// The same at a depth inside of other content.
pub(super) fn read_at<'a>(message_type: &str, value: &'a RawValue, depth: usize) -> Content<'a> {
    if !value.get().starts_with('"') {
        return structured(message_type, value.get(), depth).unwrap_or_default();
    }
    match json::text(value).unwrap_or_default() {
        Cow::Borrowed(text) => {
            structured(message_type, text, depth).unwrap_or(Content::from_text(text.into()))
        }
        Cow::Owned(text) => {
            let inside = structured(message_type, &text, depth).map(Content::into_owned);
            inside.unwrap_or(Content::from_text(text.into()))
        }
    }
}

/// Reads the members of an object as content.
pub(super) fn of_object<'a>(
    message_type: &str,
    members: &Members<'a>,
    depth: usize,
) -> Content<'a> {
    let content = match message_type {
        "text" | "reply" => Content::from_text(
            members
                .filled("content")
                .or_else(|| members.filled("text"))
                .unwrap_or_default(),
        ),
        "markdown" => Content::from_text(members.filled("text").unwrap_or_default()),
        "unknownMsgType" => {
            Content::from_text(members.filled("unknownMsgType").unwrap_or_default())
        }
        "chatRecord" => record::read(members, depth),
        _ => of_media(media::kind(message_type), members),
    };
    if content.is_empty() {
        guessed(members, depth)
    } else {
        content
    }
}

/// Content inside JSON text; `None` when the text is neither object nor list.
fn structured<'a>(message_type: &str, json: &'a str, depth: usize) -> Option<Content<'a>> {
    if depth >= MAX_DEPTH {
        return None;
    }
    match json.trim_start().as_bytes().first()? {
        b'{' => Some(of_object(message_type, &Members::read(json)?, depth)),
        b'[' => Some(of_list(message_type, &json::elements(json)?, depth)),
        _ => None,
    }
}

fn of_list<'a>(message_type: &str, items: &[&'a RawValue], depth: usize) -> Content<'a> {
    if message_type == "chatRecord" {
        return record::entries(items, &[], depth);
    }
    let is_tree = items
        .first()
        .and_then(|item| Members::read(item.get()))
        .is_some_and(|item| item.value("elementType").is_some());
    if is_tree {
        Content::from_text(prose::of_elements(items, depth))
    } else {
        rich::read(items)
    }
}

fn of_media<'a>(kind: Option<MediaKind>, members: &Members<'a>) -> Content<'a> {
    let Some(item) = kind.and_then(|kind| media::item(kind, members)) else {
        return Content::default();
    };
    let text = match item.kind {
        MediaKind::Audio => members.filled("recognition"),
        MediaKind::File => item.name.clone(),
        MediaKind::Image | MediaKind::Video => None,
    };
    Content {
        text: text.unwrap_or_default(),
        media: vec![item],
        names: Vec::new(),
    }
}

/// What the members suggest where the msgtype says nothing of them.
fn guessed<'a>(members: &Members<'a>, depth: usize) -> Content<'a> {
    for list in ["richText", "richTextList"] {
        if let Some(value) = members.value(list) {
            let content = read_at("richText", value, depth + 1);
            if !content.is_empty() {
                return content;
            }
        }
    }
    if members.value("chatRecord").is_some() {
        return record::read(members, depth);
    }
    let content = of_media(media::guess(members), members);
    if content.is_empty() {
        Content::from_text(prose::read(members))
    } else {
        content
    }
}
