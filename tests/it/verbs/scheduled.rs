//! Requests that are not to be sent before their time.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use nats_dingtalk::message::Timestamp;
use nats_dingtalk::sim::Sim;
use serde_json::{Value, json};

use super::{denied, done, from_now};
use crate::support::bridge::{CLIENT_ID, Setup};
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{GROUP, World, messages, options};

const USER: &str = "dingtalk.outbound.sales.user.manager1";

/// A world whose broker has a schedule stream without schedules, as an older server would.
async fn without_schedules() -> World {
    let nats = Nats::start().await;
    let stream = Config {
        name: "DINGTALK_SCHEDULE".to_owned(),
        subjects: vec!["dingtalk.schedule.>".to_owned()],
        max_messages_per_subject: 1,
        allow_direct: true,
        ..Config::default()
    };
    nats.jetstream().await.create_stream(stream).await.unwrap();
    let sim = Sim::start(options()).await.unwrap();
    let setup = Setup::new(&nats.url(), sim.api_url());
    let bridge = setup.start().await.ready().await;
    sim.connected(CLIENT_ID, 1).await.unwrap();
    World { nats, sim, bridge }
}

/// How many requests wait for their time.
async fn waiting(world: &World) -> usize {
    let stored = messages(&world.nats, "DINGTALK_SCHEDULE").await;
    stored.map_or(0, |stored| stored.len())
}

async fn until_waiting(world: &World, count: usize) {
    wait::until_true("requests that wait", async || waiting(world).await == count).await;
}

fn texts(sim: &Sim) -> Vec<String> {
    let sent = sim.delivered();
    sent.iter().map(|sent| sent.text().to_owned()).collect()
}

/// Every request of `ids` ended as sent, not before `at`, and once.
async fn all_sent(world: &World, ids: &[&str], at: &str) {
    let at = Timestamp::parse(at).unwrap();
    for id in ids {
        let receipt = world.receipt(id).await;
        assert_eq!(receipt["outcome"], "sent", "{receipt}");
        let finished = Timestamp::parse(receipt["finished_at"].as_str().unwrap()).unwrap();
        assert!(finished >= at, "{id} was sent too early");
        let asked = Timestamp::parse(receipt["requested_at"].as_str().unwrap()).unwrap();
        assert!(asked < at, "{id} keeps when it was asked for");
    }
    assert_eq!(waiting(world).await, 0, "nothing is left behind");
}

async fn wait_and_are_sent(world: &World) {
    let at = from_now(3000);
    let request = |id: &str, to: Option<&str>| {
        let mut body = json!({"id": id, "text": id, "not_before": at});
        if let Some(to) = to {
            body["to"] = to.into();
        }
        body
    };
    world.request(USER, &request("canonical", None)).await;
    world
        .request("dingtalk.outbound", &request("bare", Some("user:manager1")))
        .await;
    // A second publication under the same key.
    world.request(USER, &request("canonical", None)).await;
    until_waiting(world, 2).await;
    world
        .request(USER, &json!({"id": "now", "text": "now"}))
        .await;
    assert_eq!(world.receipt("now").await["outcome"], "sent");
    assert_eq!(texts(&world.sim), ["now"], "what is due goes first");
    all_sent(world, &["canonical", "bare"], &at).await;
    world.request(USER, &request("canonical", None)).await;
    let hour = from_now(3_600_000);
    world
        .request(
            USER,
            &json!({"id": "now", "text": "now", "not_before": hour}),
        )
        .await;
    wait::never(Duration::from_secs(1), "sent twice", async || {
        world.sim.delivered().len() > 3 || waiting(world).await > 0
    })
    .await;
    assert_eq!(world.stored("DINGTALK_RECEIPT", 3).await.len(), 3);
}

#[tokio::test]
async fn a_request_waits_for_its_time_and_is_sent_once() {
    wait_and_are_sent(&World::start().await).await;
}

#[tokio::test]
async fn a_request_waits_for_its_time_where_the_broker_has_no_schedules() {
    let world = without_schedules().await;
    wait_and_are_sent(&world).await;
    let jetstream = world.nats.jetstream().await;
    let mut stream = jetstream.get_stream("DINGTALK_SCHEDULE").await.unwrap();
    assert!(!stream.info().await.unwrap().config.allow_message_schedules);
}

#[tokio::test]
async fn requests_of_one_instant_are_sent_in_the_order_of_publishing() {
    let world = World::start().await;
    let at = from_now(2500);
    let ids: Vec<String> = (0..20).map(|number| format!("n{number:02}")).collect();
    for id in &ids {
        let body = json!({"id": id, "text": id, "not_before": at});
        let subject = format!("dingtalk.outbound.sales.group.{GROUP}");
        world.request(&subject, &body).await;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    all_sent(&world, &ids, &at).await;
    assert_eq!(texts(&world.sim), ids);
}

async fn survive(mut world: World) {
    let at = from_now(4000);
    let ids = ["one", "two", "three"];
    for id in ids {
        world
            .request(USER, &json!({"id": id, "text": id, "not_before": at}))
            .await;
    }
    until_waiting(&world, 3).await;
    let setup = world.setup();
    let World { nats, sim, bridge } = world;
    let dir = bridge.kill();
    world = World {
        bridge: setup.in_dir(dir).start().await,
        nats,
        sim,
    };
    world.nats.kill();
    // The time comes while the broker is away.
    let due = Timestamp::parse(&at).unwrap();
    wait::until_true("the time", async || Timestamp::now() > due).await;
    world.nats.restart().await;
    all_sent(&world, &ids, &at).await;
    assert_eq!(texts(&world.sim).len(), 3);
}

#[tokio::test]
async fn waiting_requests_survive_a_kill_of_the_bridge_and_of_the_broker() {
    survive(World::start().await).await;
}

#[tokio::test]
async fn the_same_holds_where_the_broker_has_no_schedules() {
    survive(without_schedules().await).await;
}

#[tokio::test]
async fn a_time_that_makes_no_sense_is_refused_at_once() {
    let world = World::start().await;
    let later = from_now(3_600_000);
    for (id, subject, extra) in [
        (
            "ends-first",
            USER,
            json!({"not_before": later, "expires_at": later}),
        ),
        (
            "too-far",
            USER,
            json!({"not_before": from_now(367 * 24 * 3_600_000)}),
        ),
        (
            "bare-too-far",
            "dingtalk.outbound",
            json!({"not_before": from_now(367 * 24 * 3_600_000), "to": "user:manager1"}),
        ),
        (
            "two-contents",
            USER,
            json!({"not_before": later, "markdown": {"text": "b"}}),
        ),
        (
            "unserved",
            "dingtalk.outbound.nobody",
            json!({"not_before": later, "to": "user:manager1"}),
        ),
    ] {
        let mut body = extra;
        body["id"] = id.into();
        body["text"] = "a".into();
        world.request(subject, &body).await;
        let receipts = wait::until(id, async || {
            let all = messages(&world.nats, "DINGTALK_RECEIPT").await?;
            all.into_iter().find(|stored| stored.body["id"] == id)
        })
        .await;
        assert_eq!(receipts.body["outcome"], "failed");
    }
    assert_eq!(waiting(&world).await, 0);
}

async fn called_off(world: &World) {
    let at = from_now(3_600_000);
    world
        .request(
            USER,
            &json!({"id": "reminder", "text": "a", "not_before": at}),
        )
        .await;
    until_waiting(world, 1).await;
    let receipt = done(&world.nats, "cancel", json!({"id": "reminder"})).await;
    let told = |key: &str| receipt[key].as_str().unwrap().to_owned();
    assert_eq!(
        (told("outcome"), told("code")),
        ("failed".into(), "cancelled".into())
    );
    let (status, _) = denied(&world.nats, "cancel", json!({"id": "reminder"})).await;
    assert_eq!(status, 404);
    assert_eq!(world.receipt("reminder").await, receipt);
    until_waiting(world, 0).await;
    assert_eq!(world.sim.delivered().len(), 0);
    let again: Value = json!({"id": "reminder", "to": "user:manager1", "text": "a"});
    assert_eq!(
        done(&world.nats, "send", again).await,
        receipt,
        "its key is used up"
    );
}

#[tokio::test]
async fn a_request_that_waits_is_called_off_and_has_its_receipt() {
    called_off(&World::start().await).await;
}

#[tokio::test]
async fn it_is_called_off_where_the_broker_has_no_schedules() {
    called_off(&without_schedules().await).await;
}
