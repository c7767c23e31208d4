//! P4, P5, P6: one receipt for every request, one visible message for every key, and nothing that
//! cannot be handled is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH, Push, USER_SEND_PATH};
use serde_json::{Value, json};

use crate::support;
use crate::support::bridge::CLIENT_ID;
use crate::support::wait;
use crate::support::world::{World, messages};

const GROUP_SUBJECT: &str = "dingtalk.outbound.sales.group.cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";

/// A request for every way to end: subject, body and outcome.
fn requests() -> Vec<(&'static str, Value, &'static str)> {
    let user = "dingtalk.outbound.sales.user.manager1";
    vec![
        (
            GROUP_SUBJECT,
            json!({"id": "unsure", "text": "a"}),
            "uncertain",
        ),
        (
            user,
            json!({"id": "fine", "markdown": {"title": "t", "text": "**b**"}}),
            "sent",
        ),
        (
            "dingtalk.outbound.sales.user.ghost",
            json!({"id": "ghost", "text": "c"}),
            "failed",
        ),
        (
            user,
            json!({"id": "late", "text": "d", "expires_at": "2020-01-01T00:00:00Z"}),
            "expired",
        ),
        (
            user,
            json!({"id": "odd", "text": "e", "colour": "red"}),
            "failed",
        ),
        (
            user,
            json!({"id": "two", "text": "f", "markdown": {"text": "f"}}),
            "failed",
        ),
        (
            user,
            json!({"id": "everybody", "text": "f", "mention": {"all": true}}),
            "failed",
        ),
        (
            user,
            json!({"id": "image", "image": {"url": "https://example.com/a.png"}}),
            "failed",
        ),
        (
            user,
            json!({"id": "other", "to": "user:somebody-else", "text": "g"}),
            "failed",
        ),
        (
            "dingtalk.outbound.sales.user.$:LWCP_v1:$abc",
            json!({"id": "lwcp", "text": "h"}),
            "failed",
        ),
        (
            "dingtalk.outbound.sales.user.cid6KeBBLoveMJOGXo==",
            json!({"id": "cid", "text": "i"}),
            "failed",
        ),
        (
            "dingtalk.outbound.sales.group.cid6KeBBLove==:manager1",
            json!({"id": "suffix", "text": "j"}),
            "failed",
        ),
        (
            "dingtalk.outbound.nobody.user.manager1",
            json!({"id": "unserved", "text": "k"}),
            "failed",
        ),
        (
            "dingtalk.outbound",
            json!({"id": "bare", "to": "user:manager1", "text": "l"}),
            "sent",
        ),
        (
            "dingtalk.outbound.sales",
            json!({"id": "account", "to": ["user:a", "user:b"], "text": "m"}),
            "sent",
        ),
    ]
}

#[tokio::test]
async fn p4_every_way_that_a_request_can_end_has_exactly_one_receipt() {
    let world = World::start().await;
    world
        .sim
        .inject(Fault::UnknownUser {
            user: "ghost".into(),
        })
        .await
        .unwrap();
    world
        .sim
        .inject(Fault::ApplyThenFail {
            path: GROUP_SEND_PATH.into(),
            status: 500,
            times: Some(1),
        })
        .await
        .unwrap();
    let expected = requests();
    for (subject, request, _) in &expected {
        world.request(subject, request).await;
    }
    let receipts = world.stored("DINGTALK_RECEIPT", expected.len()).await;
    wait::never(Duration::from_secs(2), "a second receipt", async || {
        messages(&world.nats, "DINGTALK_RECEIPT")
            .await
            .unwrap()
            .len()
            > expected.len()
    })
    .await;
    let outcomes: BTreeMap<&str, &str> = receipts
        .iter()
        .map(|stored| {
            (
                stored.body["id"].as_str().unwrap(),
                stored.body["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    for (_, request, outcome) in &expected {
        let id = request["id"].as_str().unwrap();
        let receipt = receipts
            .iter()
            .find(|stored| stored.body["id"] == id)
            .map(|stored| &stored.body);
        assert_eq!(outcomes.get(id), Some(outcome), "{id}: {receipt:?}");
    }
    let given_up = expected
        .iter()
        .filter(|(_, _, outcome)| matches!(*outcome, "failed" | "expired"))
        .count();
    kept_whole(&world, given_up).await;
    // And the stream of requests is empty: none waits, none is delivered again.
    wait::until_true("no request left", async || {
        messages(&world.nats, "DINGTALK_OUTBOUND")
            .await
            .is_none_or(|left| left.is_empty())
            || pending(&world).await == 0
    })
    .await;
}

/// What was given up is kept whole, with the reason.
async fn kept_whole(world: &World, given_up: usize) {
    let dead = world.stored("DINGTALK_DEAD", given_up).await;
    assert_eq!(dead.len(), given_up);
    let letter = dead
        .iter()
        .find(|stored| stored.body["id"] == "odd")
        .unwrap();
    assert_eq!(letter.subject, "dingtalk.dead.outbound.sales");
    assert_eq!(letter.header("Dingtalk-Dead-Reason"), "malformed");
    assert_eq!(letter.body["payload"]["colour"], "red");
    assert!(letter.body["detail"].as_str().unwrap().contains("colour"));
}

/// Messages in the stream of requests.
async fn pending(world: &World) -> u64 {
    let jetstream = world.nats.jetstream().await;
    let mut stream = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    stream.info().await.unwrap().state.messages
}

#[tokio::test]
async fn p5_one_key_is_one_visible_message_however_often_it_is_published() {
    let world = World::start().await;
    for _ in 0..5 {
        world
            .request(GROUP_SUBJECT, &json!({"id": "order-42", "text": "paid"}))
            .await;
    }
    world
        .request(GROUP_SUBJECT, &json!({"id": "last", "text": "last"}))
        .await;
    assert_eq!(world.receipt("last").await["outcome"], "sent");
    let sent = world.sim.delivered();
    let texts: Vec<&str> = sent.iter().map(|sent| sent.text()).collect();
    assert_eq!(texts, ["paid", "last"]);
    assert_eq!(
        messages(&world.nats, "DINGTALK_RECEIPT")
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn p5_after_an_unclear_answer_nothing_is_sent_again() {
    let world = World::start().await;
    world
        .sim
        .inject(Fault::ApplyThenHold {
            path: USER_SEND_PATH.into(),
            times: Some(1),
        })
        .await
        .unwrap();
    let subject = "dingtalk.outbound.sales.user.manager1";
    world
        .request(subject, &json!({"id": "once", "text": "once"}))
        .await;
    let receipt = world.receipt("once").await;
    assert_eq!(receipt["outcome"], "uncertain", "{receipt}");
    world
        .request(subject, &json!({"id": "once", "text": "once"}))
        .await;
    world
        .request(subject, &json!({"id": "next", "text": "next"}))
        .await;
    assert_eq!(world.receipt("next").await["outcome"], "sent");
    let sent = world.sim.delivered();
    let texts: Vec<&str> = sent.iter().map(|sent| sent.text()).collect();
    assert_eq!(texts, ["once", "next"]);
}

#[tokio::test]
async fn a_long_markdown_arrives_in_order_with_one_receipt_that_lists_its_parts() {
    let world = World::start().await;
    let paragraphs: Vec<String> = (0..60)
        .map(|number| format!("Paragraph {number}. {}", "word ".repeat(40)))
        .collect();
    let text = paragraphs.join("\n\n");
    world
        .request(
            GROUP_SUBJECT,
            &json!({"id": "long", "markdown": {"title": "Report", "text": text}}),
        )
        .await;
    let receipt = world.receipt("long").await;
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    let parts = receipt["parts"].as_array().unwrap();
    let sent = world.sim.delivered();
    assert!(parts.len() > 1);
    assert_eq!(parts.len(), sent.len());
    let joined: String = sent
        .iter()
        .map(|sent| sent.text())
        .collect::<Vec<_>>()
        .join("\n\n");
    for paragraph in &paragraphs {
        assert!(joined.contains(paragraph.trim_end()), "{paragraph}");
    }
    for (part, sent) in parts.iter().zip(&sent) {
        assert_eq!(
            part["process_query_key"].as_str(),
            sent.process_query_key.as_deref()
        );
    }
}

/// Pushes every frame and payload of the collection that is data; how many.
async fn push_collection(world: &World) -> u32 {
    let link = world.sim.live_links(CLIENT_ID)[0];
    let mut pushed = 0;
    let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/frames"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    files.sort();
    for name in &files {
        let number: u32 = name.split('-').next().unwrap().parse().unwrap();
        let value = support::frame(name);
        let text = value["_raw_text"].as_str().map(ToOwned::to_owned);
        let envelope = value.get("type").is_some_and(Value::is_string)
            && (value.get("headers").is_some() || value.get("header").is_some());
        // 120 and above are acks and HTTP bodies; SYSTEM frames are for the session.
        if (120..150).contains(&number) || value["type"] == "SYSTEM" {
            continue;
        }
        if envelope {
            world
                .sim
                .push_text(CLIENT_ID, Some(link), &value.to_string())
                .await
                .unwrap();
        } else {
            let topic = match number {
                70..=73 => "/v1.0/card/instances/callback",
                75 => "/v1.0/card/dynamicData/get",
                76..=78 => "/v1.0/graph/api/invoke",
                _ => "/v1.0/im/bot/messages/get",
            };
            let data = text.unwrap_or_else(|| value.to_string());
            let push = Push::new(CLIENT_ID, "CALLBACK", topic, data).on(link);
            world.sim.push(push).await.unwrap();
        }
        pushed += 1;
    }
    pushed
}

#[tokio::test]
async fn p6_every_frame_of_the_collection_is_kept_and_answered_where_it_can_be() {
    let world = World::start_with(support::world::options(), |setup| {
        setup.account("events = true\ndelegate = true")
    })
    .await;
    let pushed = push_collection(&world).await;
    assert!(pushed > 60, "{pushed}");
    // Frames that share an event id with an earlier one are the same event to the bridge.
    let received = async || {
        world
            .bridge
            .metric("nats_dingtalk_frames_received_total", &[])
            .await
    };
    wait::until_true("every frame", async || {
        received().await == f64::from(pushed)
    })
    .await;
    wait::until_true("nothing in flight", async || {
        world
            .bridge
            .metric("nats_dingtalk_frames_in_flight", &[])
            .await
            == 0.0
    })
    .await;
    let inbound = messages(&world.nats, "DINGTALK_INBOUND").await.unwrap();
    let dead = messages(&world.nats, "DINGTALK_DEAD").await.unwrap();
    let duplicates = ["outcome=\"duplicate\""];
    let duplicates = world
        .bridge
        .metric("nats_dingtalk_frames_total", &duplicates)
        .await;
    let kept = inbound.len() + dead.len();
    assert_eq!(kept as f64 + duplicates, f64::from(pushed));
    assert!(
        dead.len() >= 3,
        "unreadable data is kept with its reason: {}",
        dead.len()
    );
    let all: String = inbound
        .iter()
        .chain(&dead)
        .map(|stored| stored.body.to_string())
        .collect();
    assert!(
        !all.contains("sendBySession?session="),
        "a session webhook left the bridge"
    );
}
