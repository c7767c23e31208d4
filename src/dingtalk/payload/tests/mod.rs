//! Readings of real payloads and of hand-made ones, on frames built without a decoder.

mod fixtures;
mod properties;
mod shapes;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::*;
use crate::message::Media;

const BOT: &str = "/v1.0/im/bot/messages/get";
const CARD: &str = "/v1.0/card/instances/callback";

fn frame(frame_type: FrameType, topic: &str, data: impl Into<String>) -> Frame {
    Frame {
        frame_type,
        topic: topic.to_owned(),
        message_id: Some("push-1".to_owned()),
        time: Some(1_769_851_790_000),
        event_type: None,
        event_id: None,
        event_born_time: None,
        event_corp_id: None,
        data: data.into(),
        text: Utf8Bytes::from_static(""),
    }
}

fn fixture(number: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frames");
    let mut files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let prefix = format!("{number}-");
    let file = files
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&prefix)
        })
        .unwrap_or_else(|| panic!("no fixture {number}"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The frame of a fixture in any form that `SOURCES.md` lists.
fn fixture_frame(number: &str) -> Frame {
    let fixture = fixture(number);
    if let Some(text) = fixture["_raw_text"].as_str() {
        return frame(FrameType::Callback, BOT, text);
    }
    if fixture["type"].is_string() && fixture["data"].is_string() {
        return envelope(&fixture);
    }
    if fixture["type"] == "WAT" {
        return Frame {
            message_id: None,
            ..frame(FrameType::Other("WAT".to_owned()), "", "")
        };
    }
    let topic = match number {
        "71" | "72" | "73" => CARD,
        "75" => "/v1.0/card/dynamicData/get",
        "77" | "78" => "/v1.0/graph/api/invoke",
        _ => BOT,
    };
    let mut data = fixture;
    if number == "27" {
        let mut base = self::fixture("17");
        base["msgtype"] = data["msgtype"].take();
        base["content"] = data["content"].take();
        base.as_object_mut().unwrap().remove("text");
        data = base;
    }
    frame(FrameType::Callback, topic, data.to_string())
}

fn envelope(fixture: &Value) -> Frame {
    let headers = if fixture["headers"].is_object() {
        &fixture["headers"]
    } else {
        &fixture["header"]
    };
    let text = |name: &str| headers[name].as_str().map(str::to_owned);
    let number = |name: &str| headers[name].as_str().and_then(|text| text.parse().ok());
    Frame {
        frame_type: match fixture["type"]
            .as_str()
            .unwrap()
            .to_ascii_uppercase()
            .as_str()
        {
            "SYSTEM" => FrameType::System,
            "CALLBACK" => FrameType::Callback,
            "EVENT" => FrameType::Event,
            other => FrameType::Other(other.to_owned()),
        },
        topic: text("topic").unwrap_or_default(),
        message_id: text("messageId").or(text("MESSAGE_ID")),
        time: number("time"),
        event_type: text("eventType").or(text("EVENT_TYPE")),
        event_id: text("eventId"),
        event_born_time: number("eventBornTime"),
        event_corp_id: text("eventCorpId"),
        data: fixture["data"].as_str().unwrap().to_owned(),
        text: Utf8Bytes::from_static(""),
    }
}

/// A reading on one line: where, what, media, quote, mentions.
fn line(reading: &Reading<'_>) -> String {
    let mut line = format!("{} {}", reading.kind, reading.chat_key);
    if let Some(message) = &reading.message {
        line += &format!(" | {} {:?}", message.message_type, message.text);
        line += &media_line(&message.media);
        if let Some(quoted) = &message.quoted {
            let id = quoted.id.as_deref().unwrap_or("-");
            let quoted_type = quoted.message_type.as_deref().unwrap_or("-");
            line += &format!(" | answers {id} {quoted_type} {:?}", quoted.text);
            line += &media_line(&quoted.media);
        }
    }
    if let Some(card) = &reading.card {
        line += &format!(
            " | pressed {:?} {:?} {:?}",
            card.actions, card.params, card.form
        );
    }
    if reading.mentioned == Some(false) {
        line += " | not mentioned";
    }
    for one in &reading.mentions {
        let who = [&one.staff_id, &one.id, &one.mobile, &one.name];
        line += &format!(" @{}", who.into_iter().flatten().next().unwrap());
    }
    if !reading.readable {
        line += " | unreadable";
    }
    line
}

fn media_line(media: &[Media<'_>]) -> String {
    let mut line = String::new();
    for one in media {
        let code: String = one
            .download_code
            .iter()
            .flat_map(|c| c.chars())
            .take(8)
            .collect();
        line += &format!(" [{:?} {code}", one.kind);
        for part in [&one.name, &one.mime, &one.url].into_iter().flatten() {
            line += &format!(" {part}");
        }
        for number in [one.size, one.duration_ms].into_iter().flatten() {
            line += &format!(" {number}");
        }
        line.push(']');
    }
    line
}
