//! Hours of load and a thousand reconnects: do memory and descriptors stay where they are?

use std::process::ExitCode;
use std::time::Duration;

use nats_dingtalk::sim::Fault;
use tokio::time::{Instant, sleep};

use crate::load::Amount;
use crate::process::memory;
use crate::stage::{Plan, Stage};
use crate::support::bridge::CLIENT_ID;
use crate::support::wait;
use crate::variable;

/// Length of the soak unless `SOAK_SECONDS` says otherwise.
const SPAN: u64 = 3600;
/// Shortest soak whose slope says something.
const TELLING: Duration = Duration::from_secs(600);
/// Reconnects after it unless `SOAK_RECONNECTS` says otherwise.
const RECONNECTS: u64 = 1000;
/// Most that memory may grow, in MiB an hour, and by the reconnects.
const FLAT_MIB: f64 = 4.0;
/// Most descriptors that may be more.
const FLAT_DESCRIPTORS: f64 = 8.0;

/// What a process holds at one moment.
struct Sample {
    hours: f64,
    mib: f64,
    descriptors: f64,
}

/// Soaks, reconnects, prints, judges.
pub(crate) async fn run() -> ExitCode {
    let span = Duration::from_secs(number("SOAK_SECONDS", SPAN));
    let plan = Plan {
        amount: Amount {
            burst: 1000,
            requests: 100,
            ..Amount::default()
        },
        sim: |options| options.keep = 20_000,
        ..Plan::default()
    };
    let stage = Stage::up(plan, fastrand::Rng::new()).await;
    // The first tenth fills caches and pools.
    sleep(span / 10).await;
    let soaked = soak(&stage, span - span / 10).await;
    let (mib, descriptors) = (slope(&soaked, |s| s.mib), slope(&soaked, |s| s.descriptors));
    let first = soaked.first().unwrap();
    println!(
        "soak of {} s: {} frames, {} sends; {:.1} MiB and {} descriptors at first, {mib:+.2} MiB/h, {descriptors:+.1} descriptors/h",
        span.as_secs(),
        stage.sim.counters().pushed,
        stage.sim.counters().delivered,
        first.mib,
        first.descriptors,
    );
    let before = sample(&stage, Instant::now());
    let reconnects = number("SOAK_RECONNECTS", RECONNECTS);
    reconnect(&stage, reconnects).await;
    let after = sample(&stage, Instant::now());
    println!(
        "{reconnects} reconnects: {:.1} MiB and {} descriptors before, {:.1} MiB and {} after",
        before.mib, before.descriptors, after.mib, after.descriptors,
    );
    let mut grown = vec![
        (after.mib - before.mib, FLAT_MIB),
        (after.descriptors - before.descriptors, FLAT_DESCRIPTORS),
    ];
    if span >= TELLING {
        grown.extend([(mib, FLAT_MIB), (descriptors, FLAT_DESCRIPTORS)]);
    }
    if grown.iter().any(|(more, bound)| more > bound) {
        println!("not flat: at most {FLAT_MIB} MiB and {FLAT_DESCRIPTORS} descriptors more are");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().unwrap())
}

async fn soak(stage: &Stage, span: Duration) -> Vec<Sample> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < span {
        samples.push(sample(stage, begun));
        sleep((span / 200).max(Duration::from_millis(500))).await;
    }
    samples
}

fn sample(stage: &Stage, begun: Instant) -> Sample {
    let pid = stage.bridge(0).pid();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    Sample {
        hours: begun.elapsed().as_secs_f64() / 3600.0,
        mib: memory(pid, "VmRSS"),
        descriptors: descriptors as f64,
    }
}

/// Growth an hour: the line of least squares through all samples.
fn slope(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|sample| sample.hours), mean(&value));
    let over: f64 = samples
        .iter()
        .map(|sample| (sample.hours - x) * (value(sample) - y))
        .sum();
    let under: f64 = samples
        .iter()
        .map(|sample| (sample.hours - x).powi(2))
        .sum();
    over / under
}

/// Closes all connections without a goodbye, as soon as each has carried a frame, again and again:
/// those that never carry one would be a stall, after which the bridge calls up slowly.
async fn reconnect(stage: &Stage, times: u64) {
    let mut closed = 0;
    while closed < times {
        let used = wait::until("connections that carry frames", async || {
            let links = stage.sim.links();
            let live = links.iter().filter(|link| link.state == "live");
            let used = live.filter(|link| link.acks > 1).count();
            (used >= 2).then_some(used)
        });
        closed += used.await as u64;
        let fault = Fault::Close {
            app: CLIENT_ID.to_owned(),
            link: None,
            code: 1006,
        };
        stage.sim.inject(fault).await.unwrap();
    }
    stage.sim.connected(CLIENT_ID, 2).await.unwrap();
    // What the last ones left behind is let go of.
    sleep(Duration::from_secs(20)).await;
}
