//! P3, outbound: a chat with many waiting requests delays no other, and keeps its own order wherever
//! they wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nats_dingtalk::message::{Outcome, QuotaStanding, Timestamp};
use nats_dingtalk::sim::Fault;
use serde_json::json;

use super::stage::{Stage, account};
use crate::support::wait;

/// The user whom DingTalk throttles until it is told otherwise.
const CROWDED: &str = "crowded";
/// What "in seconds" means for a chat beside a crowded one, on a machine that does much else.
const SOON: Duration = Duration::from_secs(60);

/// Publishes requests `<user>-<n>` that say their number, without waiting for each.
async fn flood(stage: &Stage, user: &str, numbers: std::ops::Range<usize>) {
    let client = stage.server.client().await;
    for n in numbers {
        let body = json!({"id": format!("{user}-{n}"), "text": n.to_string()});
        let subject = format!("dingtalk.outbound.sales.user.{user}");
        let payload = body.to_string().into();
        client.publish(subject, payload).await.unwrap();
    }
    client.flush().await.unwrap();
}

async fn hold(stage: &Stage, user: &str) {
    let user = user.to_owned();
    stage.inject(Fault::FlowControlUser { user }).await;
}

/// Messages in a stream.
async fn count(stage: &Stage, stream: &str) -> u64 {
    let stream = stage.stream.get_stream(stream).await.unwrap();
    stream.cached_info().state.messages
}

/// Waits until as many requests are in the backlog.
async fn backlog_of(stage: &Stage, least: u64) {
    let what = format!("{least} requests in the backlog");
    wait::within(Duration::from_secs(60), &what, async || {
        (count(stage, "DINGTALK_BACKLOG").await >= least).then_some(())
    })
    .await;
}

/// Waits until nothing waits anywhere.
async fn all_done(stage: &Stage) {
    let patience = Duration::from_secs(120);
    wait::within(patience, "every request to end", async || {
        let left = count(stage, "DINGTALK_OUTBOUND").await + count(stage, "DINGTALK_BACKLOG").await;
        (left == 0).then_some(())
    })
    .await;
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_twenty_thousand_requests_of_one_chat_delay_no_other_and_none_that_comes_later() {
    let stage = Stage::open(&["sales"]).await;
    hold(&stage, CROWDED).await;
    let _line = stage.start("sales");
    let begun = Instant::now();
    flood(&stage, CROWDED, 0..20_000).await;
    stage
        .publish(".sales.user.other", json!({"id": "behind", "text": "a"}))
        .await;
    wait::within(SOON, "the request behind them", async || {
        (stage.receipts().await >= 1).then_some(())
    })
    .await;
    let behind = begun.elapsed();
    let receipt = stage.receipt("sales", "behind").await;
    assert_eq!(receipt.outcome, Outcome::Sent);
    backlog_of(&stage, 19_500).await;
    println!(
        "20 000 requests are in the backlog after {:?}, one behind them was sent after {behind:?}",
        begun.elapsed()
    );
    for n in 0..20 {
        let begun = Instant::now();
        let id = format!("later-{n}");
        let body = json!({"id": id, "text": "b"});
        stage.publish(&format!(".sales.user.u{n}"), body).await;
        stage.receipt("sales", &id).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{id}");
    }
    assert!(stage.texts_to(CROWDED).is_empty());
    let held = stage.metric("nats_dingtalk_requests_held").unwrap();
    assert!(held.parse::<u64>().unwrap() < 300, "{held}");
    let waiting = stage.metric("nats_dingtalk_requests_backlog").unwrap();
    assert!(waiting.parse::<u64>().unwrap() > 19_500, "{waiting}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_crowded_chat_keeps_its_order_through_the_backlog_with_one_receipt_each() {
    let stage = Stage::open(&["sales"]).await;
    hold(&stage, CROWDED).await;
    let _line = stage.start("sales");
    flood(&stage, CROWDED, 0..1500).await;
    backlog_of(&stage, 1200).await;
    stage.sim.clear_faults();
    // While it moves on, more comes.
    flood(&stage, CROWDED, 1500..2000).await;
    all_done(&stage).await;
    assert_eq!(stage.texts_to(CROWDED), numbers(2000));
    assert_eq!(stage.receipts().await, 2000);
    assert!(stage.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_pipeline_that_dies_twice_among_its_backlog_loses_and_doubles_nothing() {
    let stage = Stage::open(&["sales"]).await;
    hold(&stage, CROWDED).await;
    let line = stage.start("sales");
    flood(&stage, CROWDED, 0..1000).await;
    // In the middle of the move.
    backlog_of(&stage, 100).await;
    line.kill().await;
    let line = stage.start("sales");
    backlog_of(&stage, 700).await;
    stage.sim.clear_faults();
    stage.sim.delivered_count(300).await.unwrap();
    // In the middle of the way back.
    line.kill().await;
    let other = stage.server.broker().await;
    let _line = stage.start_on(&other, "sales", "secret-sales");
    all_done(&stage).await;
    let seen = stage.texts_to(CROWDED);
    assert_eq!(stage.receipts().await, 1000);
    // The call that was under way when it died may have arrived, or not.
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "none twice");
    assert!(seen.len() >= 999, "{}", seen.len());
    let order: Vec<usize> = seen.iter().map(|text| text.parse().unwrap()).collect();
    assert!(order.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_backlog_is_taken_over_though_nothing_new_comes() {
    let stage = Stage::open(&["sales"]).await;
    hold(&stage, CROWDED).await;
    let line = stage.start("sales");
    flood(&stage, CROWDED, 0..600).await;
    backlog_of(&stage, 400).await;
    stage.sim.clear_faults();
    // Everything that is not in the backlog ends, then the bridge is gone.
    wait::until_true("the queue to be empty", async || {
        count(&stage, "DINGTALK_OUTBOUND").await == 0
    })
    .await;
    line.stop().await;
    let left = count(&stage, "DINGTALK_BACKLOG").await;
    assert!(left > 0, "nothing is left to take over");
    let other = stage.server.broker().await;
    let _line = stage.start_on(&other, "sales", "secret-sales");
    all_done(&stage).await;
    assert_eq!(stage.texts_to(CROWDED), numbers(600));
    assert_eq!(stage.receipts().await, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_alerts_pass_five_thousand_requests_that_wait_for_the_month() {
    let stage = Stage::open(&["sales"]).await;
    stage.standings.exhaust(&account("sales"));
    let _line = stage.start("sales");
    let client = stage.server.client().await;
    for user in 0..5000 {
        let subject = format!("dingtalk.outbound.sales.user.u{user}");
        client.publish(subject, "a".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    backlog_of(&stage, 1500).await;
    let begun = Instant::now();
    for n in 0..5 {
        let id = format!("alert-{n}");
        let body = json!({"id": id, "text": "fire", "priority": "alert"});
        stage.publish(&format!(".sales.user.guard{n}"), body).await;
    }
    wait::within(SOON, "the alerts to be told", async || {
        (stage.receipts().await >= 5).then_some(())
    })
    .await;
    for n in 0..5 {
        let receipt = stage.receipt("sales", &format!("alert-{n}")).await;
        assert_eq!(receipt.outcome, Outcome::Sent);
    }
    println!("five alerts were sent after {:?}", begun.elapsed());
    assert_eq!(stage.receipts().await, 5);
    stage
        .standings
        .set(&account("sales"), QuotaStanding::default());
    all_done(&stage).await;
    assert_eq!(stage.receipts().await, 5005);
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_list_of_users_keeps_its_place_among_backlogs() {
    let stage = Stage::open(&["sales"]).await;
    hold(&stage, "a").await;
    let _line = stage.start("sales");
    flood(&stage, "a", 0..400).await;
    backlog_of(&stage, 200).await;
    let both = json!({"id": "both", "text": "both"});
    stage.publish(".sales.user.a%2Cb", both).await;
    flood(&stage, "b", 0..3).await;
    flood(&stage, "a", 400..402).await;
    wait::never(Duration::from_secs(1), "b waits for the list", async || {
        !stage.texts_to("b").is_empty()
    })
    .await;
    stage.sim.clear_faults();
    all_done(&stage).await;
    let mut a = numbers(400);
    a.extend(["both", "400", "401"].map(str::to_owned));
    assert_eq!(stage.texts_to("a"), a);
    assert_eq!(stage.texts_to("b"), ["both", "0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_backlog_of_an_account_that_nobody_serves_ends_with_receipts() {
    let stage = Stage::open(&["sales"]).await;
    hold(&stage, CROWDED).await;
    let line = stage.start("sales");
    flood(&stage, CROWDED, 0..300).await;
    backlog_of(&stage, 100).await;
    line.stop().await;
    stage.broker.retire(&account("sales")).await.unwrap();
    stage.start_strays();
    all_done(&stage).await;
    assert_eq!(stage.receipts().await, 300);
    assert_eq!(stage.dead().await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_the_backlog_keeps_its_key_its_time_and_its_own_deadline() {
    let stage = Stage::open(&["sales"]).await;
    hold(&stage, CROWDED).await;
    let _line = stage.start("sales");
    stage.start_mover(&["sales"]);
    flood(&stage, CROWDED, 0..250).await;
    let subject = format!(".sales.user.{CROWDED}");
    let headers = [("Nats-Msg-Id", "by-header"), ("traceparent", "00-1")];
    let before = Timestamp::now();
    stage.publish_with(&subject, &headers, "named").await;
    let published = Timestamp::now();
    let unnamed = stage.publish(&subject, "unnamed").await;
    let soon = Timestamp::now().after(Duration::from_secs(1));
    let body = json!({"id": "late", "text": "late", "expires_at": soon.to_string()});
    stage.publish(&subject, body).await;
    let after = Timestamp::now().after(Duration::from_secs(8)).to_string();
    let body = json!({"id": "later", "text": "later", "not_before": after});
    stage.publish(&subject, body).await;
    backlog_of(&stage, 50).await;
    wait::until_true("the deadline to pass", async || Timestamp::now() > soon).await;
    stage.sim.clear_faults();
    let receipt = stage.receipt("sales", "by-header").await;
    assert!((before..=published).contains(&receipt.requested_at));
    let receipt = stage.receipt("sales", &format!("seq-{unnamed}")).await;
    assert_eq!(receipt.outcome, Outcome::Sent);
    assert_eq!(
        stage.receipt("sales", "late").await.outcome,
        Outcome::Expired
    );
    let receipt = stage.receipt("sales", "later").await;
    assert!(receipt.finished_at >= Timestamp::parse(&after).unwrap());
    all_done(&stage).await;
    assert_eq!(stage.receipts().await, 254);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_bridge_stows_behind_the_back_of_this_one_is_served_once() {
    let stage = Stage::open(&["sales"]).await;
    let _line = stage.start("sales");
    let served = stage.publish(".sales.user.u1", json!({"id": "served", "text": "a"}));
    let served = served.await;
    stage.done().await;
    // What a bridge that has lost its pin may still do: one that was sent since, and one that was not.
    let stowed = [("served", "a", served), ("kept", "b", served + 1)];
    for (id, text, sequence) in stowed {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Dingtalk-Stowed-Sequence", sequence.to_string());
        headers.insert("Dingtalk-Stowed-Time", Timestamp::now().to_string());
        let body = json!({"id": id, "text": text}).to_string();
        let subject = "dingtalk.backlog.sales.user.u1";
        let stream = &stage.stream;
        let sent = stream.publish_with_headers(subject, headers, body.into());
        sent.await.unwrap().await.unwrap();
    }
    all_done(&stage).await;
    assert_eq!(stage.texts_to("u1"), ["a", "b"]);
    assert_eq!(stage.receipt("sales", "kept").await.outcome, Outcome::Sent);
    assert_eq!(stage.receipts().await, 2);
}
