//! The monthly quota: counted by all replicas, held back in steps, a reserve kept for alerts.

use std::time::Duration;

use nats_dingtalk::sim::SimOptions;
use serde_json::{Value, json};

use crate::support::bridge::{Bridge, CLIENT_ID};
use crate::support::wait;
use crate::support::world::{World, messages, options};

async fn ready(bridge: &Bridge) -> Value {
    let answer = bridge.get("/ready?format=json").await;
    let body = answer.map(|answer| answer.1).unwrap_or_default();
    serde_json::from_str(&body).unwrap_or_default()
}

async fn brake(bridge: &Bridge, wanted: &str) {
    wait::until_true(&format!("the brake {wanted}"), async || {
        ready(bridge).await["accounts"]["sales"]["quota"]["brake"] == wanted
    })
    .await;
}

/// Publishes requests `from..to`, each to a chat of its own.
async fn publish(world: &World, from: usize, to: usize) {
    for number in from..to {
        let subject = format!("dingtalk.outbound.sales.group.cidQuota{number}==");
        let body = json!({"id": format!("q{number}"), "text": number.to_string()});
        world.request(&subject, &body).await;
    }
}

async fn alert(world: &World, id: &str) {
    let subject = "dingtalk.outbound.sales.group.cidAlerts==";
    let body = json!({"id": id, "text": id, "priority": "alert"});
    world.request(subject, &body).await;
}

#[tokio::test]
async fn what_is_used_is_shown_everywhere_and_the_brakes_come_step_by_step() {
    let setup = "quota = 1000\nrate = 900";
    let world = World::start_with(options(), |one| one.account(setup)).await;
    let second = world.setup().account(setup).start().await.ready().await;
    publish(&world, 0, 799).await;
    world.sim.delivered_count(799).await.unwrap();
    wait::until_true("the shared count", async || {
        let ready = ready(&second).await;
        ready["accounts"]["sales"]["quota"]["used"] == 799
    })
    .await;
    brake(&second, "off").await;
    let mut used = 799;
    for (next, wanted) in [
        (800, "merge_cards"),
        (900, "no_reactions"),
        (950, "no_cards"),
    ] {
        publish(&world, used, next).await;
        used = next;
        for bridge in [&world.bridge, &second] {
            brake(bridge, wanted).await;
        }
    }
    let page = second.get("/ready").await.unwrap();
    assert_eq!(page.0, 200, "{}", page.1);
    assert!(page.1.contains("950 calls used") && page.1.contains("1000 a month"));
    let label = ["account=\"sales\""];
    assert_eq!(
        second.metric("nats_dingtalk_quota_used", &label).await,
        950.0
    );
    assert_eq!(
        second.metric("nats_dingtalk_quota_limit", &label).await,
        1000.0
    );
    assert!(second.metric("nats_dingtalk_quota_forecast", &label).await >= 950.0);
    let all = messages(&world.nats, "DINGTALK_STATUS").await.unwrap();
    let said: Vec<&Value> = all
        .iter()
        .map(|stored| &stored.body)
        .filter(|body| body["type"] == "quota")
        .collect();
    let brakes: Vec<&str> = said
        .iter()
        .map(|body| body["brake"].as_str().unwrap())
        .collect();
    assert_eq!(
        brakes,
        ["merge_cards", "no_reactions", "no_cards"],
        "once each"
    );
    assert!(world.bridge.log().contains("monthly quota runs short"));
}

#[tokio::test]
async fn the_reserve_is_for_alerts_and_the_rest_waits_until_the_limit_is_raised() {
    let world = World::start_with(options(), |setup| setup.account("quota = 30")).await;
    publish(&world, 0, 25).await;
    world.sim.delivered_count(20).await.unwrap();
    let subject = "dingtalk.outbound.sales.group.cidShort==";
    let expires = nats_dingtalk::message::Timestamp::now().after(Duration::from_secs(3));
    let body = json!({"id": "short", "text": "short", "expires_at": expires});
    world.request(subject, &body).await;
    assert_eq!(world.receipt("short").await["outcome"], "expired");
    brake(&world.bridge, "alerts_only").await;
    let parked = ready(&world.bridge).await["accounts"]["sales"]["sends_parked"].clone();
    assert!(parked.as_str().unwrap().contains("20 of 30"), "{parked}");
    alert(&world, "fire").await;
    let receipt = world.receipt("fire").await;
    assert_eq!(
        (&receipt["outcome"], &receipt["cost"]),
        (&json!("sent"), &json!(1))
    );
    assert_eq!(
        world.sim.counters().delivered,
        21,
        "one alert and nothing else"
    );
    assert_eq!(
        messages(&world.nats, "DINGTALK_RECEIPT")
            .await
            .unwrap()
            .len(),
        22
    );

    let path = world.bridge.dir().join("config.toml");
    let raised = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, raised.replace("quota = 30", "quota = 300")).unwrap();
    world.sim.delivered_count(26).await.unwrap();
    wait::until_true("nothing parked", async || {
        let ready = ready(&world.bridge).await;
        ready["accounts"]["sales"]["sends_parked"].is_null()
    })
    .await;
    brake(&world.bridge, "off").await;
}

#[tokio::test]
async fn a_month_that_dingtalk_calls_used_up_parks_every_replica_until_a_call_goes_through() {
    let options = SimOptions {
        quota: Some(5),
        ..options()
    };
    let world = World::start_with(options, |setup| setup).await;
    let second = world.setup().start().await.ready().await;
    publish(&world, 0, 12).await;
    for bridge in [&world.bridge, &second] {
        brake(bridge, "exhausted").await;
    }
    assert_eq!(world.sim.counters().delivered, 5);
    let refused = world.sim.sent().len() - 5;
    assert!(refused <= 12, "nothing hammers: {refused}");
    // More was bought: the first alert finds that out.
    world.sim.turn_month();
    assert_eq!(world.sim.billed(CLIENT_ID), 0);
    alert(&world, "fire").await;
    assert_eq!(world.receipt("fire").await["outcome"], "sent");
    brake(&second, "off").await;
    wait::until_true("some of the rest", async || {
        world.sim.counters().delivered >= 10
    })
    .await;
    brake(&second, "exhausted").await;
    assert_eq!(world.sim.counters().delivered, 10);
}
