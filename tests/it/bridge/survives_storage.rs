//! P7, storage: a full disk, a full stream, an outage longer than anything remembers.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use nats_dingtalk::message::Timestamp;
use nats_dingtalk::sim::{Message, Sim};
use nats_dingtalk::spool::Spool;

use crate::support::books::{Books, count, persistent};
use crate::support::bridge::{Bridge, CLIENT_ID, Setup};
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{GROUP, World, options};

/// Says `count` messages of 60 kB each.
async fn say_large(sim: &Sim, count: usize) {
    for _ in 0..count {
        let message = Message::in_group(GROUP, "u", "x".repeat(60_000));
        sim.say(CLIENT_ID, message).await.unwrap();
    }
}

/// Waits until frames are given back to DingTalk and `/ready` says that the spool is the cause.
async fn withheld(bridge: &Bridge) {
    wait::until_true("withheld acknowledgements", async || {
        let refused = ["outcome=\"refused\""];
        bridge.metric("nats_dingtalk_frames_total", &refused).await > 0.0
    })
    .await;
    let (status, page) = bridge.get("/ready").await.unwrap();
    assert_eq!(status, 503);
    let spool = page.lines().find(|line| line.starts_with("spool"));
    assert!(spool.unwrap().contains("down:"), "{page}");
}

/// Changes the inbound stream as an operator would.
async fn edit(nats: &Nats, change: impl FnOnce(&mut Config)) {
    let jetstream = nats.jetstream().await;
    let mut stream = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    change(&mut config);
    jetstream.update_stream(config).await.unwrap();
}

#[tokio::test]
async fn p7_a_full_disk_withholds_acks_and_recovers() {
    let World {
        mut nats,
        sim,
        bridge,
    } = World::start_with(persistent(), |setup| {
        setup.after_mounting("mkdir -p \"$1/spool\"; mount -t tmpfs -o size=8m tmpfs \"$1/spool\"")
    })
    .await;
    nats.kill();
    for _ in 0..5 {
        let message = Message::in_group(GROUP, "u", "while there is room");
        let id = sim.say(CLIENT_ID, message).await.unwrap();
        assert_eq!(sim.acked(&id).await.unwrap().attempt, 0);
    }
    say_large(&sim, 200).await;
    withheld(&bridge).await;
    assert!(bridge.log().contains("No space left on device"));
    nats.restart().await;
    let bridge = bridge.ready().await;
    Books::of(&sim).balance(&nats, &sim).await;
    Books::of(&sim).check(&nats).await;
    // The disk has room again: the spool takes the next outage.
    nats.kill();
    let said = Message::in_group(GROUP, "u", "later");
    let later = sim.say(CLIENT_ID, said).await.unwrap();
    assert_eq!(sim.acked(&later).await.unwrap().attempt, 0);
    nats.restart().await;
    Books::of(&sim).balance(&nats, &sim).await;
    drop(bridge);
}

#[tokio::test]
async fn p7_a_full_stream_is_spooled_then_withheld_and_stored_once_there_is_room() {
    let World { nats, sim, bridge } =
        World::start_with(persistent(), |setup| setup.spool("max_bytes = \"1MiB\"")).await;
    let first = Message::in_group(GROUP, "u", "first");
    let first = sim.say(CLIENT_ID, first).await.unwrap();
    sim.acked(&first).await.unwrap();
    edit(&nats, |config| {
        config.max_bytes = 100_000;
        config.discard = DiscardPolicy::New;
    })
    .await;
    say_large(&sim, 40).await;
    withheld(&bridge).await;
    wait::until_true("acks from the spool", async || {
        let spooled = ["outcome=\"spooled\""];
        bridge.metric("nats_dingtalk_frames_total", &spooled).await > 0.0
    })
    .await;
    assert!(count(&nats, "DINGTALK_INBOUND").await.unwrap() < 5);
    edit(&nats, |config| config.max_bytes = -1).await;
    let bridge = bridge.ready().await;
    Books::of(&sim).balance(&nats, &sim).await;
    Books::of(&sim).check(&nats).await;
    drop(bridge);
}

/// Makes everything in the spool of a bridge that is gone older by `age`.
async fn age_spool(bridge_dir: &std::path::Path, age: Duration) {
    let spool = Spool::open(&bridge_dir.join("spool"), u64::MAX).unwrap();
    let records = spool.read(0, usize::MAX).await.unwrap();
    assert_eq!(records.len() as u64, spool.depth().records);
    let last = records.last().unwrap().0;
    let age = i64::try_from(age.as_millis()).unwrap();
    let aged = records
        .into_iter()
        .map(|(_, record)| {
            // Version, then the time of spooling in milliseconds.
            let mut bytes = record.to_vec();
            let at = i64::from_be_bytes(bytes[1..9].try_into().unwrap());
            let recent = Timestamp::now().as_millis() - at;
            assert!((0..120_000).contains(&recent), "{recent}");
            bytes[1..9].copy_from_slice(&(at - age).to_be_bytes());
            bytes.into()
        })
        .collect();
    spool.remove_through(last).await.unwrap();
    spool.append(aged).await.unwrap();
}

/// Publishes under an id that the stream has; whether it still knows so.
async fn is_remembered(nats: &Nats, id: &str) -> bool {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let jetstream = nats.jetstream().await;
    let subject = "dingtalk.inbound.sales.other.control";
    let publish = jetstream.publish_with_headers(subject, headers, "{}".into());
    publish.await.unwrap().await.unwrap().duplicate
}

#[tokio::test]
async fn p7_an_outage_longer_than_the_dedup_window_stores_nothing_twice() {
    let World {
        mut nats,
        sim,
        bridge,
    } = World::start_with(options(), |setup| setup).await;
    let window = Duration::from_secs(30 * 60);
    let say = async |text: &str| {
        let message = Message::in_group(GROUP, "u", text);
        let id = sim.say(CLIENT_ID, message).await.unwrap();
        sim.acked(&id).await.unwrap();
        id
    };
    let before = say("before").await;
    for control in ["control", "second control"] {
        assert!(!is_remembered(&nats, control).await);
    }
    assert!(is_remembered(&nats, "control").await);
    nats.kill();
    let during = say("during").await;
    for id in [&before, &during] {
        sim.redeliver(id).await.unwrap();
        sim.wait_for("acks of both deliveries", |sim| {
            let frames = sim.frames_of(id);
            (frames.iter().filter(|frame| !frame.acks.is_empty()).count() == 2).then_some(())
        })
        .await
        .unwrap();
    }
    let dir = bridge.kill();
    // Half an hour and more goes by: on the side of the bridge by its records,
    age_spool(dir.path(), window + Duration::from_secs(600)).await;
    nats.restart().await;
    // on the side of the broker by a window that ends meanwhile.
    edit(&nats, |config| {
        config.duplicate_window = Duration::from_millis(100);
    })
    .await;
    wait::until_true("a stream that has forgotten", async || {
        !is_remembered(&nats, "control").await
    })
    .await;
    edit(&nats, |config| config.duplicate_window = window).await;
    assert!(!is_remembered(&nats, "second control").await);
    let bridge = Setup::new(&nats.url(), sim.api_url())
        .in_dir(dir)
        .start()
        .await
        .ready()
        .await;
    wait::until_true("an empty spool", async || {
        bridge
            .metric("nats_dingtalk_spool_drained_total", &[])
            .await
            == 3.0
    })
    .await;
    let times = crate::support::books::stored(&nats).await;
    assert_eq!(times.get(&before), Some(&1), "{times:?}");
    assert_eq!(times.get(&during), Some(&1), "{times:?}");
}

#[tokio::test]
async fn who_wrote_during_an_outage_can_be_answered_through_the_session() {
    let mut world = World::start_with(options(), |setup| setup).await;
    world.nats.kill();
    // The session is the only way to somebody outside the organisation.
    let said = Message::to_bot("somebody", "anybody there?").from_outsider();
    let msg_id = world.sim.say(CLIENT_ID, said).await.unwrap();
    world.sim.acked(&msg_id).await.unwrap();
    world.nats.restart().await;
    let inbound = &world.stored("DINGTALK_INBOUND", 1).await[0];
    let reply = inbound.body["reply"]["subject"].as_str().unwrap();
    wait::until("the session in its bucket", async || {
        count(&world.nats, "KV_DINGTALK_WEBHOOKS")
            .await
            .filter(|kept| *kept > 0)
    })
    .await;
    let answer = serde_json::json!({"id": "late", "text": "now there is"});
    world.request(reply, &answer).await;
    let receipt = world.receipt("late").await;
    assert_eq!(receipt["outcome"], "sent", "{receipt}");
    assert_eq!(receipt["via"], "webhook", "{receipt}");
}
