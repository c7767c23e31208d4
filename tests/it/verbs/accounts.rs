//! Several accounts: what one asks or waits for is nothing to another.

use std::time::Duration;

use nats_dingtalk::sim::{Message, Sim, SimApp, SimOptions};
use serde_json::{Value, json};

use super::{ask, done};
use crate::support::bridge::{CLIENT_ID, CLIENT_SECRET, Setup};
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{GROUP, World, options};

/// Client id of the second account, `support`.
const SUPPORT: &str = "dingsupport00000000";

/// A bridge with `sales` and `support`; the latter is parked when its secret is wrong.
async fn world(secret: &str) -> World {
    let options = SimOptions {
        apps: vec![
            SimApp::new(CLIENT_ID, CLIENT_SECRET),
            SimApp::new(SUPPORT, "right"),
        ],
        ..options()
    };
    let nats = Nats::start().await;
    let sim = Sim::start(options).await.unwrap();
    let bridge = Setup::new(&nats.url(), sim.api_url())
        .extra(&format!(
            "[accounts.support]\nclient_id = \"{SUPPORT}\"\nclient_secret = \"{secret}\""
        ))
        .start()
        .await;
    sim.connected(CLIENT_ID, 1).await.unwrap();
    World { nats, sim, bridge }
}

#[tokio::test]
async fn an_id_that_another_account_used_is_sent_to_a_reply_and_to_a_session() {
    let world = world("right").await;
    world.sim.connected(SUPPORT, 1).await.unwrap();
    let msg_id = world
        .sim
        .say(SUPPORT, Message::to_bot("manager1", "hi"))
        .await
        .unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    let inbound = format!("{SUPPORT}:{msg_id}");
    // The session is kept beside the path of the message.
    wait::until_true("the session", async || {
        let question = json!({"message": inbound, "text": "👀"});
        ask(&world.nats, "react", &question).await.failure.is_none()
    })
    .await;
    let chat = json!({"kind": "direct", "id": "manager1"});
    let bind = json!({"session": "orders", "account": "support", "chat": chat});
    done(&world.nats, "bind", bind).await;
    for (id, to) in [
        ("order-42", json!({"reply_to": inbound})),
        ("order-43", json!({"session": "orders"})),
    ] {
        let other = json!({"id": id, "account": "sales", "to": "user:manager1", "text": "sales"});
        let receipt = done(&world.nats, "send", other).await;
        assert_eq!(receipt["account"], "sales", "{receipt}");
        let question = json!({"id": id, "to": to, "text": "support"});
        let receipt = done(&world.nats, "send", question.clone()).await;
        assert_eq!(
            (&receipt["account"], &receipt["outcome"]),
            (&json!("support"), &json!("sent")),
            "{receipt}"
        );
        assert_eq!(done(&world.nats, "send", question).await, receipt);
    }
    let sent = world.sim.delivered();
    let texts: Vec<&str> = sent.iter().map(|sent| sent.text()).collect();
    assert_eq!(texts, ["sales", "support", "sales", "support"]);
}

#[tokio::test]
async fn many_who_wait_for_an_account_that_is_held_keep_nobody_from_an_answer() {
    let world = world("wrong").await;
    let chat = json!({"kind": "group", "id": GROUP});
    let bind = json!({"session": "deploys", "account": "sales", "chat": chat});
    done(&world.nats, "bind", bind).await;
    // One connection, so that the broker passes them on in this order.
    let client = world.nats.client().await;
    let inbox = client.new_inbox();
    for number in 0..100 {
        let question = json!({
            "id": format!("held-{number}"), "account": "support", "to": "user:manager1",
            "text": "held", "timeout_ms": 60_000,
        });
        client
            .publish_with_reply(
                "dingtalk.api.send",
                inbox.clone(),
                question.to_string().into(),
            )
            .await
            .unwrap();
    }
    let question = json!({"account": "sales", "to": format!("group:{GROUP}"), "text": "free"});
    let request = async_nats::Request::new()
        .payload(question.to_string().into())
        .timeout(Some(Duration::from_secs(20)));
    let reply = client.send_request("dingtalk.api.send", request).await;
    let receipt: Value = serde_json::from_slice(&reply.unwrap().payload).unwrap();
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    let told = done(&world.nats, "binding", json!({"session": "deploys"})).await;
    assert_eq!(told["bound"]["account"], "sales");
    let sent = world.sim.delivered();
    let texts: Vec<&str> = sent.iter().map(|sent| sent.text()).collect();
    assert_eq!(texts, ["free"]);
}
