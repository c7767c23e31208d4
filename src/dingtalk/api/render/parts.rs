//! Texts in parts that fit one message each.

use serde_json::{Map, Value, json};

use super::title::title;
use crate::dingtalk::api::split::{Size, Syntax, split, with_table_borders};
use crate::message::{ActionCard, Link, Markdown};

/// Longest markdown that clients show well, in characters (oapi.md, section 2.5).
pub(super) const MARKDOWN_UNITS: usize = 3800;
/// Least room for the text of a card that does not fit one message: with less, its buttons would make
/// many messages of a few words each.
const CARD_TEXT_BYTES: usize = 2000;
/// Room for the number of a part behind its title.
const NUMBER: &str = " (9999/9999)";

/// One part of a markdown.
#[derive(Debug)]
pub(super) struct Part {
    /// With its number when there are several.
    pub(super) title: String,
    /// Markdown.
    pub(super) text: String,
}

impl Part {
    /// As msgParam, and as the member of a webhook body.
    pub(super) fn param(&self) -> Value {
        json!({ "title": self.title, "text": self.text })
    }
}

/// The parts of a plain text, of at most `bytes` in JSON each.
pub(super) fn plain_parts(text: &str, bytes: usize) -> Vec<String> {
    let limit = Size {
        units: usize::MAX,
        bytes,
    };
    without_blank(split(text, Syntax::Plain, limit), text)
}

/// DingTalk refuses a message of nothing but white space.
fn without_blank(mut parts: Vec<String>, whole: &str) -> Vec<String> {
    parts.retain(|part| !part.trim().is_empty());
    if parts.is_empty() {
        parts.push(whole.to_owned());
    }
    parts
}

/// The parts of a markdown, numbered behind the title when there are several; each with its title
/// and `shell` takes at most `bytes`.
pub(super) fn titled_parts(markdown: &Markdown, bytes: usize, shell: &str) -> Vec<Part> {
    let title = title(markdown.title.as_deref(), &markdown.text);
    let room = text_room(&title, bytes, shell);
    divided(&title, &with_table_borders(&markdown.text), room)
}

/// Parts with at most `room` bytes of the text each.
fn divided(title: &str, text: &str, room: usize) -> Vec<Part> {
    let limit = Size {
        units: MARKDOWN_UNITS,
        bytes: room,
    };
    let parts = without_blank(split(text, Syntax::Markdown, limit), text);
    let count = parts.len();
    let titles = (1..).map(|number| match count {
        1 => title.to_owned(),
        _ => format!("{title} ({number}/{count})"),
    });
    titles
        .zip(parts)
        .map(|(title, text)| Part { title, text })
        .collect()
}

/// Bytes that `title` with its number and `shell` leave for the text of a part.
fn text_room(title: &str, bytes: usize, shell: &str) -> usize {
    let numbered = Part {
        title: format!("{title}{NUMBER}"),
        text: String::new(),
    };
    bytes.saturating_sub(numbered.param().to_string().len() + shell.len())
}

/// The parts of a card's text: the last one carries the buttons. `None` when the text is too long for
/// one message and the buttons leave too little room to divide it.
pub(super) fn card_parts(
    card: &ActionCard,
    bytes: usize,
    shell: &Map<String, Value>,
) -> Option<Vec<Part>> {
    let shell = Value::Object(shell.clone()).to_string();
    let title = title(Some(&card.title), &card.text);
    let text = with_table_borders(&card.text);
    let room = text_room(&title, bytes, &shell);
    let fits = || Size::of(&text).bytes <= room;
    (room >= CARD_TEXT_BYTES || fits()).then(|| divided(&title, &text, room))
}

/// The members of a link, alike in both forms.
pub(super) fn link_param(link: &Link) -> Value {
    json!({
        "title": link.title,
        "text": link.text,
        "messageUrl": link.message_url,
        "picUrl": link.pic_url.as_deref().unwrap_or_default(),
    })
}
