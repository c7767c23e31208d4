//! The bridge dies, freezes or is told to stop.

use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH};

use super::{full, seconds, short, staged, taken_over};
use crate::row::Scenario;
use crate::stage::{Plan, Stage};

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        short("no fault", |rng| {
            staged(Plan::default(), rng, async |stage| stage.over())
        }),
        short("bridge kill -9, twice", |rng| {
            staged(taken_over(), rng, killed)
        })
        .with_takeover(),
        full("bridge SIGSTOP for 6 s", |rng| {
            staged(Plan::default(), rng, frozen)
        })
        .noting(super::STOPPED),
        short("bridge SIGTERM, started again", |rng| {
            staged(Plan::default(), rng, told)
        }),
    ]
}

/// DingTalk takes its time for every send, so that some are always under way.
pub(super) async fn slow_sends(stage: &Stage) {
    let slow = Fault::Delay {
        path: GROUP_SEND_PATH.to_owned(),
        ms: 60,
        times: None,
    };
    stage.sim.inject(slow).await.unwrap();
}

async fn killed(stage: &mut Stage) {
    slow_sends(stage).await;
    for _ in 0..2 {
        stage.between(300, 1500).await;
        stage.kill(0);
        stage.start(0).await;
    }
    stage.over();
}

async fn frozen(stage: &mut Stage) {
    slow_sends(stage).await;
    stage.between(300, 1500).await;
    stage.bridge(0).signal("STOP");
    seconds(6).await;
    stage.bridge(0).signal("CONT");
    stage.over();
}

async fn told(stage: &mut Stage) {
    slow_sends(stage).await;
    stage.between(300, 1500).await;
    stage.bridge(0).signal("TERM");
    let status = stage.ended(0).await;
    assert_eq!(status.code(), Some(0), "a drain that was cut short");
    stage.start(0).await;
    stage.over();
}
