//! Every payload in `tests/frames`, and hand-made ones of the shapes that are not among them.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::*;

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

#[test]
fn dump() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frames");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".json"))
        .collect();
    files.sort();
    for file in files {
        let number = file.split('-').next().unwrap();
        if number.parse::<u32>().unwrap() >= 107 {
            continue;
        }
        let frame = fixture_frame(number);
        let r = read(&frame);
        println!(
            "== {file}\n{:?} {:?} dedup={:?} topic={:?} readable={} mentioned={:?}\n  chat={:?}\n  sender={:?}\n mentions={:?}\n message={:?}\n card={:?} notice={:?} sent={:?} webhook={:?}\n raw={}",
            r.kind,
            r.chat_key,
            r.dedup_id,
            r.topic,
            r.readable,
            r.mentioned,
            r.chat,
            r.sender,
            r.mentions,
            r.message,
            r.card,
            r.notice,
            r.sent_at,
            r.webhook,
            &r.raw
        );
    }
    let _ = json!(1);
}
