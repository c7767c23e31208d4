//! Forwarded chat records: a title and one line per message, whatever the list is called and however
//! often it was put into a string (stream-protocol.md, section 5).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::content::{self, Content};
use super::media;
use crate::dingtalk::json::{self, Members};

/// Names under which the list of messages was seen.
const LISTS: [&str; 5] = [
    "chatRecord",
    "chatRecords",
    "records",
    "messages",
    "contents",
];

/// Reads a chat record; its summary stands in where the messages are missing or were erased.
pub(super) fn read(record: &Members<'_>, depth: usize) -> Content<'static> {
    let summary = record.filled("summary").map(summary_lines);
    let summary = summary.unwrap_or_default();
    let mut content = LISTS
        .iter()
        .filter_map(|name| record.value(name))
        .find_map(|value| entries_of(value, &summary, depth))
        .unwrap_or_default();
    if content.text.is_empty() {
        content.text = Cow::Owned(summary.join("\n"));
    }
    if let Some(title) = record.filled("title") {
        content.text = match content.text.as_ref() {
            "" => Cow::Owned(title.into_owned()),
            lines => Cow::Owned(format!("{title}\n{lines}")),
        };
    }
    content
}

/// Reads the messages of a record, with the line of the summary for each that says nothing itself.
pub(super) fn entries(entries: &[&RawValue], summary: &[String], depth: usize) -> Content<'static> {
    let summary = if summary.len() == entries.len() {
        summary
    } else {
        &[]
    };
    let mut lines = Vec::new();
    let mut all = Content::default();
    for (at, raw) in entries.iter().enumerate() {
        let line = match Members::read(raw.get()) {
            Some(members) => entry(&members, summary.get(at), &mut all, depth),
            None => json::text(raw).map(Cow::into_owned),
        };
        lines.extend(line.filter(|line| !line.is_empty()));
    }
    all.text = Cow::Owned(lines.join("\n"));
    all
}

fn entry(
    entry: &Members<'_>,
    summary: Option<&String>,
    all: &mut Content<'static>,
    depth: usize,
) -> Option<String> {
    let first = |names: &[&str]| names.iter().find_map(|name| entry.filled(name));
    let message_type = first(&["msgType", "msgtype", "type"]).unwrap_or_default();
    let said = ["content", "text"]
        .iter()
        .filter_map(|name| entry.value(name))
        .map(|value| content::read_at(&message_type, value, depth + 1))
        .find(|said| !said.is_empty())
        .unwrap_or_default();
    let said = said.into_owned();
    let attached = media::kind(&message_type)
        .or_else(|| media::guess(entry))
        .filter(|_| said.media.is_empty())
        .and_then(|kind| media::item(kind, entry));
    all.media.extend(said.media);
    all.media.extend(attached.map(content::own_media));

    let sender = first(&["senderNick", "senderName", "nick", "sender"]);
    if said.text.is_empty()
        && let Some(line) = summary
    {
        return Some(line.clone());
    }
    let body = match said.text {
        text if !text.is_empty() => text,
        _ if !message_type.is_empty() => Cow::Owned(format!("[{message_type}]")),
        _ => return None,
    };
    Some(match sender {
        Some(sender) => format!("{sender}: {body}"),
        None => body.into_owned(),
    })
}

fn entries_of(value: &RawValue, summary: &[String], depth: usize) -> Option<Content<'static>> {
    let text = match value.get().as_bytes().first()? {
        b'"' => json::text(value)?,
        _ => Cow::Borrowed(value.get()),
    };
    let list = json::elements(&text)?;
    (!list.is_empty()).then(|| entries(&list, summary, depth))
}

/// A summary is lines of text, or a JSON list of them.
fn summary_lines(summary: Cow<'_, str>) -> Vec<String> {
    match json::elements(&summary) {
        Some(list) => {
            let texts = list.iter().filter_map(|line| json::text(line));
            texts.map(Cow::into_owned).collect()
        }
        None => summary.lines().map(str::to_owned).collect(),
    }
}
