//! What a request may say, and how each one ends.

use std::time::Duration;

use nats_dingtalk::message::{DeadReason, Outcome, Timestamp, Via};
use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH, USER_SEND_PATH};
use serde_json::json;

use super::stage::Stage;
use crate::support::wait;

const GROUP: &str = "cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_text_on_a_canonical_subject_is_sent_and_receipted() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    let sequence = stage.publish(".sales.user.manager1", "hello").await;
    let receipt = stage.receipt("sales", &format!("seq-{sequence}")).await;
    assert_eq!(receipt.outcome, Outcome::Sent);
    assert_eq!(
        (receipt.via, receipt.attempts, receipt.cost),
        (Some(Via::Openapi), 1, 1)
    );
    assert!(receipt.process_query_key.is_some());
    assert_eq!(stage.texts_to("manager1"), ["hello"]);
    stage.done().await;
    let seen = stage.health.snapshot();
    assert!(
        seen.accounts
            .values()
            .all(|account| account.last_sent_at.is_some())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_gives_one_visible_message_and_one_receipt() {
    let stage = Stage::open(&["sales"]).await;
    let subject = ".sales.user.u1";
    stage
        .publish(subject, json!({"id": "order-42", "text": "first"}))
        .await;
    stage
        .publish(subject, json!({"id": "order-42", "text": "again"}))
        .await;
    stage
        .publish(
            ".sales.user.u2",
            json!({"id": "order-42", "text": "elsewhere"}),
        )
        .await;
    stage
        .publish_with(subject, &[("Nats-Msg-Id", "header-1")], "by header")
        .await;
    let _line = stage.start("sales");
    stage.done().await;
    assert_eq!(
        stage.receipt("sales", "order-42").await.outcome,
        Outcome::Sent
    );
    assert_eq!(
        stage.receipt("sales", "header-1").await.outcome,
        Outcome::Sent
    );
    assert_eq!(stage.receipts().await, 2);
    let mut texts = stage.texts();
    texts.sort();
    assert_eq!(texts.len(), 2, "{texts:?}");
    let duplicates = stage.metric("nats_dingtalk_requests_duplicate_total");
    assert_eq!(duplicates.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_has_its_receipt_and_what_was_given_up_its_dead_letter() {
    let stage = Stage::open(&["sales"]).await;
    stage
        .inject(Fault::UnknownUser {
            user: "ghost".into(),
        })
        .await;
    let path = GROUP_SEND_PATH.to_owned();
    stage
        .inject(Fault::ApplyThenHold {
            path,
            times: Some(1),
        })
        .await;
    let past = Timestamp::from_millis(1).to_string();
    stage
        .publish(".sales.user.u1", json!({"id": "sent", "text": "a"}))
        .await;
    stage
        .publish(".sales.user.ghost", json!({"id": "failed", "text": "b"}))
        .await;
    stage
        .publish(
            ".sales.user.u2",
            json!({"id": "expired", "text": "c", "expires_at": past}),
        )
        .await;
    stage
        .publish(
            &format!(".sales.group.{GROUP}"),
            json!({"id": "uncertain", "text": "d"}),
        )
        .await;
    let _line = stage.start("sales");
    stage.done().await;
    for (id, outcome) in [
        ("sent", Outcome::Sent),
        ("failed", Outcome::Failed),
        ("expired", Outcome::Expired),
        ("uncertain", Outcome::Uncertain),
    ] {
        assert_eq!(stage.receipt("sales", id).await.outcome, outcome, "{id}");
    }
    assert_eq!(stage.receipts().await, 4);
    let mut dead: Vec<_> = stage
        .dead()
        .await
        .into_iter()
        .map(|dead| (dead.id, dead.reason))
        .collect();
    dead.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        dead,
        [
            (Some("expired".to_owned()), DeadReason::Expired),
            (Some("failed".to_owned()), DeadReason::Refused),
        ]
    );
    assert_eq!(
        stage.texts_to(GROUP),
        ["d"],
        "the one in doubt is not sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_with_the_reason_and_never_sent() {
    let stage = Stage::open(&["sales"]).await;
    for (id, subject, payload, reason) in [
        (
            "other-chat",
            ".sales.user.u1",
            json!({"to": "user:u2", "text": "a"}),
            DeadReason::Mismatch,
        ),
        (
            "other-account",
            ".sales.user.u1",
            json!({"account": "ops", "text": "a"}),
            DeadReason::Mismatch,
        ),
        (
            "unknown-key",
            ".sales.user.u1",
            json!({"txt": "a"}),
            DeadReason::Malformed,
        ),
        (
            "no-bytes",
            ".sales.user.u1",
            json!({"image": {}}),
            DeadReason::Malformed,
        ),
        (
            "lwcp",
            ".sales.user.%24:LWCP_v1:$abc",
            json!({"text": "a"}),
            DeadReason::Target,
        ),
        (
            "suffix",
            ".sales.group.cid6KeB==:manager1",
            json!({"text": "a"}),
            DeadReason::Target,
        ),
        (
            "cid",
            &format!(".sales.user.{GROUP}"),
            json!({"text": "a"}),
            DeadReason::Target,
        ),
        (
            "card",
            ".sales.card.track-1",
            json!({"text": "a"}),
            DeadReason::Target,
        ),
    ] {
        let mut payload = payload;
        payload["id"] = id.into();
        stage.publish(subject, &payload).await;
        if id == "other-chat" {
            assert!(stage.is_on_disk().await);
        }
        let line = stage.start("sales");
        let receipt = stage.receipt("sales", id).await;
        assert_eq!(receipt.outcome, Outcome::Failed, "{id}");
        assert_eq!(receipt.code.as_deref(), Some(reason.as_str()), "{id}");
        assert!(receipt.message.is_some_and(|words| !words.is_empty()));
        stage.done().await;
        let dead = stage.dead().await.pop().unwrap();
        assert_eq!((dead.id.as_deref(), dead.reason), (Some(id), reason));
        assert_eq!(dead.payload, payload, "kept whole");
        line.stop().await;
    }
    assert!(stage.sim.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_refused_for_now_delays_no_other_and_keeps_its_order() {
    let stage = Stage::open(&["sales"]).await;
    stage
        .inject(Fault::FlowControlUser {
            user: "slow".into(),
        })
        .await;
    let soon = Timestamp::now().after(Duration::from_secs(8)).to_string();
    stage
        .publish(
            ".sales.user.slow",
            json!({"id": "slow-1", "text": "s1", "expires_at": soon}),
        )
        .await;
    stage
        .publish(
            ".sales.user.slow",
            json!({"id": "slow-2", "text": "s2", "expires_at": soon}),
        )
        .await;
    for n in 0..20 {
        stage
            .publish(
                ".sales.user.quick",
                json!({"id": format!("q{n}"), "text": format!("q{n}")}),
            )
            .await;
    }
    let _line = stage.start("sales");
    stage.receipt("sales", "q19").await;
    assert!(stage.receipts().await <= 20, "the slow chat is still held");
    let expected: Vec<String> = (0..20).map(|n| format!("q{n}")).collect();
    assert_eq!(stage.texts_to("quick"), expected);
    for id in ["slow-1", "slow-2"] {
        assert_eq!(stage.receipt("sales", id).await.outcome, Outcome::Expired);
    }
    let attempts = stage.sim.calls_of(USER_SEND_PATH).len();
    assert!(attempts > 21, "the slow one was tried again: {attempts}");
    stage.done().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_markdown_goes_out_in_order_with_one_receipt_that_lists_its_parts() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    let text: String = (0..700)
        .map(|n| format!("line {n} of a long report\n\n"))
        .collect();
    let body = json!({"id": "report", "markdown": {"title": "Report", "text": text}});
    stage.publish(&format!(".sales.group.{GROUP}"), body).await;
    let receipt = stage.receipt("sales", "report").await;
    assert_eq!(receipt.outcome, Outcome::Sent);
    assert!(receipt.parts.len() > 1);
    assert!(
        receipt
            .parts
            .iter()
            .all(|part| part.outcome == Outcome::Sent)
    );
    let texts = stage.texts_to(GROUP);
    assert_eq!(texts.len(), receipt.parts.len());
    let lines = |text: &String| -> Vec<u32> {
        let numbers = text.split("line ").skip(1);
        numbers
            .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
            .collect()
    };
    let all: Vec<u32> = texts.iter().flat_map(lines).collect();
    assert_eq!(all, (0..700).collect::<Vec<u32>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_whose_buttons_leave_no_room_for_its_text_is_refused_and_nothing_is_shown() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    let url = format!("https://x.example/{}", "u".repeat(2900));
    let card = json!({
        "title": "Report",
        "text": "a line of a long report\n".repeat(200),
        "buttons": vec![json!({"title": "open", "url": url}); 5],
    });
    stage
        .publish(
            ".sales.user.u1",
            json!({"id": "narrow", "action_card": card}),
        )
        .await;
    let receipt = stage.receipt("sales", "narrow").await;
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert_eq!(
        receipt.code.as_deref(),
        Some(DeadReason::Malformed.as_str())
    );
    stage.done().await;
    assert!(stage.sim.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_are_put_off_are_tried_again_alone_and_unknown_ones_are_named() {
    let stage = Stage::open(&["sales"]).await;
    stage
        .inject(Fault::UnknownUser {
            user: "ghost".into(),
        })
        .await;
    stage
        .inject(Fault::FlowControlUser {
            user: "busy".into(),
        })
        .await;
    let soon = Timestamp::now().after(Duration::from_secs(6)).to_string();
    let body = json!({"id": "all", "text": "hi", "expires_at": soon});
    stage.publish(".sales.user.u1%2Cghost%2Cbusy", body).await;
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "all").await;
    assert_eq!(receipt.outcome, Outcome::Expired);
    assert_eq!(receipt.refused_users, ["ghost"]);
    assert_eq!(receipt.unsent_users, ["busy"]);
    assert_eq!(stage.texts_to("u1"), ["hi"], "nobody gets it twice");
    assert!(receipt.attempts > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_and_broken_answers_are_tried_again_until_it_is_sent() {
    let stage = Stage::open(&["sales"]).await;
    let busy = r#"{"code":"send.too.fast","message":"限流"}"#;
    for (status, body) in [
        (400, busy),
        (429, ""),
        (503, r#"{"code":"serviceBusy","message":""}"#),
    ] {
        let path = USER_SEND_PATH.to_owned();
        let body = body.to_owned();
        stage
            .inject(Fault::Reject {
                path,
                status,
                body,
                times: Some(1),
            })
            .await;
    }
    stage
        .publish(".sales.user.u1", json!({"id": "a", "text": "a"}))
        .await;
    stage
        .publish(".sales.user.u1", json!({"id": "b", "text": "b"}))
        .await;
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "b").await;
    assert_eq!(receipt.outcome, Outcome::Sent);
    assert_eq!(stage.texts_to("u1"), ["a", "b"]);
    let first = stage.receipt("sales", "a").await;
    assert_eq!((first.outcome, first.attempts), (Outcome::Sent, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_refused_as_a_whole_is_held_and_the_others_go_on() {
    let stage = Stage::open(&["sales", "ops"]).await;
    let _wrong = stage.start_with("sales", "not the secret");
    let _right = stage.start("ops");
    stage
        .publish(".sales.user.u1", json!({"id": "held", "text": "a"}))
        .await;
    stage
        .publish(".ops.user.u1", json!({"id": "goes", "text": "b"}))
        .await;
    assert_eq!(stage.receipt("ops", "goes").await.outcome, Outcome::Sent);
    wait::until_true("the account to be held", || async {
        let seen = stage.health.snapshot();
        let held = |name: &str| {
            let account = seen.accounts.iter().find(|(key, _)| key.as_str() == name);
            account.is_some_and(|(_, account)| account.sends_parked.is_some())
        };
        held("sales") && !held("ops")
    })
    .await;
    assert_eq!(stage.receipts().await, 1);
    let shown = format!("{:?}", stage.health.snapshot());
    assert!(!shown.contains("not the secret"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_larger_than_a_message_leaves_its_body_in_the_object_store() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    // Every quote takes two bytes once it stands in a JSON string.
    let body = format!("{{{}", "\"".repeat(900_000));
    let sequence = stage.publish(".sales.user.u1", body).await;
    let receipt = stage.receipt("sales", &format!("seq-{sequence}")).await;
    assert_eq!(receipt.code.as_deref(), Some("malformed"));
    stage.done().await;
    let dead = stage.dead().await.pop().unwrap();
    assert!(dead.payload.is_null());
    let stream = stage.stream.get_stream("DINGTALK_DEAD").await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert!(message.headers.get("Dingtalk-Claim").is_some());
}
