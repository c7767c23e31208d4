//! Answers through the session webhook, and what happens when it is gone.

use nats_dingtalk::message::{DeadReason, Kind, Outcome, SessionEntry, Timestamp, Via};
use nats_dingtalk::sim::{Fault, Message, SentVia};
use serde_json::json;

use super::stage::{Stage, account, app_of};

const GROUP: &str = "cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_takes_the_webhook_and_a_message_the_open_api() {
    let stage = Stage::open(&["sales"]).await;
    let inbound = stage
        .hear("sales", Message::in_group(GROUP, "u1", "hi"), Kind::Group)
        .await;
    let _line = stage.start("sales");
    let subject = format!(".sales.group.{GROUP}");
    for (id, body, via) in [
        (
            "reply",
            json!({"to": {"reply_to": inbound}, "text": "a"}),
            Via::Webhook,
        ),
        ("plain", json!({"text": "b"}), Via::Openapi),
        (
            "asked",
            json!({"via": "webhook", "text": "c"}),
            Via::Webhook,
        ),
        (
            "mention",
            json!({"mention": {"users": ["u1"]}, "text": "d"}),
            Via::Webhook,
        ),
        (
            "forced",
            json!({"to": {"reply_to": inbound}, "via": "openapi", "text": "e"}),
            Via::Openapi,
        ),
        (
            "raw",
            json!({"to": {"reply_to": inbound}, "raw": {"msg_key": "sampleText", "msg_param": {"content": "f"}}}),
            Via::Openapi,
        ),
    ] {
        let mut body = body;
        body["id"] = id.into();
        stage.publish(&subject, body).await;
        let receipt = stage.receipt("sales", id).await;
        assert_eq!(
            (receipt.outcome, receipt.via),
            (Outcome::Sent, Some(via)),
            "{id}"
        );
    }
    let ways: Vec<SentVia> = stage.sim.delivered().iter().map(|sent| sent.via).collect();
    let (hook, open) = (SentVia::Webhook, SentVia::Group);
    assert_eq!(ways, [hook, open, hook, hook, open, open]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_dingtalk_forgot_is_followed_by_the_open_api_unless_it_was_asked_for() {
    let stage = Stage::open(&["sales"]).await;
    let inbound = stage
        .hear("sales", Message::to_bot("u1", "hi"), Kind::User)
        .await;
    stage
        .inject(Fault::ExpireWebhook {
            app: app_of("sales"),
        })
        .await;
    let _line = stage.start("sales");
    stage
        .publish(
            ".sales.user.u1",
            json!({"id": "a", "to": {"reply_to": inbound}, "text": "a"}),
        )
        .await;
    let receipt = stage.receipt("sales", "a").await;
    assert_eq!(
        (receipt.outcome, receipt.via),
        (Outcome::Sent, Some(Via::Openapi))
    );
    assert_eq!(receipt.attempts, 2);
    stage
        .publish(
            ".sales.user.u1",
            json!({"id": "b", "via": "webhook", "text": "b"}),
        )
        .await;
    let receipt = stage.receipt("sales", "b").await;
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert!(receipt.message.unwrap().contains("session webhook"));
    assert_eq!(stage.texts_to("u1"), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_still_tells_the_chat_and_costs_no_call() {
    let stage = Stage::open(&["sales"]).await;
    let inbound = stage
        .hear("sales", Message::to_bot("u1", "hi"), Kind::User)
        .await;
    let mut entry = stage.session(&inbound).await;
    entry.expires_at = Timestamp::now();
    stage
        .keep(&SessionEntry::message_key(&inbound), &entry)
        .await;
    let chat = SessionEntry::chat_key(&account("sales"), Kind::User, "u1");
    stage.keep(&chat, &entry).await;
    let _line = stage.start("sales");
    stage
        .publish(
            ".sales.user.u1",
            json!({"id": "late", "to": {"reply_to": inbound}, "text": "a"}),
        )
        .await;
    let receipt = stage.receipt("sales", "late").await;
    assert_eq!(
        (receipt.outcome, receipt.via),
        (Outcome::Sent, Some(Via::Openapi))
    );
    assert_eq!(receipt.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_a_message_of_another_chat_is_refused() {
    let stage = Stage::open(&["sales"]).await;
    let inbound = stage
        .hear("sales", Message::to_bot("u1", "hi"), Kind::User)
        .await;
    let _line = stage.start("sales");
    stage
        .publish(
            ".sales.user.u2",
            json!({"id": "cross", "to": {"reply_to": inbound}, "text": "a"}),
        )
        .await;
    let receipt = stage.receipt("sales", "cross").await;
    assert_eq!(receipt.code.as_deref(), Some(DeadReason::Mismatch.as_str()));
    assert!(stage.sim.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_from_outside_is_answered_while_the_webhook_lives_and_never_by_the_open_api() {
    let stage = Stage::open(&["sales"]).await;
    let message = Message::to_bot("visitor", "hi").from_outsider();
    let inbound = stage.hear("sales", message, Kind::User).await;
    let entry = stage.session(&inbound).await;
    assert!(entry.chat.starts_with("cid"), "{}", entry.chat);
    let _line = stage.start("sales");
    stage.start_mover(&["sales"]);
    let subject = stage
        .subjects
        .outbound(&account("sales"), Kind::User, &entry.chat);
    let subject = subject
        .strip_prefix("dingtalk.outbound")
        .unwrap()
        .to_owned();
    stage
        .publish(&subject, json!({"id": "a", "text": "a"}))
        .await;
    stage
        .publish(
            "",
            json!({"id": "b", "to": {"reply_to": inbound}, "text": "b"}),
        )
        .await;
    for id in ["a", "b"] {
        let receipt = stage.receipt("sales", id).await;
        assert_eq!(
            (receipt.outcome, receipt.via),
            (Outcome::Sent, Some(Via::Webhook)),
            "{id}"
        );
    }
    stage
        .inject(Fault::ExpireWebhook {
            app: app_of("sales"),
        })
        .await;
    stage
        .publish(&subject, json!({"id": "c", "text": "c"}))
        .await;
    let receipt = stage.receipt("sales", "c").await;
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert!(receipt.message.unwrap().contains("staffId"));
    let shown = serde_json::to_string(&stage.dead().await).unwrap();
    assert!(!shown.contains("session="), "{shown}");
}
