//! The pin goes to another bridge while this one holds requests, as after a moment without a connection.

use nats_dingtalk::sim::{Fault, USER_SEND_PATH};
use serde_json::json;

use super::stage::Stage;
use crate::support::books::pinned;
use crate::support::wait;

const CONSUMER: &str = "account-sales";

/// Takes the pin from whoever has it; one that waits beside gets it with the next message.
async fn unpin(stage: &Stage) {
    let client = stage.server.client().await;
    let subject = format!("$JS.API.CONSUMER.UNPIN.DINGTALK_OUTBOUND.{CONSUMER}");
    let question = json!({"group": "bridge"}).to_string();
    client.request(subject, question.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_bridge_that_lost_its_pin_leaves_what_waits_to_the_one_that_has_it() {
    let stage = Stage::open(&["sales"]).await;
    let slow = Fault::Delay {
        path: USER_SEND_PATH.to_owned(),
        ms: 1200,
        times: None,
    };
    stage.inject(slow).await;
    let texts: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let (last, first) = texts.split_last().unwrap();
    for text in first {
        stage.publish(".sales.user.u1", text).await;
    }
    let _first = stage.start("sales");
    stage.sim.delivered_count(1).await.unwrap();
    let before = pinned(&stage.server).await;
    assert!(before.is_some());
    let other = stage.server.broker().await;
    let _second = stage.start_on(&other, "sales", "secret-sales");
    let stream = stage.stream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    wait::until_true("the other bridge to wait beside", async || {
        stream.consumer_info(CONSUMER).await.unwrap().num_waiting >= 2
    })
    .await;
    unpin(&stage).await;
    stage.publish(".sales.user.u1", last).await;
    wait::until_true("the pin to move", async || {
        let now = pinned(&stage.server).await;
        now.is_some() && now != before
    })
    .await;
    stage.sim.delivered_count(texts.len()).await.unwrap();
    stage.done().await;
    assert_eq!(stage.texts_to("u1"), texts);
    assert_eq!(stage.receipts().await, texts.len() as u64);
}
