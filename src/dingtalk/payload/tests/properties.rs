//! What holds for every data there can be.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::value::RawValue;

use super::*;

const URL: &str = "https://oapi.dingtalk.com/robot/sendBySession?session=0a1b2c3d";
const NUMBERS: [&str; 14] = [
    "06", "12", "19", "20", "21", "27", "41", "43", "50", "53", "58", "70", "72", "77",
];

fn topic() -> impl Strategy<Value = (FrameType, &'static str)> {
    select(vec![
        (FrameType::Callback, BOT),
        (FrameType::Callback, CARD),
        (FrameType::Event, "*"),
        (FrameType::Callback, "/v1.0/graph/api/invoke"),
    ])
}

/// Members that readers look at, so that arbitrary values reach them.
fn name() -> impl Strategy<Value = String> {
    let known = select(vec![
        "text",
        "content",
        "msgtype",
        "richText",
        "repliedMsg",
        "chatRecord",
        "cardContent",
        "children",
        "value",
        "params",
        "form",
        "atUsers",
        "at",
        "sessionWebhook",
        "duration",
        "createAt",
        "conversationId",
        "msgType",
        "quoteMessage",
        "summary",
        "cardPrivateData",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec![
            "picture",
            "chatRecord",
            "TEXT",
            "richText",
            "sendBySession"
        ])
        .prop_map(Value::from),
        any::<String>().prop_map(|text| Value::from(format!("{text}{URL}{text}"))),
        Just(Value::from(URL)),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name(), inner.clone()), 0..6)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

/// Everything that must hold of a reading of any data.
fn check(frame: &Frame) -> Result<(), TestCaseError> {
    let reading = read(frame);
    prop_assert!(
        serde_json::from_str::<&RawValue>(&reading.raw).is_ok(),
        "{}",
        reading.raw
    );
    prop_assert!(
        !reading.raw.contains("sendBySession?session="),
        "{}",
        reading.raw
    );
    if let Ok(kept) = serde_json::from_str::<Value>(&reading.raw) {
        prop_assert!(!names_url(&kept), "{}", reading.raw);
    }
    let readable = serde_json::from_str::<&RawValue>(&frame.data).is_ok();
    if readable && !frame.data.contains("sendBySession") && !frame.data.contains("sessionWebhook") {
        prop_assert_eq!(&reading.raw, &frame.data);
    }
    let texts = reading.message.iter().flat_map(|m| {
        [&m.text]
            .into_iter()
            .chain(m.quoted.iter().map(|q| &q.text))
    });
    for text in texts {
        prop_assert!(!text.contains("sendBySession?session="), "{}", text);
    }
    prop_assert!(!reading.chat_key.is_empty());
    prop_assert_ne!(reading.dedup_id.as_deref(), Some(""));
    Ok(())
}

fn names_url(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.contains("sendBySession?session=")
                || serde_json::from_str::<Value>(text).is_ok_and(|inner| names_url(&inner))
        }
        Value::Array(all) => all.iter().any(names_url),
        Value::Object(all) => all
            .iter()
            .any(|(k, v)| k.contains("sendBySession?session=") || names_url(v)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_text_is_read((frame_type, topic) in topic(), data in any::<String>()) {
        check(&frame(frame_type, topic, data))?;
    }

    #[test]
    fn any_json_is_read_and_loses_nothing_but_webhooks((frame_type, topic) in topic(), data in json()) {
        check(&frame(frame_type, topic, data.to_string()))?;
    }

    #[test]
    fn any_members_in_a_real_message_are_read(
        number in select(NUMBERS.to_vec()),
        members in vec((name(), json()), 1..4),
    ) {
        let mut base = fixture_frame(number);
        let mut data: Value = serde_json::from_str(&base.data).unwrap();
        for (name, value) in members {
            data[name] = value;
        }
        base.data = data.to_string();
        check(&base)?;
    }

    #[test]
    fn a_real_message_with_a_hole_or_noise_is_read(
        number in select(NUMBERS.to_vec()),
        at in 0.0..1.0,
        cut in 0_usize..40,
        noise in "[\"{}\\[\\]:,\\\\a-z0-9 ]{0,6}",
    ) {
        let mut base = fixture_frame(number);
        let text: Vec<char> = base.data.chars().collect();
        let at = ((text.len() as f64) * at) as usize;
        let after = (at + cut).min(text.len());
        base.data = text[..at].iter().chain(noise.chars().collect::<Vec<_>>().iter()).chain(&text[after..]).collect();
        check(&base)?;
    }
}
