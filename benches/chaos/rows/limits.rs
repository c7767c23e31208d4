//! The machine gives no more: memory or descriptors run out, or the kernel kills for memory.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use fastrand::Rng;
use nats_dingtalk::sim::Fault;

use super::bridge::slow_sends;
use super::{full, seconds, staged, taken_over};
use crate::memory::Quota;
use crate::proxy::Mode;
use crate::row::{NotRun, Scenario};
use crate::settle::Books;
use crate::stage::{Plan, Stage};
use crate::support::bridge::CLIENT_ID;
use crate::support::wait;

/// Memory of a small container, in MiB.
const SMALL: u64 = 64;
/// More than a broker of these rows needs, in MiB, until a neighbour eats it.
const SHARED: u64 = 512;
/// SIGKILL: what the kernel ends a process with when memory is out.
const KILLED: i32 = 9;
/// Fewer descriptors than a bridge or a broker holds: it can open no more.
const FEW: u32 = 8;

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        full("bridge in 64 MiB, broker out 8 s", |rng| {
            in_group(SMALL, Plan::default(), rng, async |stage, _| {
                little(stage).await;
            })
        }),
        full("bridge killed by the kernel for memory", |rng| {
            in_group(SHARED, taken_over(), rng, bridge_killed)
        })
        .with_takeover(),
        full("broker killed by the kernel for memory", |rng| {
            in_group(SHARED, Plan::default(), rng, broker_killed)
        }),
        full("no descriptors left for the bridge, 5 s", |rng| {
            staged(Plan::default(), rng, bridge_without_descriptors)
        }),
        full("no descriptors left for the broker, 5 s", |rng| {
            let plan = Plan {
                proxied: true,
                ..Plan::default()
            };
            staged(plan, rng, broker_without_descriptors)
        }),
    ]
}

/// A row with a memory group, in which the bridge of the row lives.
async fn in_group(
    mib: u64,
    plan: Plan,
    rng: Rng,
    fault: impl AsyncFnOnce(&mut Stage, &mut Quota),
) -> Result<Books, NotRun> {
    let Some(mut quota) = Quota::new(mib) else {
        let why = "a memory group needs root and cgroups that may be written";
        return Err(NotRun::Impossible(why.to_owned()));
    };
    let books = staged(plan, rng, async |stage| {
        stage.kill(0);
        stage.before = quota.entry();
        stage.start(0).await;
        stage.all_ready().await;
        fault(stage, &mut quota).await;
    })
    .await;
    drop(quota);
    books
}

/// The window, the queues and the spool have to fit, also while nothing goes out.
async fn little(stage: &mut Stage) {
    stage.between(500, 1500).await;
    stage.brokers.nodes[0].kill();
    seconds(8).await;
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

async fn bridge_killed(stage: &mut Stage, quota: &mut Quota) {
    slow_sends(stage).await;
    stage.between(300, 1500).await;
    quota.exhaust(stage.bridge(0).pid());
    let status = stage.ended(0).await;
    assert_eq!(status.signal(), Some(KILLED), "{status}");
    quota.relieve();
    stage.start(0).await;
    stage.over();
}

async fn broker_killed(stage: &mut Stage, quota: &mut Quota) {
    stage.between(300, 1500).await;
    let broker = stage.brokers.nodes[0].pid();
    quota.admit(broker);
    quota.exhaust(broker);
    ended(broker).await;
    quota.relieve();
    stage.between(500, 1500).await;
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

/// Waits until a process of ours has ended, though nobody has asked how yet.
async fn ended(pid: u32) {
    wait::until("a process to be killed", async || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, state) = stat.rsplit_once(") ").unwrap();
        state.starts_with('Z').then_some(())
    })
    .await;
}

fn allow_descriptors(pid: u32, limit: u32) {
    let status = Command::new("prlimit")
        .args([format!("--pid={pid}"), format!("--nofile={limit}:")])
        .status();
    assert!(status.unwrap().success(), "prlimit");
}

/// Every connection breaks, and no new one can be opened.
async fn bridge_without_descriptors(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let pid = stage.bridge(0).pid();
    allow_descriptors(pid, FEW);
    for _ in 0..2 {
        let _ = stage.sim.inject(closed()).await;
    }
    stage.brokers.nodes[0].restart().await;
    seconds(5).await;
    allow_descriptors(pid, 1024);
    stage.over();
}

/// The broker takes no connection, while the bridge needs all of its own anew.
async fn broker_without_descriptors(stage: &mut Stage) {
    stage.between(100, 1000).await;
    let pid = stage.brokers.nodes[0].pid();
    allow_descriptors(pid, FEW);
    let set = |mode| stage.net.as_ref().unwrap().broker.set(mode);
    set(Mode::Cut);
    seconds(1).await;
    set(Mode::Open);
    seconds(4).await;
    allow_descriptors(pid, 1024);
    // A store that could not open a file has stopped serving for good; an operator starts it again.
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

fn closed() -> Fault {
    Fault::Close {
        app: CLIENT_ID.to_owned(),
        link: None,
        code: 1006,
    }
}
