//! Deliveries that never reach the bridge while later ones do, as after a cut at an unlucky moment.

use futures_util::StreamExt;
use serde_json::json;

use super::stage::Stage;
use crate::support::books::pinned;
use crate::support::wait;

const CONSUMER: &str = "account-sales";
/// Deliveries that go elsewhere.
const LOST: usize = 5;

/// Takes deliveries of the bridge under its own pin and answers none of them.
async fn steal(stage: &Stage) -> async_nats::Subscriber {
    let client = stage.server.client().await;
    let stream = stage.stream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    let pin = pinned(&stage.server).await.unwrap();
    let inbox = client.new_inbox();
    let stolen = client.subscribe(inbox.clone()).await.unwrap();
    let pull = json!({"batch": LOST, "expires": 60_000_000_000_u64, "group": "bridge", "id": pin});
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.DINGTALK_OUTBOUND.{CONSUMER}");
    let pull = pull.to_string().into();
    client
        .publish_with_reply(subject, inbox, pull)
        .await
        .unwrap();
    wait::until_true("the thief to wait beside the bridge", async || {
        stream.consumer_info(CONSUMER).await.unwrap().num_waiting >= 2
    })
    .await;
    stolen
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_behind_a_delivery_that_went_astray_wait_until_it_comes_again() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    stage.publish(".sales.user.u0", "pins the consumer").await;
    stage.done().await;
    let stolen = steal(&stage).await;
    let texts: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    for text in &texts {
        stage.publish(".sales.user.u1", text).await;
    }
    assert_eq!(stolen.take(LOST).count().await, LOST);
    stage.done().await;
    assert_eq!(stage.texts_to("u1"), texts);
    assert_eq!(stage.receipts().await, 41);
}
