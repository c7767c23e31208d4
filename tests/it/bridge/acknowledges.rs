//! P1: a frame is acknowledged at once, and only when it is stored.

use std::time::Duration;

use nats_dingtalk::sim::{Burst, FrameState, Message};
use serde_json::json;

use crate::support::bridge::{CLIENT_ID, Setup};
use crate::support::wait;
use crate::support::world::{GROUP, World, messages, options};

#[tokio::test]
async fn p1_an_acked_frame_is_in_jetstream_and_the_counters_add_up() {
    let world = World::start().await;
    let burst = Burst {
        app: CLIENT_ID.into(),
        count: 2000,
        groups: 40,
        ..Burst::default()
    };
    world.sim.burst(&burst).await.unwrap();
    world
        .sim
        .wait_for("every ack", |sim| {
            (sim.counters().acked >= 2000).then_some(())
        })
        .await
        .unwrap();
    let stored = messages(&world.nats, "DINGTALK_INBOUND").await.unwrap();
    assert_eq!(stored.len(), 2000);
    let received = world
        .bridge
        .metric("nats_dingtalk_frames_received_total", &[])
        .await;
    let ended = world.bridge.metric("nats_dingtalk_frames_total", &[]).await;
    let in_flight = world
        .bridge
        .metric("nats_dingtalk_frames_in_flight", &[])
        .await;
    assert_eq!(received, 2000.0);
    assert_eq!(ended + in_flight, received);
}

#[tokio::test]
async fn p1_while_the_broker_is_away_frames_are_acked_from_the_spool_and_stored_later_in_order() {
    // Two sockets have no common order of arrival; one has.
    let one = |setup: Setup| setup.account("connections = 1");
    let mut world = World::start_with(options(), one).await;
    world
        .sim
        .say(CLIENT_ID, Message::in_group(GROUP, "u", "0"))
        .await
        .unwrap();
    world.stored("DINGTALK_INBOUND", 1).await;
    world.nats.kill();
    let mut said = Vec::new();
    for number in 1..=20 {
        let message = Message::in_group(GROUP, "u", number.to_string());
        said.push(world.sim.say(CLIENT_ID, message).await.unwrap());
    }
    for msg_id in &said {
        let frame = world.sim.acked(msg_id).await.unwrap();
        assert_eq!(frame.attempt, 0, "acked before DingTalk sent it again");
    }
    world.nats.restart().await;
    let stored = world.stored("DINGTALK_INBOUND", 21).await;
    let texts: Vec<&str> = stored
        .iter()
        .filter_map(|stored| stored.body["message"]["text"].as_str())
        .collect();
    let expected: Vec<String> = (0..=20).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
    // Once the spool is empty the broker is used directly again.
    wait::until_true("an empty spool", async || {
        world
            .bridge
            .metric("nats_dingtalk_spool_records", &[])
            .await
            == 0.0
    })
    .await;
    let last = world
        .sim
        .say(CLIENT_ID, Message::in_group(GROUP, "u", "21"))
        .await
        .unwrap();
    world.sim.acked(&last).await.unwrap();
    assert_eq!(world.stored("DINGTALK_INBOUND", 22).await.len(), 22);
}

#[tokio::test]
async fn p1_when_neither_broker_nor_spool_takes_it_an_event_gets_later_and_a_message_silence() {
    let mut world = World::start_with(options(), |setup| {
        // The smallest spool there is, filled by the first frames.
        setup
            .account("events = true")
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
    wait::until_true("a full spool", async || {
        let refused = ["outcome=\"refused\""];
        world
            .bridge
            .metric("nats_dingtalk_frames_total", &refused)
            .await
            > 0.0
    })
    .await;
    let (status, body) = world.bridge.get("/ready").await.unwrap();
    assert_eq!(status, 503, "{body}");
    let event = world
        .sim
        .emit_event(
            CLIENT_ID,
            "chat_update_title",
            json!({"blob": "x".repeat(300_000)}),
        )
        .await
        .unwrap();
    let answered = world
        .sim
        .wait_for("an answer to the event", |sim| {
            let frame = sim.frames_of(&event).into_iter().next()?;
            frame.acks.first().cloned()
        })
        .await
        .unwrap();
    assert_eq!(answered.code, 500, "{answered:?}");
    assert!(answered.data.unwrap().contains("LATER"));
    let message = Message::in_group(GROUP, "u", "x".repeat(200_000));
    let silent = world.sim.say(CLIENT_ID, message).await.unwrap();
    wait::never(Duration::from_millis(2000), "a lie", async || {
        let frames = world.sim.frames_of(&silent);
        frames.iter().any(|frame| frame.state == FrameState::Acked)
    })
    .await;
    // Nothing is lost: DingTalk sends again, and the broker has it once it is back.
    world.nats.restart().await;
    let id = format!("{CLIENT_ID}:{silent}");
    wait::until("the message that was given back", async || {
        let all = messages(&world.nats, "DINGTALK_INBOUND").await?;
        all.into_iter()
            .find(|stored| stored.header("Nats-Msg-Id") == id)
    })
    .await;
}

#[tokio::test]
async fn p1_journal_mode_acks_from_the_journal_and_publishes_behind_it() {
    let world = World::start_with(options(), |setup| {
        setup.extra("[inbound]\nack = \"journal\"")
    })
    .await;
    let burst = Burst {
        app: CLIENT_ID.into(),
        count: 500,
        groups: 5,
        ..Burst::default()
    };
    world.sim.burst(&burst).await.unwrap();
    let stored = world.stored("DINGTALK_INBOUND", 500).await;
    assert_eq!(stored.len(), 500);
    let spooled = ["outcome=\"spooled\""];
    let spooled = world
        .bridge
        .metric("nats_dingtalk_frames_total", &spooled)
        .await;
    assert_eq!(spooled, 500.0);
}

#[tokio::test]
async fn p1_received_mode_acks_before_anything_even_without_a_broker() {
    let mut world = World::start_with(options(), |setup| {
        setup.extra("[inbound]\nack = \"received\"")
    })
    .await;
    world.nats.kill();
    let said = Message::in_group(GROUP, "u", "at once");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    let frame = world.sim.acked(&msg_id).await.unwrap();
    let taken = Duration::from_micros(frame.acks[0].after_us);
    assert!(taken < Duration::from_millis(900), "{taken:?}");
    world.nats.restart().await;
    assert_eq!(world.stored("DINGTALK_INBOUND", 1).await.len(), 1);
}
