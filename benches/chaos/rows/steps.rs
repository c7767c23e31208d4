//! The bridge dies at a named step of the ack path or the send path: a build with fail points.

use std::os::unix::process::ExitStatusExt;

use fastrand::Rng;
use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH};

use super::{full, short, staged, taken_over};
use crate::builds::armed_program;
use crate::row::{NotRun, Scenario};
use crate::settle::Books;
use crate::stage::Stage;

/// Steps of a frame, passed once for each.
const FRAME: &[&str] = &[
    "frame.read",
    "frame.admitted",
    "frame.published",
    "frame.stored",
    "frame.acked",
];
/// Steps of a frame that goes through the spool.
const SPOOL: &[&str] = &[
    "spool.append",
    "spool.durable",
    "spool.published",
    "spool.drained",
    "spool.removed",
];
/// Steps of a request.
const REQUEST: &[&str] = &[
    "request.pulled",
    "request.claimed",
    "request.sending",
    "request.answered",
    "request.done",
    "request.receipt",
    "request.acked",
];
/// SIGABRT: what a fail point ends the process with.
const ABORTED: i32 = 6;

pub(super) fn rows() -> Vec<Scenario> {
    let mut rows = vec![
        short("killed at every step of a frame", |rng| at(FRAME, rng)).with_takeover(),
        short("killed at steps of the spool", |rng| at(&SPOOL[1..4], rng)).with_takeover(),
        short("killed at steps of a request", |rng| {
            at(&REQUEST[2..5], rng)
        })
        .with_takeover(),
    ];
    for step in [FRAME, SPOOL, REQUEST].concat() {
        let run = move |rng| async move { at(&[step], rng).await };
        rows.push(full(format!("killed at {step}"), run).with_takeover());
    }
    rows.push(
        full("killed after the call left", |rng| {
            staged(taken_over(), rng, after_the_call_left)
        })
        .with_takeover(),
    );
    rows
}

/// One life of the bridge for each step, each ended by its fail point.
async fn at(steps: &[&str], rng: Rng) -> Result<Books, NotRun> {
    let Some(program) = armed_program() else {
        return Err(NotRun("no build with fail points was given".to_owned()));
    };
    staged(taken_over(), rng, async |stage| {
        for step in steps {
            stage.kill(0);
            // Records go into the spool and out of it in groups, so those are few.
            let most = if SPOOL.contains(step) { 3 } else { 60 };
            let pass = stage.rng.u64(1..=most);
            let armed = format!("{step}:{pass}");
            let setup = stage.setup_of(&program, &[("FAILPOINT", &armed)]);
            stage.start_as(0, setup).await;
            if SPOOL.contains(step) {
                use_the_spool(stage).await;
            }
            let status = stage.ended(0).await;
            assert_eq!(status.signal(), Some(ABORTED), "{step}: {status}");
            if stage.brokers.nodes[0].try_client().await.is_none() {
                stage.brokers.nodes[0].restart().await;
            }
        }
        stage.start(0).await;
        stage.over();
    })
    .await
}

/// Takes the broker away until the spool holds something, and lets it be drained.
async fn use_the_spool(stage: &mut Stage) {
    stage.brokers.nodes[0].kill();
    stage.between(2500, 3500).await;
    stage.brokers.nodes[0].restart().await;
}

async fn after_the_call_left(stage: &mut Stage) {
    let unanswered = Fault::ApplyThenHold {
        path: GROUP_SEND_PATH.to_owned(),
        times: Some(20),
    };
    stage.sim.inject(unanswered).await.unwrap();
    stage.between(300, 900).await;
    stage.kill(0);
    stage.start(0).await;
    stage.over();
}
