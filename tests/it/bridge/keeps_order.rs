//! P3: order inside one chat; one chat never delays another, one account never another.

use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH, Message, SimApp, SimOptions};
use serde_json::json;

use crate::support::bridge::{CLIENT_ID, CLIENT_SECRET};
use crate::support::wait;
use crate::support::world::{GROUP, World, options};

#[tokio::test]
async fn p3_inbound_order_of_a_chat_is_the_order_of_arrival() {
    let world = World::start_with(options(), |setup| setup.account("connections = 1")).await;
    for number in 0..200 {
        let group = if number % 2 == 0 {
            GROUP
        } else {
            "cidSecondGroup000000=="
        };
        let said = Message::in_group(group, "u", number.to_string());
        world.sim.say(CLIENT_ID, said).await.unwrap();
    }
    let stored = world.stored("DINGTALK_INBOUND", 200).await;
    let texts: Vec<String> = stored
        .iter()
        .map(|stored| stored.body["message"]["text"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn p3_outbound_order_of_a_chat_is_the_order_of_publishing_through_throttling() {
    let world = World::start().await;
    let throttled =
        json!({"code": "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", "message": "slow down"});
    world
        .sim
        .inject(Fault::Reject {
            path: GROUP_SEND_PATH.into(),
            status: 403,
            body: throttled.to_string(),
            times: Some(2),
        })
        .await
        .unwrap();
    let subject = format!("dingtalk.outbound.sales.group.{GROUP}");
    for number in 0..12 {
        let request = json!({"id": format!("n{number}"), "text": number.to_string()});
        world.request(&subject, &request).await;
    }
    let sent = world.sim.delivered_count(12).await.unwrap();
    let texts: Vec<&str> = sent.iter().map(|sent| sent.text()).collect();
    let expected: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
    let receipt = world.receipt("n0").await;
    assert_eq!(receipt["outcome"], "sent");
    assert!(receipt["attempts"].as_u64().unwrap() >= 2, "{receipt}");
}

#[tokio::test]
async fn p3_a_hanging_chat_delays_no_other_chat() {
    let world = World::start().await;
    world
        .sim
        .inject(Fault::Hold {
            path: GROUP_SEND_PATH.into(),
            times: Some(1),
        })
        .await
        .unwrap();
    let hanging = format!("dingtalk.outbound.sales.group.{GROUP}");
    world
        .request(&hanging, &json!({"id": "hang", "text": "hang"}))
        .await;
    wait::until_true("the call that hangs", async || {
        !world.sim.calls_of(GROUP_SEND_PATH).is_empty()
    })
    .await;
    world
        .request(&hanging, &json!({"id": "behind", "text": "behind"}))
        .await;
    for user in ["ann", "bob"] {
        let subject = format!("dingtalk.outbound.sales.user.{user}");
        world
            .request(&subject, &json!({"id": user, "text": "hi"}))
            .await;
    }
    for user in ["ann", "bob"] {
        assert_eq!(world.receipt(user).await["outcome"], "sent");
    }
    assert!(world.sim.delivered().iter().all(|sent| sent.text() == "hi"));
    assert_eq!(world.receipt("hang").await["outcome"], "uncertain");
    assert_eq!(world.receipt("behind").await["outcome"], "sent");
}

#[tokio::test]
async fn p3_an_account_with_wrong_credentials_is_parked_and_the_other_works() {
    let other = "dingsupport00000000";
    let options = SimOptions {
        apps: vec![
            SimApp::new(CLIENT_ID, CLIENT_SECRET),
            SimApp::new(other, "right"),
        ],
        ..options()
    };
    let nats = crate::support::nats::Nats::start().await;
    let sim = nats_dingtalk::sim::Sim::start(options).await.unwrap();
    let bridge = crate::support::bridge::Setup::new(&nats.url(), sim.api_url())
        .extra(&format!(
            "[accounts.support]\nclient_id = \"{other}\"\nclient_secret = \"wrong\""
        ))
        .start()
        .await;
    sim.connected(CLIENT_ID, 2).await.unwrap();
    let reason = wait::until("the parked account", async || {
        let (status, body) = bridge.get("/ready?format=json").await?;
        let ready: serde_json::Value = serde_json::from_str(&body).ok()?;
        let link = &ready["accounts"]["support"]["links"]["0"];
        let parked = link["state"] == "parked" && status == 503;
        parked.then(|| link["reason"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(
        reason.contains("Client Secret"),
        "the reason names what to check: {reason}"
    );
    let said = Message::in_group(GROUP, "u", "still here?");
    let msg_id = sim.say(CLIENT_ID, said).await.unwrap();
    sim.acked(&msg_id).await.unwrap();
}
