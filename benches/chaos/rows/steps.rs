//! The bridge dies, stops or is told to end at a named step of the ack path or the send path: a build with fail points.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use nats_dingtalk::sim::{Fault, GROUP_SEND_PATH};
use tokio::time::{Instant, sleep};

use super::{CROWD_SERVED, full, seconds, short, staged, taken_over};
use crate::builds::{armed_program, has_step};
use crate::load::Amount;
use crate::row::{NotRun, Scenario};
use crate::settle::Books;
use crate::stage::{Plan, Stage};
use crate::support::wait;

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
/// Steps of requests that are put aside because too many wait for one chat.
const BACKLOG: &[&str] = &["backlog.stored", "backlog.moved", "backlog.fetched"];
/// Requests for one chat that make it crowded.
const CROWD: u64 = 12_000;
/// SIGABRT: what a fail point ends the process with.
const ABORTED: i32 = 6;
/// How long a bridge that was stopped at a step stays stopped.
const STOPPED: u64 = 4;
/// How long, so that another bridge has given up the calls that were written down: 12 s, and a while to send.
const GIVEN_UP: u64 = 14;
/// Most times that the broker goes away for a step of the spool.
const OUTAGES: usize = 6;
/// How long the spool may take to be drained after one.
const DRAINED: Duration = Duration::from_secs(4);

/// What happens to the bridge at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// It is gone without a goodbye.
    Killed,
    /// SIGSTOP, and SIGCONT after [`STOPPED`].
    Stopped,
    /// SIGTERM: it drains and ends.
    Told,
}

pub(super) fn rows() -> Vec<Scenario> {
    let run = |steps: &'static [&'static str], end| move |rng| at(steps, end, rng);
    let mut rows = vec![
        short("killed at every step of a frame", run(FRAME, End::Killed)).with_takeover(),
        full(
            "killed at steps of the spool",
            run(&SPOOL[1..4], End::Killed),
        )
        .with_takeover(),
        full(
            "killed at steps of a request",
            run(&REQUEST[2..5], End::Killed),
        )
        .with_takeover(),
    ];
    for step in [FRAME, SPOOL, REQUEST, BACKLOG].concat() {
        let run = move |rng| async move { at(&[step], End::Killed, rng).await };
        rows.push(full(format!("killed at {step}"), run).with_takeover());
    }
    let groups = [
        ("a frame", FRAME),
        ("the spool", SPOOL),
        ("a request", REQUEST),
    ];
    for (what, steps) in groups {
        let name = format!("SIGSTOP for {STOPPED} s at every step of {what}");
        let row = full(name, run(steps, End::Stopped)).with_takeover();
        rows.push(row.noting(super::STOPPED));
        let name = format!("SIGTERM at every step of {what}");
        rows.push(full(name, run(steps, End::Told)).with_takeover());
    }
    rows.push(
        full("killed after the call left", |rng| {
            staged(taken_over(), rng, after_the_call_left)
        })
        .with_takeover(),
    );
    rows.push(
        short(
            "two replicas, SIGSTOP of the sending one for 14 s before its calls left",
            before_the_calls_left,
        )
        .with_takeover()
        .noting(super::STOPPED),
    );
    rows
}

/// What a row at these steps stands on.
fn plan_of(steps: &[&str]) -> Plan {
    if !steps.iter().any(|step| BACKLOG.contains(step)) {
        return taken_over();
    }
    Plan {
        amount: Amount {
            crowd: CROWD,
            ..Amount::default()
        },
        quiet: CROWD_SERVED,
        ..taken_over()
    }
}

/// One life of the bridge for each step, each ended, stopped or told to end by its fail point.
async fn at(steps: &[&str], end: End, rng: Rng) -> Result<Books, NotRun> {
    let program = program_with(steps)?;
    staged(plan_of(steps), rng, async |stage| {
        for step in steps {
            stage.kill(0);
            // Records go into the spool and out of it in groups, so those are few.
            let most = if SPOOL.contains(step) || BACKLOG.contains(step) {
                3
            } else {
                60
            };
            let pass = stage.rng.u64(1..=most);
            let armed = match end {
                End::Killed => format!("{step}:{pass}"),
                End::Stopped => format!("{step}:{pass}:STOP"),
                End::Told => format!("{step}:{pass}:TERM"),
            };
            let setup = stage.setup_of(&program, &[("FAILPOINT", &armed)]);
            stage.start_as(0, setup).await;
            if SPOOL.contains(step) {
                use_the_spool(stage, step).await;
            }
            reached(stage, step, end).await;
            if stage.brokers.nodes[0].try_client().await.is_none() {
                stage.brokers.nodes[0].restart().await;
            }
        }
        if end != End::Stopped {
            stage.start(0).await;
        }
        stage.over();
    })
    .await
}

/// The build with fail points, which has these steps.
fn program_with(steps: &[&str]) -> Result<PathBuf, NotRun> {
    let Some(program) = armed_program() else {
        let why = "no build with fail points was given; make chaos makes one";
        return Err(NotRun::Missing(why.to_owned()));
    };
    match steps.iter().find(|step| !has_step(&program, step)) {
        None => Ok(program),
        Some(step) => Err(NotRun::Impossible(format!(
            "this bridge has no step {step}"
        ))),
    }
}

/// The sending one of two stops where its calls are written down and have not left. When it wakes up, the other
/// has given those calls up and sent what follows in their chats.
async fn before_the_calls_left(rng: Rng) -> Result<Books, NotRun> {
    let step = "request.sending";
    let program = program_with(&[step])?;
    let plan = Plan {
        bridges: 2,
        ..taken_over()
    };
    staged(plan, rng, async |stage| {
        stage.kill(1);
        stage.kill(0);
        let armed = format!("{step}:{}:STOP", stage.rng.u64(1..=60));
        let setup = stage.setup_of(&program, &[("FAILPOINT", &armed)]);
        stage.start_as(0, setup).await;
        passed(stage, step).await;
        stage.start(1).await;
        seconds(GIVEN_UP).await;
        stage.bridge(0).signal("CONT");
        stage.over();
    })
    .await
}

/// Waits until the step has been reached and what it does is done.
async fn reached(stage: &mut Stage, step: &str, end: End) {
    match end {
        End::Killed => {
            let status = stage.ended(0).await;
            assert_eq!(status.signal(), Some(ABORTED), "{step}: {status}");
        }
        End::Told => {
            let status = stage.ended(0).await;
            assert_eq!(status.code(), Some(0), "{step}: a drain that was cut short");
        }
        End::Stopped => {
            passed(stage, step).await;
            seconds(STOPPED).await;
            stage.bridge(0).signal("CONT");
            stage.between(500, 1500).await;
        }
    }
}

/// Waits until the first bridge has come by a step that is armed.
async fn passed(stage: &Stage, step: &str) {
    let mark = mark(step);
    wait::until_true(&mark, async || stage.bridge(0).log().contains(&mark)).await;
}

/// What a bridge says when it comes by a step that is armed.
fn mark(step: &str) -> String {
    format!("failpoint {step} reached")
}

/// Takes the broker away until the spool holds something, and lets it be drained; again where that took
/// fewer groups of records than the step waits for.
async fn use_the_spool(stage: &mut Stage, step: &str) {
    let mark = mark(step);
    for _ in 0..OUTAGES {
        stage.brokers.nodes[0].kill();
        stage.between(2500, 3500).await;
        stage.brokers.nodes[0].restart().await;
        let drained = Instant::now() + DRAINED;
        while Instant::now() < drained {
            if stage.bridge(0).log().contains(&mark) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
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
