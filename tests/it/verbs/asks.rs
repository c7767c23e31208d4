//! Sending, reactions, media, people and chats.

use std::sync::Arc;
use std::time::Duration;

use nats_dingtalk::dingtalk::api::{Api, Apis, Http};
use nats_dingtalk::message::{AccountName, Brake, QuotaStanding, Subjects};
use nats_dingtalk::sim::{
    Attachment, Fault, MEDIA_OBJECT_PATH, Message, Sim, UNION_ID_PATH, USER_SEND_PATH,
};
use nats_dingtalk::telemetry::{Metrics, Standings};
use nats_dingtalk::verbs::{Parts, Verbs};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{ask, denied, done};
use crate::support::bridge::{CLIENT_ID, CLIENT_SECRET};
use crate::support::nats::Nats;
use crate::support::world::{GROUP, World, options};
use crate::support::{sections, wait};

#[tokio::test]
async fn send_answers_with_the_receipt_and_the_same_id_sends_once() {
    let world = World::start().await;
    let question = json!({"id": "order-1", "to": "user:manager1", "text": "hello"});
    let receipt = done(&world.nats, "send", question.clone()).await;
    assert_eq!(
        (&receipt["id"], &receipt["outcome"]),
        (&json!("order-1"), &json!("sent"))
    );
    assert_eq!(done(&world.nats, "send", question).await, receipt);
    let named =
        json!({"account": "sales", "to": format!("group:{GROUP}"), "markdown": {"text": "**b**"}});
    let named = done(&world.nats, "send", named).await;
    assert!(named["id"].as_str().unwrap().starts_with("api-"));
    assert_eq!(world.sim.delivered().len(), 2);
    let (status, code) = denied(
        &world.nats,
        "send",
        json!({"to": format!("group:{GROUP}:manager1"), "text": "x"}),
    )
    .await;
    assert_eq!((status, code.as_str()), (400, "target"));
}

#[tokio::test]
async fn send_says_that_the_receipt_still_comes_when_it_is_late() {
    let world = World::start().await;
    let fault = Fault::Hold {
        path: USER_SEND_PATH.into(),
        times: Some(1),
    };
    world.sim.inject(fault).await.unwrap();
    let question = json!({"id": "slow", "to": "user:manager1", "text": "a", "timeout_ms": 300});
    let told = ask(&world.nats, "send", &question).await;
    assert_eq!(told.failure, Some(504));
    let cure = told.body["cure"].as_str().unwrap();
    assert!(cure.contains("dingtalk.receipt.sales.slow"), "{cure}");
    assert_eq!(world.receipt("slow").await["id"], "slow");
}

#[tokio::test]
async fn reactions_find_their_chat_and_are_taken_away_again() {
    let world = World::start().await;
    for message in [
        Message::in_group(GROUP, "manager1", "hi"),
        Message::to_bot("manager1", "hi"),
    ] {
        let msg_id = world.sim.say(CLIENT_ID, message).await.unwrap();
        world.sim.acked(&msg_id).await.unwrap();
        let question = json!({"message": format!("{CLIENT_ID}:{msg_id}"), "text": "🤔思考中"});
        // The session is kept beside the path of the message.
        wait::until_true("the session", async || {
            ask(&world.nats, "react", &question).await.failure.is_none()
        })
        .await;
        let shown = world.sim.emotions().pop().unwrap();
        assert_eq!((shown.msg_id, shown.text.as_str()), (msg_id, "🤔思考中"));
        assert_eq!(
            done(&world.nats, "unreact", question).await,
            json!({"done": true})
        );
        assert!(world.sim.emotions().pop().unwrap().recalled_at.is_some());
    }
}

#[tokio::test]
async fn media_is_told_by_object_and_by_download_code() {
    let world = World::start().await;
    let store = world.nats.jetstream().await;
    let store = store.get_object_store("DINGTALK_MEDIA").await.unwrap();
    store
        .put("report.pdf", &mut &b"%PDF-1.7"[..])
        .await
        .unwrap();
    let told = done(&world.nats, "media.url", json!({"object": "report.pdf"})).await;
    assert_eq!(
        (&told["object"], &told["size"]),
        (&json!("report.pdf"), &json!(8))
    );
    assert!(told["digest"].as_str().unwrap().len() > 40, "{told}");
    assert!(told.get("url").is_none());
    let (status, _) = denied(&world.nats, "media.url", json!({"object": "gone"})).await;
    assert_eq!(status, 404);

    let message = Message::to_bot("manager1", "").carrying(Attachment::file("a.txt", "abc"));
    let msg_id = world.sim.say(CLIENT_ID, message).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    let inbound = world.stored("DINGTALK_INBOUND", 1).await;
    let code = &inbound[0].body["raw"]["content"]["downloadCode"];
    let told = done(&world.nats, "media.url", json!({"download_code": code})).await;
    assert!(
        told["url"].as_str().unwrap().contains(MEDIA_OBJECT_PATH),
        "{told}"
    );
}

#[tokio::test]
async fn a_person_is_asked_for_once_and_nobody_is_an_answer() {
    let world = World::start().await;
    world.sim.set_union_id("union-1", "manager1");
    for _ in 0..2 {
        let told = done(
            &world.nats,
            "user.by_unionid",
            json!({"union_id": "union-1"}),
        )
        .await;
        assert_eq!(
            told,
            json!({"found": true, "staff_id": "manager1", "external": false})
        );
        let told = done(
            &world.nats,
            "user.by_unionid",
            json!({"union_id": "union-2"}),
        )
        .await;
        assert_eq!(told, json!({"found": false}));
    }
    let asked = world.sim.calls();
    let asked = asked.iter().filter(|call| call.path == UNION_ID_PATH);
    assert_eq!(asked.count(), 2);
}

#[tokio::test]
async fn a_chat_is_told_from_what_was_said_in_it() {
    let world = World::start().await;
    let unknown = done(&world.nats, "chat", json!({"chat": "user:somebody"})).await;
    assert_eq!(unknown["subject"], "dingtalk.outbound.sales.user.somebody");
    assert!(unknown.get("last_message").is_none());
    let message = Message::in_group(GROUP, "manager1", "hi");
    let msg_id = world.sim.say(CLIENT_ID, message).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    let chat = json!({"chat": format!("group:{GROUP}")});
    let told = wait::within(Duration::from_secs(10), "the session", async || {
        let told = done(&world.nats, "chat", chat.clone()).await;
        told["webhook_until"].is_string().then_some(told)
    })
    .await;
    assert_eq!(told["last_message"], format!("{CLIENT_ID}:{msg_id}"));
    assert_eq!(told["conversation"], GROUP);
    assert!(told["title"].is_string() && told["last_at"].is_string());
}

#[tokio::test]
async fn reactions_are_left_out_when_the_month_runs_short_and_say_so() {
    let nats = Nats::start().await;
    let sim = Sim::start(options()).await.unwrap();
    let dingtalk = sections::dingtalk(&sim, Duration::from_secs(5));
    let account = AccountName::parse("sales").unwrap();
    let section = sections::account(CLIENT_ID, CLIENT_SECRET);
    let http = Http::new(&dingtalk).unwrap();
    let api = Api::new(http, &dingtalk, account.clone(), &section, Metrics::new());
    let (apis, standings) = (Apis::default(), Standings::default());
    apis.set(account.clone(), Arc::new(api));
    let verbs = Verbs::new(Parts {
        broker: nats.broker().await,
        apis,
        standings: standings.clone(),
        subjects: Subjects::new("dingtalk").unwrap(),
        replica: "one".to_owned(),
        clients: Vec::new(),
    });
    let stop = CancellationToken::new();
    let task = tokio::spawn(verbs.run(stop.clone()));
    let question = json!({"message": "ding:msg", "conversation": GROUP, "text": "👀"});
    let brake = |brake| QuotaStanding {
        brake,
        ..QuotaStanding::default()
    };
    standings.set(&account, brake(Brake::NoReactions));
    for verb in ["react", "unreact"] {
        let told = done(&nats, verb, question.clone()).await;
        assert_eq!(told["done"], false);
        assert!(told["reason"].as_str().unwrap().contains("quota"));
    }
    assert!(sim.calls().is_empty(), "DingTalk is not asked");
    stop.cancel();
    task.await.unwrap();
}
