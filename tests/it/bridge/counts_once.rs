//! P2: a message is in JetStream once, however often DingTalk delivers it.

use nats_dingtalk::sim::{Message, SimApp, SimOptions};

use crate::support::bridge::{CLIENT_ID, CLIENT_SECRET};
use crate::support::wait;
use crate::support::world::{GROUP, World, messages, options};

#[tokio::test]
async fn p2_a_redelivery_under_a_new_frame_id_is_folded() {
    let world = World::start().await;
    let said = Message::in_group(GROUP, "u", "once");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    for _ in 0..3 {
        world.sim.redeliver(&msg_id).await.unwrap();
    }
    world
        .sim
        .wait_for("four acks", |sim| {
            let frames = sim.frames_of(&msg_id);
            let ids: std::collections::BTreeSet<_> = frames
                .iter()
                .map(|frame| frame.message_id.clone())
                .collect();
            assert_eq!(ids.len(), frames.len(), "each push has an id of its own");
            (frames.iter().filter(|frame| !frame.acks.is_empty()).count() == 4).then_some(())
        })
        .await
        .unwrap();
    assert_eq!(
        messages(&world.nats, "DINGTALK_INBOUND")
            .await
            .unwrap()
            .len(),
        1
    );
    let duplicate = ["outcome=\"duplicate\""];
    let duplicates = world
        .bridge
        .metric("nats_dingtalk_frames_total", &duplicate)
        .await;
    assert_eq!(duplicates, 3.0);
}

#[tokio::test]
async fn p2_the_same_message_for_two_bots_is_kept_for_each() {
    let other = "dingsupport00000000";
    let options = SimOptions {
        apps: vec![
            SimApp::new(CLIENT_ID, CLIENT_SECRET),
            SimApp::new(other, "other-secret"),
        ],
        ..options()
    };
    let world = World::start_with(options, |setup| {
        setup.extra(&format!(
            "[accounts.support]\nclient_id = \"{other}\"\nclient_secret = \"other-secret\""
        ))
    })
    .await;
    let said = Message::in_group(GROUP, "u", "both of you");
    world
        .sim
        .say_to_bots(&[CLIENT_ID, other], said)
        .await
        .unwrap();
    let stored = world.stored("DINGTALK_INBOUND", 2).await;
    let mut subjects: Vec<_> = stored
        .iter()
        .map(|stored| stored.subject.as_str())
        .collect();
    subjects.sort_unstable();
    let expected =
        ["sales", "support"].map(|account| format!("dingtalk.inbound.{account}.group.{GROUP}"));
    assert_eq!(subjects, expected);
}

#[tokio::test]
async fn p2_a_redelivery_to_another_bridge_or_a_later_life_is_folded() {
    let world = World::start().await;
    let said = Message::in_group(GROUP, "u", "once");
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    let setup = world.setup();
    let World { nats, sim, bridge } = world;
    let _dir = bridge.kill();
    let _second = setup.start().await.ready().await;
    // Pushes go to connections that DingTalk still believes in; the dead ones are gone here.
    wait::until_true("the second life to have both connections", async || {
        sim.live_links(CLIENT_ID).len() == 2
    })
    .await;
    sim.redeliver(&msg_id).await.unwrap();
    sim.wait_for("the second ack", |sim| {
        let frames = sim.frames_of(&msg_id);
        (frames.iter().filter(|frame| !frame.acks.is_empty()).count() == 2).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(messages(&nats, "DINGTALK_INBOUND").await.unwrap().len(), 1);
}

#[tokio::test]
async fn p2_redeliveries_during_an_outage_are_stored_once() {
    let mut world = World::start().await;
    let said = Message::in_group(GROUP, "u", "before");
    let before = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&before).await.unwrap();
    world.nats.kill();
    let said = Message::in_group(GROUP, "u", "during");
    let during = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&during).await.unwrap();
    for msg_id in [&before, &during] {
        world.sim.redeliver(msg_id).await.unwrap();
    }
    world
        .sim
        .wait_for("acks of the redeliveries", |sim| {
            let acked = |id: &String| {
                sim.frames_of(id)
                    .iter()
                    .filter(|frame| !frame.acks.is_empty())
                    .count()
            };
            (acked(&before) == 2 && acked(&during) == 2).then_some(())
        })
        .await
        .unwrap();
    world.nats.restart().await;
    wait::until_true("an empty spool", async || {
        let records = world
            .bridge
            .metric("nats_dingtalk_spool_records", &[])
            .await;
        let drained = world
            .bridge
            .metric("nats_dingtalk_spool_drained_total", &[])
            .await;
        records == 0.0 && drained == 3.0
    })
    .await;
    assert_eq!(
        messages(&world.nats, "DINGTALK_INBOUND")
            .await
            .unwrap()
            .len(),
        2
    );
}
