//! What the bridge does after something was full, or changed twice in a moment.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::DiscardPolicy;
use nats_dingtalk::sim::{Burst, Fault, GROUP_SEND_PATH, Message};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::support::bridge::CLIENT_ID;
use crate::support::nats::Nats;
use crate::support::sections;
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

/// Limits the size of a single message in the inbound stream; -1 lifts the limit.
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
async fn limit_size(world: &World, bytes: i32) {
    let jetstream = world.nats.jetstream().await;
    let stream = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_message_size = bytes;
    jetstream.update_stream(config).await.unwrap();
}

/// Says something to the group and waits until it is acknowledged.
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
async fn say(world: &World, text: &str) {
    let said = Message::in_group(GROUP, "u", text);
    let id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&id).await.unwrap();
}

/// The body that a claim names.
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
async fn object(world: &World, claim: &Value) -> Value {
    let jetstream = world.nats.jetstream().await;
    let store = jetstream.get_object_store("DINGTALK_OBJECTS").await;
    let store = store.unwrap();
    let mut object = store.get(claim.as_str().unwrap()).await.unwrap();
    let mut body = Vec::new();
    object.read_to_end(&mut body).await.unwrap();
    serde_json::from_slice(&body).unwrap()
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
async fn p3_a_message_that_the_stream_never_takes_keeps_its_body_and_holds_up_nobody() {
    let world = World::start_with(options(), |setup| setup.account("connections = 1")).await;
    let long = "x".repeat(30_000);
    // The claim of a long message is taken, and in its place.
    limit_size(&world, 10_000).await;
    say(&world, &long).await;
    say(&world, "behind it").await;
    let stored = world.stored("DINGTALK_INBOUND", 2).await;
    let claim = &stored[0].body["raw"]["claim"];
    assert_eq!(claim, stored[0].header("Dingtalk-Claim"));
    assert_eq!(stored[0].body["chat"]["id"], GROUP);
    assert_eq!(object(&world, claim).await["message"]["text"], long);
    assert_eq!(stored[1].body["message"]["text"], "behind it");
    // Not even a claim is taken: a dead letter names what holds the message.
    limit_size(&world, 100).await;
    say(&world, "never taken").await;
    let dead = world.stored("DINGTALK_DEAD", 1).await;
    assert_eq!(dead[0].body["reason"], "too-large");
    assert_eq!(dead[0].header("Dingtalk-Dead-Reason"), "too-large");
    assert_eq!(dead[0].body["subject"], stored[1].subject);
    let detail = dead[0].body["detail"].as_str().unwrap();
    assert!(detail.contains("10054"), "{detail}");
    let whole = object(&world, &dead[0].body["payload"]["claim"]).await;
    assert_eq!(whole["message"]["text"], "never taken");
    limit_size(&world, -1).await;
    say(&world, "after that").await;
    let stored = world.stored("DINGTALK_INBOUND", 3).await;
    assert_eq!(stored[2].body["message"]["text"], "after that");
    wait::until_true("an empty spool", async || {
        let records = "nats_dingtalk_spool_records";
        world.bridge.metric(records, &[]).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_refuses_single_messages_is_refused_at_the_start_with_its_cure() {
    let nats = Nats::start().await;
    nats.broker().await;
    let jetstream = nats.jetstream().await;
    let stream = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    let fit = stream.cached_info().config.clone();
    let mut small = fit.clone();
    small.max_message_size = 65_536;
    let mut each = fit;
    each.discard = DiscardPolicy::New;
    each.max_messages_per_subject = 10;
    each.discard_new_per_subject = true;
    for (config, cure) in [
        (small, "nats stream edit DINGTALK_INBOUND --max-msg-size=-1"),
        (
            each,
            "nats stream edit DINGTALK_INBOUND --no-discard-per-subject",
        ),
    ] {
        jetstream.update_stream(config).await.unwrap();
        let broker = nats.unprepared(&sections::nats()).await;
        let error = broker.prepare().await.unwrap_err().to_string();
        assert!(error.contains(cure), "{error}");
    }
}

#[tokio::test]
async fn p6_the_letter_of_a_frame_without_data_holds_the_frame_and_no_session_webhook() {
    let world = World::start_with(options(), |setup| setup.account("connections = 1")).await;
    let link = world.sim.connected(CLIENT_ID, 1).await.unwrap()[0];
    let webhook = "https://oapi.dingtalk.com/robot/sendBySession?session=canary";
    let (app, on) = (CLIENT_ID.to_owned(), Some(link));
    world
        .sim
        .inject(Fault::Garbage {
            app: app.clone(),
            link: on,
        })
        .await
        .unwrap();
    world
        .sim
        .inject(Fault::Binary { app, link: on })
        .await
        .unwrap();
    let empty = json!({
        "type": "CALLBACK", "sessionWebhook": webhook, "note": "kept",
        "headers": {"topic": "/v1.0/im/bot/messages/get", "messageId": "empty"},
    });
    let torn = format!(r#"{{"type":"CALLBACK","data":"{{\"sessionWebhook\":\"{webhook}\",\"te"#);
    for text in [&empty.to_string(), &torn] {
        world.sim.push_text(CLIENT_ID, on, text).await.unwrap();
    }
    let dead = world.stored("DINGTALK_DEAD", 4).await;
    let payloads: Vec<&Value> = dead.iter().map(|letter| &letter.body["payload"]).collect();
    assert_eq!(payloads[0], "not json {\"\0");
    assert_eq!(payloads[1], "\0\\x9f\\x92\\x96");
    assert_eq!(payloads[2]["note"], "kept");
    assert_eq!(payloads[2]["headers"]["messageId"], "empty");
    let text = payloads[3].as_str().unwrap();
    assert!(text.ends_with(r#"\"te"#), "{text}");
    for letter in &dead {
        assert_eq!(letter.body["reason"], "undecodable");
        let body = letter.body.to_string();
        assert!(
            !body.contains("canary"),
            "a webhook left the bridge: {body}"
        );
    }
    assert_eq!(frames(&world, "undecodable_total", &[]).await, 4.0);
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
    let asked = Instant::now();
    world.bridge.signal("TERM");
    let (status, dir) = world.bridge.ended().await;
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    // Well below what a host gives a process to end in; requests to a broker wait 5 s each.
    assert!(asked.elapsed() < Duration::from_secs(10), "{log}");
}
