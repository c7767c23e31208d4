//! Taking messages back, and who read them.

use nats_dingtalk::sim::{Message, READ_STATUS_PATH};
use serde_json::json;

use super::{denied, done};
use crate::support::bridge::CLIENT_ID;
use crate::support::wait;
use crate::support::world::{GROUP, World};

#[tokio::test]
async fn a_request_is_recalled_with_all_its_parts_in_both_kinds_of_chat() {
    let world = World::start().await;
    let long = "a line of a long text\n\n".repeat(2000);
    for (id, to) in [
        ("user", "user:manager1".to_owned()),
        ("group", format!("group:{GROUP}")),
    ] {
        let sent = json!({"id": id, "to": to, "text": long});
        let receipt = done(&world.nats, "send", sent).await;
        let parts = receipt["parts"].as_array().unwrap().len();
        assert!(parts > 1);
        let told = done(&world.nats, "recall", json!({"id": id})).await;
        assert_eq!(told["recalled"].as_array().unwrap().len(), parts);
        assert_eq!(told["failed"], json!({}));
        assert!(world.sim.visible().is_empty());
    }
}

#[tokio::test]
async fn keys_beyond_one_call_are_recalled_and_those_that_stay_are_named() {
    let world = World::start().await;
    let mut keys = Vec::new();
    for number in 0..23 {
        let sent = json!({"to": "user:manager1", "text": format!("{number}")});
        let receipt = done(&world.nats, "send", sent).await;
        keys.push(receipt["process_query_key"].as_str().unwrap().to_owned());
    }
    keys.push("nobody-sent-this".to_owned());
    let question = json!({"account": "sales", "chat": "user:manager1", "keys": keys});
    let told = done(&world.nats, "recall", question).await;
    assert_eq!(told["recalled"].as_array().unwrap().len(), 23);
    let failed = told["failed"].as_object().unwrap();
    assert_eq!(failed.keys().collect::<Vec<_>>(), ["nobody-sent-this"]);
    assert!(world.sim.visible().is_empty());
}

#[tokio::test]
async fn what_went_through_a_webhook_cannot_be_recalled_and_says_so() {
    let world = World::start().await;
    let message = Message::to_bot("manager1", "hi");
    let msg_id = world.sim.say(CLIENT_ID, message).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    let to = json!({"reply_to": format!("{CLIENT_ID}:{msg_id}")});
    let receipt = wait::until("a webhook answer", async || {
        let question = json!({"to": to, "via": "webhook", "text": "a"});
        let told = super::ask(&world.nats, "send", &question).await;
        (told.body["outcome"] == "sent").then_some(told.body)
    })
    .await;
    let (status, code) = denied(&world.nats, "recall", json!({"id": receipt["id"]})).await;
    assert_eq!((status, code.as_str()), (409, "webhook"));
}

#[tokio::test]
async fn who_read_a_message_is_asked_once_for_all_who_ask_together() {
    let world = World::start().await;
    let sent = json!({"id": "news", "to": ["user:a", "user:b"], "text": "news"});
    let receipt = done(&world.nats, "send", sent).await;
    let key = receipt["process_query_key"].as_str().unwrap();
    world.sim.read(key, "a").unwrap();
    let ask = || done(&world.nats, "read_status", json!({"id": "news"}));
    let (first, second) = tokio::join!(ask(), ask());
    assert_eq!(first, second);
    let message = &first["messages"][0];
    assert_eq!(
        (&message["key"], &message["status"]),
        (&json!(key), &json!("SUCCESS"))
    );
    assert_eq!(
        (&message["read"], &message["unread"]),
        (&json!(["a"]), &json!(["b"]))
    );
    let calls = world.sim.calls();
    let calls = calls.iter().filter(|call| call.path == READ_STATUS_PATH);
    assert_eq!(calls.count(), 1);
}
