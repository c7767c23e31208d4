//! What survives when the bridge or the broker dies at the worst moment.

use std::time::Duration;

use nats_dingtalk::broker::Bucket;
use nats_dingtalk::message::Outcome;
use nats_dingtalk::outbound::Drain;
use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH, USER_SEND_PATH};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{CALL, Stage};
use crate::support::wait;

const GROUP: &str = "cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_dies_in_the_middle_of_a_send_leaves_it_uncertain_and_unrepeated() {
    let stage = Stage::open(&["sales"]).await;
    let path = GROUP_SEND_PATH.to_owned();
    stage
        .inject(Fault::ApplyThenHold {
            path,
            times: Some(1),
        })
        .await;
    let subject = format!(".sales.group.{GROUP}");
    stage
        .publish(&subject, json!({"id": "doubt", "text": "once"}))
        .await;
    stage
        .publish(&subject, json!({"id": "behind", "text": "then"}))
        .await;
    let line = stage.start("sales");
    stage.sim.delivered_count(1).await.unwrap();
    line.kill().await;
    let killed = Instant::now();
    let _next = stage.start("sales");
    let receipt = stage.receipt("sales", "doubt").await;
    assert_eq!(receipt.outcome, Outcome::Uncertain);
    assert!(killed.elapsed() >= CALL, "it was given its time");
    assert_eq!(receipt.attempts, 1);
    assert_eq!(
        stage.receipt("sales", "behind").await.outcome,
        Outcome::Sent
    );
    stage.done().await;
    assert_eq!(stage.texts_to(GROUP), ["once", "then"]);
    assert_eq!(stage.receipts().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_written_but_not_told_is_told_without_sending_again() {
    let stage = Stage::open(&["sales"]).await;
    let sequence = stage
        .publish(".sales.user.u1", json!({"id": "known", "text": "a"}))
        .await;
    let at = stage.published_at(sequence).await;
    let receipt = json!({
        "id": "known", "account": "sales", "outcome": "failed", "code": "group.disbanded",
        "attempts": 1, "requested_at": at, "finished_at": at, "cost": 0,
    });
    let done =
        json!({"seq": sequence, "at": at, "state": "done", "receipt": receipt, "dead": "refused"});
    stage.leave("sales", "known", done).await;
    let line = stage.start("sales");
    stage.done().await;
    let told = stage.receipt("sales", "known").await;
    assert_eq!(told.code.as_deref(), Some("group.disbanded"));
    assert_eq!(stage.dead().await.len(), 1);
    assert!(stage.sim.sent().is_empty());
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_life_had_begun_goes_on_with_the_next_part() {
    let stage = Stage::open(&["sales"]).await;
    let text: String = (0..400)
        .map(|n| format!("line {n} of a long report\n\n"))
        .collect();
    let body = json!({"id": "parts", "markdown": {"title": "R", "text": text}});
    let sequence = stage.publish(&format!(".sales.group.{GROUP}"), body).await;
    let at = stage.published_at(sequence).await;
    let pending = json!({
        "seq": sequence, "at": at, "state": "pending", "owner": "somebody else", "part": 1, "parts": 3,
        "parts_done": [{"outcome": "sent", "via": "openapi", "process_query_key": "k1"}],
        "attempts": 1, "cost": 1, "via": "openapi",
    });
    stage.leave("sales", "parts", pending).await;
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "parts").await;
    assert_eq!(receipt.outcome, Outcome::Sent, "{receipt:?}");
    assert_eq!(receipt.parts.len(), 3);
    assert_eq!(receipt.process_query_key.as_deref(), Some("k1"));
    let texts = stage.texts_to(GROUP);
    assert_eq!(texts.len(), 2, "the first part is not repeated");
    assert!(!texts.concat().contains("line 0 "));
    assert!(texts.concat().contains("line 399 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_never_sent_over() {
    let stage = Stage::open(&["sales"]).await;
    stage
        .publish(".sales.user.u1", json!({"id": "strange", "text": "a"}))
        .await;
    stage
        .leave("sales", "strange", json!({"state": "of a later version"}))
        .await;
    let _line = stage.start("sales");
    let receipt = stage.receipt("sales", "strange").await;
    assert_eq!(receipt.outcome, Outcome::Uncertain);
    assert!(stage.sim.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_being_sent_and_leaves_the_rest_for_the_next() {
    let stage = Stage::open(&["sales"]).await;
    let path = USER_SEND_PATH.to_owned();
    stage
        .inject(Fault::Delay {
            path,
            ms: 700,
            times: Some(1),
        })
        .await;
    for n in 0..3 {
        stage
            .publish(
                ".sales.user.u1",
                json!({"id": format!("r{n}"), "text": format!("{n}")}),
            )
            .await;
    }
    let line = stage.start("sales");
    wait::until_true("a call under way", || async {
        let ledger = stage.broker.bucket(Bucket::Ledger);
        let entry = ledger.read("sales:r0").await.unwrap();
        entry.is_some_and(|entry| entry.value.windows(7).any(|bytes| bytes == b"sending"))
    })
    .await;
    assert_eq!(line.stop().await, Drain::Clean);
    assert_eq!(stage.texts_to("u1"), ["0"]);
    assert_eq!(stage.receipts().await, 1);
    let _next = stage.start("sales");
    stage.done().await;
    assert_eq!(stage.texts_to("u1"), ["0", "1", "2"]);
    assert_eq!(stage.receipts().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_under_load_costs_no_request_and_repeats_none() {
    let mut stage = Stage::open(&["sales"]).await;
    let path = USER_SEND_PATH.to_owned();
    stage
        .inject(Fault::Delay {
            path,
            ms: 40,
            times: None,
        })
        .await;
    stage.publish_load(120, 6).await;
    let _line = stage.start("sales");
    stage.sim.delivered_count(20).await.unwrap();
    stage.server.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stage.server.restart().await;
    stage.done().await;
    for user in 0..6 {
        let expected: Vec<String> = (0..120)
            .filter(|n| n % 6 == user)
            .map(|n| n.to_string())
            .collect();
        assert_eq!(stage.texts_to(&format!("u{user}")), expected);
    }
    for n in 0..120 {
        let receipt = stage.receipt("sales", &format!("r{n}")).await;
        assert_eq!(receipt.outcome, Outcome::Sent, "{receipt:?}");
    }
    assert_eq!(stage.receipts().await, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_killed_again_and_again_under_load_repeats_nothing() {
    let stage = Stage::open(&["sales"]).await;
    let path = USER_SEND_PATH.to_owned();
    stage
        .inject(Fault::Delay {
            path,
            ms: 60,
            times: None,
        })
        .await;
    stage.publish_load(60, 4).await;
    for sent in [8, 20] {
        let line = stage.start("sales");
        stage.sim.delivered_count(sent).await.unwrap();
        line.kill().await;
    }
    let _line = stage.start("sales");
    stage.done().await;
    let mut seen = stage.texts();
    let total = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), total, "nothing is visible twice");
    let mut uncertain = 0;
    for n in 0..60 {
        let receipt = stage.receipt("sales", &format!("r{n}")).await;
        let visible = seen.contains(&n.to_string());
        match receipt.outcome {
            Outcome::Sent => assert!(visible, "r{n}"),
            Outcome::Uncertain => uncertain += 1,
            other => panic!("r{n} ended as {other:?}"),
        }
    }
    assert!(
        uncertain <= 8,
        "only what was under way is in doubt: {uncertain}"
    );
    assert_eq!(stage.receipts().await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_replica_takes_over_in_order_and_repeats_nothing() {
    let stage = Stage::open(&["sales"]).await;
    let other = stage.server.broker().await;
    let path = USER_SEND_PATH.to_owned();
    let delay = Fault::Delay {
        path,
        ms: 50,
        times: None,
    };
    stage.inject(delay).await;
    stage.publish_load(80, 4).await;
    let first = stage.start("sales");
    stage.sim.delivered_count(4).await.unwrap();
    let _second = stage.start_on(&other, "sales", "secret-sales");
    stage.sim.delivered_count(24).await.unwrap();
    first.kill().await;
    stage.done().await;
    assert_eq!(stage.receipts().await, 80);
    for user in 0..4 {
        let numbers = |text: &String| text.parse::<u32>().unwrap();
        let seen: Vec<u32> = stage
            .texts_to(&format!("u{user}"))
            .iter()
            .map(numbers)
            .collect();
        let ascending = seen.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(ascending, "in order and once: {seen:?}");
        for n in (0..80).filter(|n| n % 4 == user) {
            let receipt = stage.receipt("sales", &format!("r{n}")).await;
            match receipt.outcome {
                Outcome::Sent => assert!(seen.contains(&n), "r{n}"),
                Outcome::Uncertain => {}
                other => panic!("r{n} ended as {other:?}"),
            }
        }
        assert!(seen.len() >= 19, "one a chat may be in doubt: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_another_bridge_took_over_is_let_go_with_all_that_waits_behind_it() {
    let stage = Stage::open(&["sales"]).await;
    let path = USER_SEND_PATH.to_owned();
    let busy = Fault::Reject {
        path,
        status: 429,
        body: String::new(),
        times: Some(1),
    };
    stage.inject(busy).await;
    for n in 0..3 {
        stage
            .publish(
                ".sales.user.u1",
                json!({"id": format!("r{n}"), "text": format!("{n}")}),
            )
            .await;
    }
    let _line = stage.start("sales");
    let ledger = stage.broker.bucket(Bucket::Ledger);
    let taken = || async {
        let Ok(Some(entry)) = ledger.read("sales:r0").await else {
            return false;
        };
        let mut record: Value = serde_json::from_slice(&entry.value).unwrap();
        if record["state"] != "pending" || record["attempts"] != 1 {
            return false;
        }
        record["owner"] = "another bridge".into();
        let value = record.to_string().into();
        ledger
            .update("sales:r0", value, entry.revision)
            .await
            .is_ok()
    };
    wait::until_true("another bridge to take it over while it waits", taken).await;
    stage.done().await;
    assert_eq!(stage.texts_to("u1"), ["0", "1", "2"]);
    assert_eq!(stage.receipts().await, 3);
    assert_eq!(stage.receipt("sales", "r0").await.attempts, 2);
}
