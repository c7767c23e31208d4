//! What is counted: the path of a frame from text to ack, and of a request from body to receipt, as far as
//! neither waits for anything.

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use nats_dingtalk::broker::Headers;
use nats_dingtalk::dingtalk::api::{meanings, render_robot};
use nats_dingtalk::inbound::Rehearsal;
use nats_dingtalk::message::{AccountName, Outcome, Receipt, RequestId, Subjects, Timestamp, Via};
use nats_dingtalk::outbound::examine;
use serde_json::{Value, json};

/// All scenarios.
pub(crate) const NAMES: [&str; 8] = [
    "in, text in a group",
    "in, answer that quotes a picture",
    "in, rich text with a picture",
    "in, press on a card",
    "in, event",
    "out, text",
    "out, markdown of 20 kB",
    "out, answer and receipt",
];

/// How many items are enough for a steady figure; valgrind is fifty times slower than the processor.
pub(crate) fn items(name: &str) -> u64 {
    if name.contains("20 kB") { 10 } else { 200 }
}

/// Time of everything that has one.
const AT: i64 = 1_795_168_815_250;

/// Does the work of a scenario `count` times.
pub(crate) fn run(name: &str, count: u64) {
    match name {
        "in, text in a group" => inbound("07-callback-bot-text-group-doc.json", count),
        "in, answer that quotes a picture" => {
            inbound("34-bot-data-reply-quoted-picture.json", count);
        }
        "in, rich text with a picture" => {
            inbound("20-bot-data-richtext-picture-newline-1to1-2026.json", count);
        }
        "in, press on a card" => inbound("70-callback-card-action.json", count),
        "in, event" => inbound("84-event-bpms-instance-change.json", count),
        "out, text" => request(
            &json!({"id": "order-42", "text": "今天下午三点开会"}),
            count,
        ),
        "out, markdown of 20 kB" => {
            let text = "## 标题\n\n- 一项 **重要** 的内容 with `code`\n\n".repeat(400);
            let markdown = json!({"title": "报告", "text": text});
            request(&json!({"id": "order-43", "markdown": markdown}), count);
        }
        "out, answer and receipt" => receipt(count),
        other => panic!("no scenario is called {other}"),
    }
}

/// Text of a frame; what is data alone in the file gets the envelope of a bot message.
fn frame(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/frames")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    if value.get("headers").is_some() {
        return value.to_string();
    }
    let headers = json!({
        "contentType": "application/json",
        "messageId": "212ca9d7_974_1898c159aa6_1783b",
        "time": "1769851697756",
        "topic": "/v1.0/im/bot/messages/get",
    });
    let data = value.to_string();
    json!({"specVersion": "1.0", "type": "CALLBACK", "headers": headers, "data": data}).to_string()
}

fn subjects() -> Subjects {
    Subjects::new("dingtalk").unwrap()
}

fn account() -> AccountName {
    AccountName::parse("sales").unwrap()
}

/// Envelope, payload, policy, body, headers, wire form, PubAck, ack.
fn inbound(name: &str, count: u64) {
    let text = frame(name);
    let answer = Bytes::from_static(br#"{"stream":"DINGTALK_INBOUND","seq":1234567}"#);
    let mut rehearsal = Rehearsal::new(subjects(), account(), "dingabcdefgh12345678");
    for _ in 0..count {
        let passed = rehearsal.pass(black_box(&text), answer.clone());
        black_box(passed.expect("the frame is stored and answered"));
    }
}

/// A request read, checked and rendered into the bodies of its calls.
fn request(body: &Value, count: u64) {
    let body = body.to_string();
    let subjects = subjects();
    let subject = "dingtalk.outbound.sales.group.cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";
    let headers: Headers = vec![("traceparent".into(), "00-1-1-01".to_owned())];
    for _ in 0..count {
        let content = examine(&subjects, subject, &headers, black_box(body.as_bytes()));
        black_box(render_robot(&content.expect("the request is taken")));
    }
}

/// DingTalk's answer judged for every kind of call, and a receipt written.
fn receipt(count: u64) {
    let answer = r#"{"processQueryKey":"qYcZ3Q1x2yJ5","invalidStaffIdList":[],"flowControlledStaffIdList":[]}"#;
    let receipt = Receipt {
        id: RequestId::parse("order-42").unwrap(),
        account: account(),
        subject: Some("dingtalk.outbound.sales.user.manager733".to_owned()),
        outcome: Outcome::Sent,
        via: Some(Via::Openapi),
        process_query_key: Some("qYcZ3Q1x2yJ5".to_owned()),
        code: None,
        message: None,
        cure: None,
        refused_users: Vec::new(),
        uncertain_users: Vec::new(),
        unsent_users: Vec::new(),
        out_track_id: None,
        parts: Vec::new(),
        attempts: 1,
        requested_at: Timestamp::from_millis(AT),
        finished_at: Timestamp::from_millis(AT + 250),
        cost: 1,
    };
    for _ in 0..count {
        black_box(meanings(200, black_box(answer), Timestamp::from_millis(AT)));
        black_box(serde_json::to_vec(black_box(&receipt)).unwrap());
    }
}
