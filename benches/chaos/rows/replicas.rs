//! Two and three bridges on one configuration: one dies, or all are restarted in turn.

use super::bridge::slow_sends;
use super::{full, short, staged, taken_over};
use crate::row::Scenario;
use crate::stage::{Plan, Stage};
use crate::support::wait;

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        short("two replicas, kill -9 of the sending one", |rng| {
            staged(replicas(2), rng, sender_killed)
        })
        .with_takeover(),
        full("two replicas, rolling restart", |rng| {
            staged(replicas(2), rng, rolled)
        })
        .with_takeover(),
        full("two replicas, SIGSTOP of the sending one for 12 s", |rng| {
            staged(replicas(2), rng, sender_frozen)
        })
        .with_takeover()
        .noting(super::STOPPED),
        full("two replicas, broker killed and back at once", |rng| {
            staged(replicas(2), rng, broker_restarted)
        })
        .with_takeover(),
        full("three replicas, kill -9 of the sending one", |rng| {
            staged(replicas(3), rng, sender_killed)
        })
        .with_takeover(),
        full("three replicas, rolling restart", |rng| {
            staged(replicas(3), rng, rolled)
        })
        .with_takeover(),
    ]
}

fn replicas(bridges: usize) -> Plan {
    Plan {
        bridges,
        ..taken_over()
    }
}

/// Which bridge sends, once one does.
async fn sender(stage: &Stage) -> usize {
    wait::until("one of the bridges to send", async || {
        for number in 0..stage.lives.len() {
            let ended = stage
                .bridge(number)
                .metric("nats_dingtalk_requests_total", &[]);
            if ended.await > 0.0 {
                return Some(number);
            }
        }
        None
    })
    .await
}

async fn sender_killed(stage: &mut Stage) {
    slow_sends(stage).await;
    let sender = sender(stage).await;
    stage.between(100, 1500).await;
    stage.kill(sender);
    stage.over();
}

/// Both race for the pin while the one that had it holds requests.
async fn broker_restarted(stage: &mut Stage) {
    slow_sends(stage).await;
    sender(stage).await;
    for _ in 0..3 {
        stage.between(100, 1500).await;
        stage.brokers.nodes[0].kill();
        stage.brokers.nodes[0].restart().await;
        stage.all_ready().await;
    }
    stage.over();
}

/// Stopped for longer than it takes another to send in its place; then it wakes up with calls half made.
async fn sender_frozen(stage: &mut Stage) {
    slow_sends(stage).await;
    let sender = sender(stage).await;
    stage.between(100, 1500).await;
    stage.bridge(sender).signal("STOP");
    super::seconds(12).await;
    stage.bridge(sender).signal("CONT");
    stage.over();
}

async fn rolled(stage: &mut Stage) {
    slow_sends(stage).await;
    for number in 0..stage.lives.len() {
        stage.between(100, 1000).await;
        stage.bridge(number).signal("TERM");
        let status = stage.ended(number).await;
        assert_eq!(status.code(), Some(0), "a drain that was cut short");
        stage.start(number).await;
        stage.all_ready().await;
    }
    stage.over();
}
