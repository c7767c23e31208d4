//! The service is found by the micro convention, and says what it takes.

use std::time::Duration;

use nats_dingtalk::message::Verb;
use serde_json::{Value, json};

use super::{ask, done};
use crate::support::wait;
use crate::support::world::World;

async fn srv(world: &World, what: &str) -> Value {
    let client = world.nats.client().await;
    let subject = format!("$SRV.{what}.dingtalk");
    let reply = wait::until(&subject, async || {
        client.request(subject.clone(), "".into()).await.ok()
    })
    .await;
    serde_json::from_slice(&reply.payload).unwrap()
}

#[tokio::test]
async fn the_service_is_discovered_with_a_valid_schema_for_every_request_and_reply() {
    let world = World::start().await;
    assert_eq!(srv(&world, "PING").await["name"], "dingtalk");
    let found = srv(&world, "INFO").await;
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    let clients = found["metadata"]["clients"].as_str().unwrap();
    assert!(clients.len() == 8 && !found.to_string().contains("dingsales"));
    assert!(!found["metadata"]["replica"].as_str().unwrap().is_empty());
    let endpoints = found["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), Verb::ALL.len());
    for verb in Verb::ALL {
        let subject = format!("dingtalk.api.{verb}");
        let found = endpoints.iter().find(|each| each["subject"] == subject);
        let endpoint = found.unwrap_or_else(|| panic!("{verb} is not announced"));
        assert_eq!(endpoint["queue_group"], "q");
        for part in ["request_schema", "reply_schema"] {
            let text = endpoint["metadata"][part].as_str().unwrap();
            let schema: Value = serde_json::from_str(text).unwrap();
            assert!(jsonschema::meta::is_valid(&schema), "{verb} {part}");
            jsonschema::validator_for(&schema).unwrap();
        }
    }
}

#[tokio::test]
async fn failures_follow_the_micro_convention_and_are_counted() {
    let world = World::start().await;
    for (verb, question, status) in [
        ("send", json!({"text": "a"}), 400),
        ("send", json!({"to": "user:u1", "txt": "a"}), 400),
        ("recall", json!({}), 400),
        ("recall", json!({"id": "nobody-sent-this"}), 404),
        ("react", json!({"message": "ding:gone", "text": "👀"}), 404),
        ("media.url", json!({}), 400),
        ("chat", json!({"chat": "manager1"}), 400),
        ("binding", json!({"session": "s"}), 404),
        ("cancel", json!({"id": "x"}), 404),
        (
            "user.by_unionid",
            json!({"account": "nobody", "union_id": "u"}),
            404,
        ),
    ] {
        let told = ask(&world.nats, verb, &question).await;
        assert_eq!(
            told.failure,
            Some(status),
            "{verb} {question}: {}",
            told.body
        );
        for key in ["code", "message"] {
            assert!(told.body[key].is_string(), "{verb}: {}", told.body);
        }
    }
    let told = super::tell(&world.nats, "recall", "no json".to_owned()).await;
    assert_eq!(
        (told.failure, &told.body["code"]),
        (Some(400), &json!("malformed"))
    );
    let stats = srv(&world, "STATS").await;
    let of = |name: &str| {
        let endpoints = stats["endpoints"].as_array().unwrap();
        let found = endpoints.iter().find(|each| each["name"] == name);
        found.unwrap().clone()
    };
    assert_eq!(of("recall")["num_requests"], 3);
    assert_eq!(of("recall")["data"]["failures"], 3);
    assert_eq!(of("user-by_unionid")["data"]["last_failure"], 404);
}

#[tokio::test]
async fn the_verbs_come_back_after_the_broker_and_go_first_at_a_stop() {
    let mut world = World::start().await;
    done(&world.nats, "chat", json!({"chat": "user:manager1"})).await;
    world.nats.kill();
    world.nats.restart().await;
    done(&world.nats, "chat", json!({"chat": "user:manager1"})).await;
    world.bridge.signal("TERM");
    let (status, _) = world.bridge.ended().await;
    assert!(status.success(), "{status}");
    let client = world.nats.client().await;
    let request = async_nats::Request::new()
        .payload("{}".into())
        .timeout(Some(Duration::from_secs(2)));
    let asked = client.send_request("dingtalk.api.chat", request).await;
    assert!(asked.is_err(), "nobody serves it");
}
