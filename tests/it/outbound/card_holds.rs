//! Card requests whose account is held: they end in time, and wherever the account goes meanwhile,
//! each ends once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nats_dingtalk::config::Dingtalk;
use nats_dingtalk::dingtalk::api::{Api, Fetcher, Http};
use nats_dingtalk::message::{Brake, Outcome, QuotaStanding, Timestamp};
use nats_dingtalk::outbound::{Outbound, Parts};
use nats_dingtalk::sim::{CARD_PATH, CallRefusal, CardView};
use nats_dingtalk::telemetry::{CardChats, Seats};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::stage::{CALL, Stage, account, app_of};
use super::streams::with_cards;
use crate::support::sections;
use crate::support::wait;

const STANDING: &str = ".sales.card.standing";
const HELD: &str = ".sales.card.held";
/// Calls that the month has; more than anybody makes here.
const MONTH: u64 = 1000;

/// The month has one call left: enough to create a card, and not to show it.
fn leave_one_call(stage: &Stage) {
    let sales = account("sales");
    // The toll counts those too that the replicas do not share yet.
    let used = stage.metrics.meter().pending(&sales) + 1;
    let standing = QuotaStanding {
        used: Brake::free(MONTH) - used,
        limit: Some(MONTH),
        ..QuotaStanding::default()
    };
    stage.standings.set(&sales, standing);
}

fn turn_the_month(stage: &Stage) {
    let standing = QuotaStanding::default();
    stage.standings.set(&account("sales"), standing);
}

fn create(id: &str) -> Value {
    json!({"id": id, "to": "user:u1", "card": {"create": {}}})
}

fn update(id: &str) -> Value {
    json!({"id": id, "card": {"update": {"params": {"said_by": id}}}})
}

/// The same, for a short while only.
fn soon_over(mut request: Value) -> Value {
    let soon = Timestamp::now().after(Duration::from_millis(1500));
    request["expires_at"] = json!(soon.to_string());
    request
}

async fn sends_wait(stage: &Stage) {
    wait::until_true("sends of the account to wait", async || {
        let accounts = stage.health.snapshot().accounts;
        let sales = accounts.get(&account("sales"));
        sales.is_some_and(|sales| sales.sends_parked.is_some())
    })
    .await;
}

async fn holds(stage: &Stage, requests: &str) {
    let what = format!("{requests} requests to be held");
    wait::until_true(&what, async || {
        let held = stage.metric("nats_dingtalk_requests_held{");
        held.as_deref() == Some(requests)
    })
    .await;
}

fn shown(card: &CardView) -> usize {
    card.chats().count()
}

/// Starts the pipeline of the account as one of several replicas, between which `seats` moves it.
fn start_between(stage: &Stage, seats: &Seats) {
    let dingtalk = Dingtalk {
        media_hosts: vec!["127.0.0.1".to_owned()],
        ..sections::dingtalk(&stage.sim, CALL)
    };
    let http = Http::new(&dingtalk).unwrap();
    let section = sections::account(&app_of("sales"), "secret-sales");
    let metrics = stage.metrics.clone();
    let outbound = Outbound::new(Parts {
        account: account("sales"),
        api: Arc::new(Api::new(
            http,
            &dingtalk,
            account("sales"),
            &section,
            metrics,
        )),
        fetcher: Fetcher::new(&dingtalk).unwrap(),
        settings: stage.settings.clone(),
        broker: stage.broker.clone(),
        subjects: stage.subjects.clone(),
        standings: stage.standings.clone(),
        seats: seats.clone(),
        card_chats: CardChats::default(),
        metrics: stage.metrics.clone(),
        health: stage.health.clone(),
        timings: stage.timings.clone(),
    });
    tokio::spawn(outbound.run(CancellationToken::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_month_is_given_back_when_the_account_moves_and_ends_once() {
    let stage = with_cards().await;
    let seats = Seats::default();
    start_between(&stage, &seats);
    stage.publish(STANDING, create("standing")).await;
    stage.receipt("sales", "standing").await;
    stage.done().await;
    leave_one_call(&stage);
    stage.publish(HELD, create("held")).await;
    stage
        .sim
        .card_until("held", "to be created", |_| true)
        .await
        .unwrap();
    sends_wait(&stage).await;
    stage.publish(STANDING, update("update")).await;
    holds(&stage, "2").await;

    seats.set(BTreeMap::from([(account("sales"), "other".to_owned())]));
    holds(&stage, "0").await;
    assert_eq!(stage.receipts().await, 1, "nothing has its end yet");
    turn_the_month(&stage);
    seats.set(BTreeMap::new());

    for id in ["held", "update"] {
        let outcome = stage.receipt("sales", id).await.outcome;
        assert_eq!(outcome, Outcome::Sent, "{id}");
    }
    stage.done().await;
    assert_eq!(stage.receipts().await, 3);
    assert_eq!(shown(&stage.sim.card("held").unwrap()), 1);
    let standing = stage.sim.card("standing").unwrap();
    assert_eq!(standing.params["said_by"], "update");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_month_expires_in_time_and_its_card_may_be_asked_for_again() {
    let stage = with_cards().await;
    let _line = stage.start("sales");
    stage.publish(STANDING, create("standing")).await;
    stage.receipt("sales", "standing").await;
    stage.standings.exhaust(&account("sales"));
    stage.publish(STANDING, soon_over(update("late"))).await;
    let late = stage.receipt("sales", "late").await;
    assert_eq!((late.outcome, late.cost), (Outcome::Expired, 0));

    leave_one_call(&stage);
    stage.publish(HELD, soon_over(create("never"))).await;
    let never = stage.receipt("sales", "never").await;
    assert_eq!(never.outcome, Outcome::Expired);
    assert!(stage.sim.card("held").is_none_or(|card| shown(&card) == 0));

    turn_the_month(&stage);
    for (subject, body) in [(HELD, create("again")), (STANDING, update("timely"))] {
        let id = body["id"].as_str().unwrap().to_owned();
        stage.publish(subject, body).await;
        let outcome = stage.receipt("sales", &id).await.outcome;
        assert_eq!(outcome, Outcome::Sent, "{id}");
    }
    stage.done().await;
    assert_eq!(shown(&stage.sim.card("held").unwrap()), 1);
    let standing = stage.sim.card("standing").unwrap();
    assert_eq!(standing.params["said_by"], "timely");
    assert_eq!(stage.dead().await.len(), 2, "what expired is kept");
    assert_eq!(stage.receipts().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_of_an_account_that_is_held_expires_in_time_and_is_never_created() {
    let stage = with_cards().await;
    stage
        .refuse(CARD_PATH, CallRefusal::IpNotInWhitelist, None)
        .await;
    let _line = stage.start("sales");
    stage.publish(HELD, create("waits")).await;
    sends_wait(&stage).await;
    let calls = stage.sim.calls_of(CARD_PATH).len();
    let others = [".sales.card.other", ".sales.user.u2"];
    let stream = json!({"id": "piece", "stream": "answer", "append": "a", "done": true});
    for (subject, body) in others.into_iter().zip([create("late"), stream]) {
        stage.publish(subject, soon_over(body)).await;
    }
    for id in ["late", "piece"] {
        let receipt = stage.receipt("sales", id).await;
        assert_eq!(receipt.outcome, Outcome::Expired, "{id}");
    }
    assert_eq!(stage.sim.calls_of(CARD_PATH).len(), calls);
    assert!(stage.sim.cards().is_empty());
    assert!(stage.texts().is_empty());
    assert_eq!(stage.receipts().await, 2, "the one without an end waits");
}
