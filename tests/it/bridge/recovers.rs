//! What the bridge does after something was full, or changed twice in a moment.

use async_nats::jetstream::stream::DiscardPolicy;
use nats_dingtalk::sim::{Burst, Fault, GROUP_SEND_PATH, Message};
use serde_json::json;

use crate::support::bridge::CLIENT_ID;
use crate::support::wait;
use crate::support::world::{GROUP, World, options};

/// Limits the messages of the inbound stream, as an operator would.
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
async fn limit(world: &World, messages: i64) {
    let jetstream = world.nats.jetstream().await;
    let stream = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_messages = messages;
    config.discard = DiscardPolicy::New;
    jetstream.update_stream(config).await.unwrap();
}

async fn frames(world: &World, name: &str, labels: &[&str]) -> f64 {
    let name = format!("nats_dingtalk_frames_{name}");
    world.bridge.metric(&name, labels).await
}

#[tokio::test]
async fn p1_a_stream_that_is_full_costs_no_frame_its_ack_its_place_or_its_count() {
    let world = World::start_with(options(), |setup| setup.account("connections = 1")).await;
    limit(&world, 10).await;
    let burst = Burst {
        app: CLIENT_ID.into(),
        count: 400,
        groups: 1,
        ..Burst::default()
    };
    let report = world.sim.burst(&burst).await.unwrap();
    world
        .sim
        .wait_for("every ack", |sim| {
            (sim.counters().acked >= 400).then_some(())
        })
        .await
        .unwrap();
    wait::until_true("nothing in flight", async || {
        frames(&world, "in_flight", &[]).await == 0.0
    })
    .await;
    assert_eq!(frames(&world, "received_total", &[]).await, 400.0);
    assert_eq!(frames(&world, "total", &[]).await, 400.0);
    assert_eq!(frames(&world, "total", &["stored"]).await, 10.0);
    limit(&world, -1).await;
    let stored = world.stored("DINGTALK_INBOUND", 400).await;
    let ids: Vec<String> = stored
        .iter()
        .map(|stored| stored.header("Dingtalk-Msg-Id").to_owned())
        .collect();
    let expected: Vec<String> = (0..400).map(|number| report.msg_id(number)).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_spool_that_was_full_is_ready_again_once_it_is_drained() {
    let mut world = World::start_with(options(), |setup| {
        setup
            .extra("[inbound]\nsoft_budget = \"200ms\"\nhard_budget = \"900ms\"")
            .spool("max_bytes = \"1MiB\"")
    })
    .await;
    world.nats.kill();
    let large = "x".repeat(60_000);
    for _ in 0..24 {
        let message = Message::in_group(GROUP, "u", large.clone());
        world.sim.say(CLIENT_ID, message).await.unwrap();
    }
    wait::until_true("a spool that says it is full", async || {
        let (_, page) = world.bridge.get("/ready").await.unwrap();
        page.lines()
            .any(|line| line.starts_with("spool") && line.contains("down"))
    })
    .await;
    world.nats.restart().await;
    wait::until_true("readiness", async || {
        matches!(world.bridge.get("/ready").await, Some((200, _)))
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_removed_and_added_again_in_a_moment_comes_back() {
    let world = World::start().await;
    // A call that hangs keeps the account draining while it comes back.
    let hold = Fault::Hold {
        path: GROUP_SEND_PATH.into(),
        times: Some(1),
    };
    world.sim.inject(hold).await.unwrap();
    let subject = format!("dingtalk.outbound.sales.group.{GROUP}");
    let request = json!({"id": "hang", "text": "hang"});
    world.request(&subject, &request).await;
    wait::until_true("the call that hangs", async || {
        !world.sim.calls_of(GROUP_SEND_PATH).is_empty()
    })
    .await;
    let path = world.bridge.dir().join("config.toml");
    let whole = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = whole.split_once("[accounts.sales]").unwrap();
    let (_, after) = rest.split_once("[spool]").unwrap();
    let other = "[accounts.other]\nclient_id = \"dingother\"\nclient_secret = \"x\"\n";
    let without = format!("{before}{other}[spool]{after}");
    let changed = format!("{}\n{other}", whole.trim_end());
    for (text, said) in [
        (&without, "account removed or draining"),
        (&changed, "back"),
    ] {
        let reloads = world.bridge.log().matches("configuration reloaded").count();
        std::fs::write(&path, text).unwrap();
        world.bridge.signal("HUP");
        wait::until_true(said, async || {
            world.bridge.log().matches("configuration reloaded").count() > reloads
        })
        .await;
    }
    assert_eq!(world.receipt("hang").await["outcome"], "uncertain");
    wait::until_true("both connections of the account", async || {
        let ready = world.bridge.get("/ready").await;
        let up = ready.is_some_and(|(_, page)| page.contains("account sales: 2 of 2"));
        up && world.sim.live_links(CLIENT_ID).len() == 2
    })
    .await;
    let said = Message::in_group(GROUP, "u", "still here?");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
}

#[tokio::test]
async fn p6_a_frame_whose_id_no_subject_can_hold_is_a_dead_letter_and_stops_no_other() {
    let world = World::start_with(options(), |setup| setup.account("events = true")).await;
    let endless = "e".repeat(5000);
    let event = world
        .sim
        .emit_event(CLIENT_ID, &endless, json!({}))
        .await
        .unwrap();
    let said = Message::in_group(GROUP, "u", "behind");
    let behind = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&behind).await.unwrap();
    world.sim.acked(&event).await.unwrap();
    let dead = world.stored("DINGTALK_DEAD", 1).await;
    assert_eq!(dead[0].body["reason"], "undecodable");
    let detail = dead[0].body["detail"].as_str().unwrap();
    assert!(detail.contains("1024"), "{detail}");
    assert_eq!(world.stored("DINGTALK_INBOUND", 1).await.len(), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_broker_that_is_away() {
    let mut world = World::start().await;
    world.nats.kill();
    for number in 0..300 {
        let said = Message::in_group(format!("cidGroup{number}=="), "u", "hi");
        world.sim.say(CLIENT_ID, said).await.unwrap();
    }
    world
        .sim
        .wait_for("every ack", |sim| {
            (sim.counters().acked >= 300).then_some(())
        })
        .await
        .unwrap();
    world.bridge.signal("TERM");
    let (status, _dir) = world.bridge.ended().await;
    assert_eq!(status.code(), Some(0));
}
