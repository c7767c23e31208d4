//! P7, outbound: whatever dies, every accepted request ends in one receipt, and none is seen twice.

use std::time::{Duration, Instant};

use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH};

use crate::support::books::pinned;
use crate::support::bridge::{Bridge, Setup};
use crate::support::orders::Orders;
use crate::support::wait;
use crate::support::world::{World, options};

/// Sends so fast that a test is short, and slowly enough that something is always under way.
const RATE: &str = "rate = 60";
/// How long DingTalk takes for one send, in milliseconds.
const CALL: u64 = 40;

/// Everything up, and a DingTalk that takes its time for every send.
async fn slow_world() -> World {
    let world = World::start_with(options(), |setup| setup.account(RATE)).await;
    let slow = Fault::Delay {
        path: GROUP_SEND_PATH.into(),
        ms: CALL,
        times: None,
    };
    world.sim.inject(slow).await.unwrap();
    world
}

/// Requests that a bridge ended with a receipt.
async fn ended(bridge: &Bridge) -> f64 {
    bridge.metric("nats_dingtalk_requests_total", &[]).await
}

#[tokio::test]
async fn p7_kill_9_of_the_bridge_under_outbound_load_twice() {
    let World {
        nats,
        sim,
        mut bridge,
    } = slow_world().await;
    let orders = Orders::first(200, 20);
    orders.publish(&nats).await;
    for seen in [50, 120] {
        sim.delivered_count(seen).await.unwrap();
        let dir = bridge.kill();
        bridge = Setup::new(&nats.url(), sim.api_url())
            .account(RATE)
            .in_dir(dir)
            .start()
            .await;
    }
    let uncertain = orders.settle(&nats, &sim).await;
    println!("{uncertain} of 200 are uncertain after two kills");
    // One call for each chat was under way at most.
    assert!(uncertain <= 40, "{uncertain}");
}

#[tokio::test]
async fn p7_kill_9_of_the_broker_under_outbound_load_twice() {
    let World {
        mut nats,
        sim,
        bridge: _bridge,
    } = slow_world().await;
    let orders = Orders::first(200, 20);
    orders.publish(&nats).await;
    for seen in [50, 120] {
        sim.delivered_count(seen).await.unwrap();
        nats.kill();
        nats.restart().await;
    }
    let uncertain = orders.settle(&nats, &sim).await;
    println!("{uncertain} of 200 are uncertain after two broker deaths");
    assert!(uncertain <= 40, "{uncertain}");
}

#[tokio::test]
async fn p7_sigterm_under_outbound_load_finishes_what_it_began() {
    let World { nats, sim, bridge } = slow_world().await;
    let orders = Orders::first(120, 20);
    orders.publish(&nats).await;
    sim.delivered_count(40).await.unwrap();
    bridge.signal("TERM");
    let (status, dir) = bridge.ended().await;
    assert_eq!(status.code(), Some(0));
    let _second = Setup::new(&nats.url(), sim.api_url())
        .account(RATE)
        .in_dir(dir)
        .start()
        .await;
    assert_eq!(orders.settle(&nats, &sim).await, 0, "nothing is uncertain");
}

/// Two bridges; the one that sends first.
async fn pair(first: Bridge, second: Bridge) -> (Bridge, Bridge) {
    let sends_first = wait::until("one of the bridges to send", async || {
        let (one, two) = (ended(&first).await, ended(&second).await);
        (one + two > 0.0).then_some(one > 0.0)
    })
    .await;
    if sends_first {
        (first, second)
    } else {
        (second, first)
    }
}

#[tokio::test]
async fn a_second_bridge_takes_over_when_the_sending_one_is_killed() {
    let world = slow_world().await;
    let second = world.setup().account(RATE).start().await.ready().await;
    let World { nats, sim, bridge } = world;
    let orders = Orders::first(200, 20);
    orders.publish(&nats).await;
    let (sending, idle) = pair(bridge, second).await;
    sim.delivered_count(60).await.unwrap();
    assert_eq!(ended(&idle).await, 0.0, "one at a time");
    let killed = Instant::now();
    let _dir = sending.kill();
    wait::until_true("the other to send", async || ended(&idle).await > 0.0).await;
    println!("took over {:?} after the kill", killed.elapsed());
    let uncertain = orders.settle(&nats, &sim).await;
    assert!(uncertain <= 20, "{uncertain}");
}

#[tokio::test]
async fn a_bridge_that_is_stopped_hands_over_at_once() {
    let world = slow_world().await;
    let second = world.setup().account(RATE).start().await.ready().await;
    let World { nats, sim, bridge } = world;
    let orders = Orders::first(200, 20);
    orders.publish(&nats).await;
    let (sending, idle) = pair(bridge, second).await;
    sim.delivered_count(60).await.unwrap();
    let before = pinned(&nats).await;
    assert!(before.is_some());
    sending.signal("TERM");
    let told = Instant::now();
    wait::until_true("another pin", async || pinned(&nats).await != before).await;
    let unpinned = told.elapsed();
    wait::until_true("the other to send", async || ended(&idle).await > 0.0).await;
    println!(
        "unpinned {unpinned:?} after SIGTERM, took over after {:?}",
        told.elapsed()
    );
    // Left alone, the pin of the first would hold for 5 s.
    assert!(unpinned < Duration::from_secs(3), "{unpinned:?}");
    let (status, _) = sending.ended().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(orders.settle(&nats, &sim).await, 0, "nothing is uncertain");
}
