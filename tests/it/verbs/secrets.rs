//! P8: none of the verbs gives a secret away.

use nats_dingtalk::sim::{Attachment, Fault, Message, RECALL_USER_PATH, TOKEN_PATH};
use serde_json::{Value, json};

use super::{ask, done};
use crate::support::bridge::{CLIENT_ID, CLIENT_SECRET, client};
use crate::support::wait;
use crate::support::world::{World, messages};

/// The token that the bridge uses now.
async fn token(world: &World) -> String {
    let answer = client()
        .post(format!("{}{TOKEN_PATH}", world.sim.api_url()))
        .header("content-type", "application/json")
        .body(json!({"appKey": CLIENT_ID, "appSecret": CLIENT_SECRET}).to_string())
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    answer["accessToken"].as_str().unwrap().to_owned()
}

/// The sessions of all webhooks that were pushed.
fn sessions(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for frame in world.sim.frames() {
        for part in frame.text.unwrap_or_default().split("session=").skip(1) {
            found.push(
                part.chars()
                    .take_while(char::is_ascii_alphanumeric)
                    .collect(),
            );
        }
    }
    found
}

#[tokio::test]
async fn p8_no_verb_gives_a_secret_away() {
    let world = World::start().await;
    let message = Message::to_bot("manager1", "").carrying(Attachment::file("a.txt", "abc"));
    let msg_id = world.sim.say(CLIENT_ID, message).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    let inbound = format!("{CLIENT_ID}:{msg_id}");
    let chat = json!({"chat": "user:manager1"});
    wait::until_true("the session", async || {
        done(&world.nats, "chat", chat.clone()).await["webhook_until"].is_string()
    })
    .await;
    let code = &world.stored("DINGTALK_INBOUND", 1).await[0].body["raw"]["content"]["downloadCode"];
    let mut replies = String::new();
    let noisy = format!("session={CLIENT_SECRET}");
    let fault = Fault::Reject {
        path: RECALL_USER_PATH.into(),
        status: 400,
        body: json!({"code": "odd", "message": format!("appSecret={CLIENT_SECRET} {noisy}")})
            .to_string(),
        times: Some(1),
    };
    world.sim.inject(fault).await.unwrap();
    for (verb, question) in [
        (
            "send",
            json!({"id": "r", "to": {"reply_to": inbound}, "via": "webhook", "text": "a"}),
        ),
        (
            "send",
            json!({"id": "o", "to": "user:manager1", "text": "a"}),
        ),
        ("recall", json!({"id": "o"})),
        ("recall", json!({"id": "o"})),
        ("recall", json!({"id": "r"})),
        ("read_status", json!({"id": "o"})),
        ("react", json!({"message": inbound, "text": "👀"})),
        ("unreact", json!({"message": inbound, "text": "👀"})),
        ("media.url", json!({"object": "gone"})),
        ("chat", chat.clone()),
        ("user.by_unionid", json!({"union_id": "u"})),
        (
            "bind",
            json!({"session": "s", "chat": {"kind": "direct", "id": "manager1"}}),
        ),
        ("binding", json!({"session": "s"})),
        ("unbind", json!({"session": "s"})),
        ("cancel", json!({"id": "o"})),
    ] {
        replies.push_str(&ask(&world.nats, verb, &question).await.raw);
    }
    // The address behind a code is what is asked for; it goes nowhere but into the reply.
    let address = done(&world.nats, "media.url", json!({"download_code": code})).await;
    let address = address["url"].as_str().unwrap().to_owned();
    let mut secrets = sessions(&world);
    assert!(!secrets.is_empty());
    secrets.extend([CLIENT_SECRET.to_owned(), token(&world).await, address]);
    let mut seen = vec![("replies", replies), ("log", world.bridge.log())];
    let (_, metrics) = world.bridge.get("/metrics").await.unwrap();
    seen.push(("metrics", metrics));
    for stream in [
        "DINGTALK_RECEIPT",
        "DINGTALK_DEAD",
        "DINGTALK_STATUS",
        "DINGTALK_SCHEDULE",
        "DINGTALK_BACKLOG",
    ] {
        let all = messages(&world.nats, stream).await.unwrap();
        seen.push((stream, format!("{all:?}")));
    }
    for secret in &secrets {
        for (place, text) in &seen {
            assert!(!text.contains(secret.as_str()), "a secret in {place}");
        }
    }
}
