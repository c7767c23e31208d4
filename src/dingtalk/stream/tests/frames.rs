//! Every envelope in `tests/frames`, every deviation of the reference, and no input that panics.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Frame, FrameType};

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/frames")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn decode(value: &Value) -> Frame {
    Frame::decode(value.to_string().into())
}

fn file(name: &str) -> Frame {
    decode(&read(name))
}

/// Names of all files that hold an object with `type` and `headers` or `header`.
fn envelopes() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .filter(|name| {
            let value = read(name);
            value.get("type").is_some()
                && (value.get("headers").is_some() || value.get("header").is_some())
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_envelope_decodes_to_what_its_headers_say() {
    let names = envelopes();
    assert!(names.len() >= 22, "{names:?}");
    for name in names {
        // The only one that spells its headers otherwise has a test of its own.
        if name.starts_with("96-") {
            continue;
        }
        let value = read(&name);
        let frame = decode(&value);
        let headers = value.get("headers").unwrap_or(&value["header"]);
        let text = |key: &str| headers[key].as_str().map(ToOwned::to_owned);
        let number = |key: &str| headers[key].as_str().map(|text| text.parse().unwrap());
        assert_eq!(
            frame.frame_type,
            match value["type"].as_str().unwrap() {
                "SYSTEM" => FrameType::System,
                "CALLBACK" => FrameType::Callback,
                "EVENT" => FrameType::Event,
                other => FrameType::Other(other.to_owned()),
            },
            "{name}"
        );
        assert_eq!(frame.topic, text("topic").unwrap_or_default(), "{name}");
        assert_eq!(frame.message_id, text("messageId"), "{name}");
        assert_eq!(frame.time, number("time"), "{name}");
        assert_eq!(frame.event_type, text("eventType"), "{name}");
        assert_eq!(frame.event_id, text("eventId"), "{name}");
        assert_eq!(frame.event_born_time, number("eventBornTime"), "{name}");
        assert_eq!(frame.event_corp_id, text("eventCorpId"), "{name}");
        assert_eq!(frame.data, value["data"].as_str().unwrap_or(""), "{name}");
        assert_eq!(frame.text.as_str(), value.to_string(), "{name}");
        assert!(!frame.is_undecodable(), "{name}");
    }
}

#[test]
fn a_personal_event_with_upper_snake_headers_and_lower_case_type_is_read() {
    let frame = file("96-event-personal-im-uppercase-headers.json");
    assert_eq!(frame.frame_type, FrameType::Event);
    assert_eq!(frame.message_id.as_deref(), Some("evt-1"));
    assert_eq!(
        frame.event_type.as_deref(),
        Some("user_im_message_receive_o2o")
    );
}

#[test]
fn numeric_headers_and_data_as_an_object_are_read() {
    let frame = decode(&json!({
        "type": "callback",
        "headers": {"topic": "t", "messageId": 17, "time": 1_769_851_697_611_i64, "eventBornTime": "1.5e3"},
        "data": {"msgId": "m", "n": 1},
    }));
    assert_eq!(frame.frame_type, FrameType::Callback);
    assert_eq!(frame.message_id.as_deref(), Some("17"));
    assert_eq!(frame.time, Some(1_769_851_697_611));
    assert_eq!(frame.event_born_time, Some(1500));
    assert_eq!(frame.data, r#"{"msgId":"m","n":1}"#);
}

#[test]
fn data_that_was_encoded_twice_or_thrice_is_unwrapped_to_its_json() {
    let once = json!({"msgId": "m"}).to_string();
    let twice = Value::from(once.clone()).to_string();
    let thrice = Value::from(twice.clone()).to_string();
    for data in [&once, &twice, &thrice] {
        let frame = decode(&json!({"type": "CALLBACK", "data": data}));
        assert_eq!(frame.data, once, "{data}");
    }
}

#[test]
fn data_that_is_broken_or_plain_text_stays_as_it_is() {
    for data in ["{not json", "\"just a quoted word\"", "", "plain", "\"{"] {
        let frame = decode(&json!({"type": "CALLBACK", "data": data}));
        assert_eq!(frame.data, data);
    }
    assert_eq!(decode(&json!({"data": null})).data, "");
    assert_eq!(decode(&json!({"data": 7})).data, "7");
    assert_eq!(decode(&json!({"data": [1]})).data, "[1]");
}

#[test]
fn headers_may_be_missing_null_misplaced_or_encoded_twice() {
    assert!(
        decode(&json!({"type": "EVENT", "headers": null}))
            .message_id
            .is_none()
    );
    assert!(
        decode(&json!({"type": "EVENT", "headers": [1]}))
            .message_id
            .is_none()
    );
    let text = json!({"messageId": "x"}).to_string();
    let frame = decode(&json!({"type": "EVENT", "headers": text}));
    assert_eq!(frame.message_id.as_deref(), Some("x"));
    let frame = decode(&json!({"Type": "EVENT", "Headers": {"messageid": "y"}}));
    assert_eq!(frame.message_id.as_deref(), Some("y"));
    assert_eq!(frame.frame_type, FrameType::Event);
}

#[test]
fn a_documented_header_name_beats_another_spelling_of_it() {
    let frame = decode(&json!({"headers": {"MESSAGE_ID": "other", "messageId": "real"}}));
    assert_eq!(frame.message_id.as_deref(), Some("real"));
    let frame = decode(&json!({"headers": {"messageId": "real", "MESSAGE_ID": "other"}}));
    assert_eq!(frame.message_id.as_deref(), Some("real"));
}

#[test]
fn what_is_no_json_object_is_kept_as_undecodable() {
    let raw = read("25-malformed-bot-data-official-http-block.json");
    let broken = raw["_raw_text"].as_str().unwrap();
    for text in ["", "hello", "[]", "1", "{", broken] {
        let frame = Frame::decode(text.to_owned().into());
        assert!(frame.is_undecodable(), "{text}");
        assert_eq!(frame.frame_type, FrameType::Other(String::new()));
        assert_eq!(frame.data, "");
        assert_eq!(frame.text.as_str(), text);
    }
    assert!(!Frame::decode("{}".into()).is_undecodable());
    let marked = format!("\u{feff}{}", json!({"type": "EVENT"}));
    assert_eq!(Frame::decode(marked.into()).frame_type, FrameType::Event);
}

#[test]
fn debug_output_holds_no_payload() {
    let frame = file("09-callback-bot-text-1to1-redelivered.json");
    assert!(frame.data.contains("sendBySession"));
    let shown = format!("{frame:?}");
    assert!(
        shown.contains("212b9d7c_165f_19bfa1a500a_1462f3c"),
        "{shown}"
    );
    assert!(!shown.contains("session"), "{shown}");
}

/// Everything of a frame but its text.
fn fields(frame: &Frame) -> impl PartialEq + std::fmt::Debug + '_ {
    (
        (&frame.frame_type, &frame.topic, &frame.message_id),
        (frame.time, &frame.event_type, &frame.event_id),
        (frame.event_born_time, &frame.event_corp_id, &frame.data),
    )
}

#[test]
fn the_quick_and_the_tolerant_reading_agree_on_every_file() {
    for name in envelopes() {
        let text = read(&name).to_string();
        let tolerant = Frame::tolerant(text.clone().into());
        assert_eq!(
            fields(&Frame::decode(text.into())),
            fields(&tolerant),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn the_quick_and_the_tolerant_reading_agree(
        frame_type in "(CALLBACK|EVENT|event|SYSTEM|WAT)",
        ids in proptest::collection::vec(".{0,12}", 3),
        time in "([0-9]{1,14}|x| 5 |1e3|)",
        event in proptest::option::of("[a-z]{0,6}"),
        data in r#"(\{"a":"[^"\\]{0,10}"\}|"\{\}"|"\\"\{\}\\""|.{0,20})"#,
        numeric in any::<bool>(),
    ) {
        let mut headers = json!({"topic": ids[0], "messageId": ids[1], "time": time, "appId": ids[2]});
        if numeric {
            headers["time"] = json!(17);
        }
        if let Some(event) = event {
            headers["eventType"] = json!(event);
            headers["eventId"] = json!(event);
            headers["eventBornTime"] = json!(time);
            headers["eventCorpId"] = json!(ids[2]);
        }
        let text = json!({"type": frame_type, "headers": headers, "data": data}).to_string();
        let tolerant = Frame::tolerant(text.clone().into());
        let quick = Frame::decode(text.into());
        prop_assert_eq!(fields(&quick), fields(&tolerant));
    }

    #[test]
    fn decoding_never_panics(text in ".{0,200}") {
        let frame = Frame::decode(text.clone().into());
        prop_assert_eq!(frame.text.as_str(), text);
    }

    #[test]
    fn decoding_of_near_envelopes_never_panics(
        key in "(headers|header|HEADERS|data|type)",
        value in r#"("[^"\\]{0,20}"|\{"(messageId|time|MESSAGE_ID)":("x"|1|null|\{\}|1e999)\}|null|[0-9]{1,30}|\[\]|"\\"\{\\"")"#,
    ) {
        let text = format!(r#"{{"{key}":{value}}}"#);
        let frame = Frame::decode(text.clone().into());
        prop_assert_eq!(frame.text.as_str(), text);
    }

    #[test]
    fn data_survives_encoding_unchanged(data in r#"\{[^\u{0}]{0,60}"#) {
        let frame = decode(&json!({"type": "CALLBACK", "data": data}));
        prop_assert_eq!(frame.data, data);
    }
}
