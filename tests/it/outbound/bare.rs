//! The bare subjects, and requests that nobody serves.

use nats_dingtalk::message::{DeadReason, Kind, Outcome};
use nats_dingtalk::outbound::Served;
use nats_dingtalk::sim::Message;
use serde_json::json;

use super::stage::{Stage, account, app_of};

const GROUP: &str = "cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_bare_subject_goes_to_its_chat_under_its_own_key() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    stage.start_mover(&["sales"]);
    let inbound = stage
        .hear("sales", Message::in_group(GROUP, "u1", "hi"), Kind::Group)
        .await;
    stage
        .publish("", json!({"id": "a", "to": "user:u1", "text": "a"}))
        .await;
    stage
        .publish_with(
            ".sales",
            &[("Nats-Msg-Id", "b")],
            json!({"to": format!("group:{GROUP}"), "text": "b"}),
        )
        .await;
    stage
        .publish(
            "",
            json!({"id": "c", "to": ["user:u1", "user:u2"], "text": "c"}),
        )
        .await;
    stage
        .publish(
            "",
            json!({"id": "d", "to": {"reply_to": inbound}, "text": "d"}),
        )
        .await;
    let last = stage
        .publish(".sales", json!({"to": "user:u1", "text": "e"}))
        .await;
    for id in ["a", "b", "c", "d", &format!("seq-{last}")] {
        assert_eq!(
            stage.receipt("sales", id).await.outcome,
            Outcome::Sent,
            "{id}"
        );
    }
    stage.done().await;
    assert_eq!(stage.texts_to("u1"), ["a", "c", "e"]);
    assert_eq!(stage.texts_to("u2"), ["c"]);
    assert_eq!(stage.texts_to(GROUP)[0], "b");
    assert_eq!(stage.receipts().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_twice_on_a_bare_subject_is_sent_once() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    stage.start_mover(&["sales"]);
    for text in ["first", "again"] {
        stage
            .publish("", json!({"id": "x", "to": "user:u1", "text": text}))
            .await;
    }
    stage
        .publish(".sales.user.u1", json!({"id": "x", "text": "once more"}))
        .await;
    stage.receipt("sales", "x").await;
    stage.done().await;
    assert_eq!(stage.texts().len(), 1);
    assert_eq!(stage.receipts().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_request_without_a_chat_that_can_be_told_is_refused() {
    let stage = Stage::open(&["sales", "ops"]).await;
    stage.start_mover(&["sales", "ops"]);
    for (id, subject, body, told, reason) in [
        (
            "no-account",
            "",
            json!({"to": "user:u1", "text": "a"}),
            "_",
            DeadReason::Target,
        ),
        (
            "no-target",
            ".sales",
            json!({"text": "a"}),
            "sales",
            DeadReason::Target,
        ),
        (
            "mismatch",
            ".sales",
            json!({"account": "ops", "to": "user:u1", "text": "a"}),
            "sales",
            DeadReason::Mismatch,
        ),
        (
            "unknown-reply",
            "",
            json!({"to": {"reply_to": "dingops:msg=="}, "text": "a"}),
            "ops",
            DeadReason::Target,
        ),
        (
            "lwcp",
            ".ops",
            json!({"to": "user:$:LWCP_v1:$x", "text": "a"}),
            "ops",
            DeadReason::Target,
        ),
    ] {
        let mut body = body;
        body["id"] = id.into();
        stage.publish(subject, body).await;
        let receipt = stage.receipt(told, id).await;
        assert_eq!(receipt.code.as_deref(), Some(reason.as_str()), "{id}");
    }
    let sequence = stage.publish(".sales", "plain text").await;
    let receipt = stage.receipt("sales", &format!("seq-{sequence}")).await;
    assert_eq!(
        receipt.code.as_deref(),
        Some(DeadReason::Malformed.as_str())
    );
    stage.done().await;
    assert_eq!(stage.dead().await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_request_that_came_before_the_consumer_of_its_account_waits_for_it() {
    let stage = Stage::open(&["sales"]).await;
    let served = Served::default();
    served.set([(account("sales"), app_of("sales"))]);
    stage.start_strays_serving(served);
    let early = json!({"id": "early", "text": "early"});
    stage.publish(".sales.user.u1", early).await;
    let astray = json!({"id": "astray", "text": "astray"});
    stage.publish(".nobody.user.u1", astray).await;
    // Whoever gave that one up saw the other one as often.
    let receipt = stage.receipt("nobody", "astray").await;
    assert_eq!(receipt.code.as_deref(), Some(DeadReason::Unserved.as_str()));
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "early").await;
    assert_eq!(receipt.outcome, Outcome::Sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_an_account_that_nobody_serves_does_not_wait_in_silence() {
    let stage = Stage::open(&["sales"]).await;
    let line = stage.start("sales");
    stage.start_mover(&["sales"]);
    stage.start_strays();
    stage
        .publish(".nobody.user.u1", json!({"id": "a", "text": "a"}))
        .await;
    stage
        .publish(
            "",
            json!({"id": "b", "account": "nobody", "to": "user:u1", "text": "b"}),
        )
        .await;
    stage
        .publish(".sales.robot.x", json!({"id": "c", "text": "c"}))
        .await;
    for (told, id, reason) in [
        ("nobody", "a", DeadReason::Unserved),
        ("nobody", "b", DeadReason::Unserved),
        ("sales", "c", DeadReason::Target),
    ] {
        let receipt = stage.receipt(told, id).await;
        assert_eq!(receipt.outcome, Outcome::Failed);
        assert_eq!(receipt.code.as_deref(), Some(reason.as_str()), "{id}");
    }
    stage.done().await;
    assert_eq!(stage.dead().await.len(), 3);
    line.stop().await;
}
