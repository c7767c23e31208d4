//! The broker dies, leaves, loses its quorum, or has no room.

use async_nats::jetstream::stream::{Config, DiscardPolicy};

use super::{full, seconds, short, staged, taken_over};
use crate::load::Amount;
use crate::proxy::Mode;
use crate::row::Scenario;
use crate::stage::{Plan, Stage};
use crate::support::wait;

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        short("broker kill -9, twice", |rng| {
            staged(Plan::default(), rng, killed)
        }),
        full("broker SIGSTOP for 4 s", |rng| {
            staged(Plan::default(), rng, frozen)
        }),
        full("broker out 10 s", |rng| {
            staged(Plan::default(), rng, async |stage| out(stage, 10).await)
        }),
        short("stream full, then not", |rng| {
            staged(Plan::default(), rng, stream_full)
        }),
        full("stream of requests full for 5 s", |rng| {
            staged(Plan::default(), rng, requests_full)
        }),
        full("stream of receipts full for 5 s", |rng| {
            staged(Plan::default(), rng, receipts_full)
        }),
        short("R3, kill -9 of the leader", |rng| {
            staged(three(), rng, leader_killed)
        })
        .with_takeover(),
        full("R3, one server partitioned for 8 s", |rng| {
            staged(three(), rng, partitioned)
        })
        .with_takeover(),
        full("R3, quorum lost for 8 s", |rng| {
            staged(three(), rng, quorum_lost)
        })
        .with_takeover(),
        full("R3, lame duck of the leader", |rng| {
            staged(three(), rng, lame_duck_leader)
        })
        .with_takeover(),
        full("broker lame duck, started again", |rng| {
            let plan = Plan {
                server_extra: LAME_DUCK,
                ..Plan::default()
            };
            staged(plan, rng, lame_duck)
        }),
        full("broker out 5 min", |rng| {
            staged(light(), rng, async |stage| out(stage, 300).await)
        })
        .waiting(),
        full("broker out 6 min, dedup window 5 min", |rng| {
            let plan = Plan {
                nats: "dedup_window = \"5m\"",
                ..light()
            };
            staged(plan, rng, async |stage| out(stage, 360).await)
        })
        .waiting(),
    ]
}

/// The shortest that a server allows.
const LAME_DUCK: &str = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"";

fn three() -> Plan {
    Plan {
        servers: 3,
        server_extra: LAME_DUCK,
        ..taken_over()
    }
}

/// Load that a machine can hold back for minutes.
fn light() -> Plan {
    Plan {
        amount: Amount {
            burst: 200,
            requests: 20,
            ..Amount::default()
        },
        ..Plan::default()
    }
}

async fn killed(stage: &mut Stage) {
    for _ in 0..2 {
        stage.between(100, 1500).await;
        stage.brokers.nodes[0].kill();
        stage.between(500, 2500).await;
        stage.brokers.nodes[0].restart().await;
    }
    stage.over();
}

async fn frozen(stage: &mut Stage) {
    stage.between(100, 1500).await;
    stage.brokers.nodes[0].signal("STOP");
    seconds(4).await;
    stage.brokers.nodes[0].signal("CONT");
    stage.over();
}

async fn out(stage: &mut Stage, span: u64) {
    stage.between(100, 1500).await;
    stage.brokers.nodes[0].kill();
    seconds(span).await;
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

async fn leader_killed(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let leader = stage.brokers.leader("DINGTALK_INBOUND").await;
    stage.brokers.nodes[leader].kill();
    // The fault stays: the two others have to do without it.
    stage.over();
    seconds(8).await;
    stage.brokers.nodes[leader].restart().await;
}

async fn partitioned(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let leader = stage.brokers.leader("DINGTALK_INBOUND").await;
    stage.brokers.isolate(leader, Mode::Frozen);
    seconds(8).await;
    stage.brokers.isolate(leader, Mode::Open);
    stage.over();
}

async fn quorum_lost(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let leader = stage.brokers.leader("DINGTALK_INBOUND").await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for other in others {
        stage.brokers.nodes[other].kill();
    }
    seconds(8).await;
    for other in others {
        stage.brokers.nodes[other].restart().await;
    }
    stage.over();
}

async fn lame_duck_leader(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let leader = stage.brokers.leader("DINGTALK_INBOUND").await;
    stage.brokers.nodes[leader].signal("USR2");
    stage.over();
    seconds(10).await;
    stage.brokers.nodes[leader].restart().await;
}

async fn lame_duck(stage: &mut Stage) {
    stage.between(100, 1000).await;
    stage.brokers.nodes[0].signal("USR2");
    wait::within(wait::PATIENCE * 2, "the broker to leave", async || {
        let client = stage.brokers.nodes[0].try_client().await;
        client.is_none().then_some(())
    })
    .await;
    // It takes no more connections, and lets those that it has go one by one.
    seconds(6).await;
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

/// Changes a stream as an operator would.
async fn edit(stage: &Stage, stream: &str, change: impl FnOnce(&mut Config)) {
    let jetstream = stage.brokers.jetstream().await;
    let mut stream = jetstream.get_stream(stream).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    change(&mut config);
    jetstream.update_stream(config).await.unwrap();
}

/// Lets a stream take only so many messages for five seconds.
async fn filled(stage: &mut Stage, stream: &str, most: i64) {
    stage.between(100, 1000).await;
    edit(stage, stream, |config| {
        config.max_messages = most;
        config.discard = DiscardPolicy::New;
    })
    .await;
    seconds(5).await;
    edit(stage, stream, |config| config.max_messages = -1).await;
    stage.over();
}

async fn stream_full(stage: &mut Stage) {
    filled(stage, "DINGTALK_INBOUND", 2_500).await;
}

/// Services are refused and ask again; what was accepted is served.
async fn requests_full(stage: &mut Stage) {
    super::bridge::slow_sends(stage).await;
    filled(stage, "DINGTALK_OUTBOUND", 10).await;
}

/// What was sent has no place for its receipt.
async fn receipts_full(stage: &mut Stage) {
    filled(stage, "DINGTALK_RECEIPT", 250).await;
}
