//! Hours of load and a thousand reconnects: do memory and descriptors stay where they are?

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nats_dingtalk::message::Timestamp;
use nats_dingtalk::sim::Fault;
use tokio::time::{Instant, sleep};

use crate::document;
use crate::load::Amount;
use crate::process::memory;
use crate::report::machine;
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

/// How long the broker is away at first.
const OUTAGE: Duration = Duration::from_secs(20);
/// How often it says how far it is.
const NEWS: Duration = Duration::from_secs(60);
/// Load, which is half that of the rows: 500 frames/s and 100 requests/s.
const AMOUNT: Amount = Amount {
    burst: 1000,
    requests: 100,
    chats: 50,
    answers: false,
    crowd: 0,
};

/// What a process holds at one moment.
struct Sample {
    hours: f64,
    mib: f64,
    descriptors: f64,
}

/// Soaks, reconnects, writes it down, judges.
pub(crate) async fn run() -> ExitCode {
    let span = Duration::from_secs(number("SOAK_SECONDS", SPAN));
    let plan = Plan {
        amount: AMOUNT,
        sim: |options| options.keep = 20_000,
        ..Plan::default()
    };
    let mut stage = Stage::up(plan, fastrand::Rng::new()).await;
    let outage = OUTAGE.min(span / 20);
    // The first tenth fills caches and pools, those of the spool among them.
    stage.brokers.nodes[0].kill();
    sleep(outage).await;
    stage.brokers.nodes[0].restart().await;
    sleep(span / 10).await;
    let soaked = soak(&stage, span - span / 10).await;
    let frames = stage.sim.counters().pushed;
    let sends = stage.sim.counters().delivered;
    // Nothing grows either where nothing moves.
    let asked = AMOUNT.requests * span.as_secs();
    assert!(
        sends > asked / 2,
        "{sends} of some {asked} requests went out"
    );
    let before = least(&stage).await;
    let reconnects = number("SOAK_RECONNECTS", RECONNECTS);
    reconnect(&stage, reconnects).await;
    let after = least(&stage).await;
    let judged = [
        Judged::slope("memory over the soak, MiB", &soaked, |s| s.mib, FLAT_MIB),
        Judged::slope(
            "descriptors over the soak",
            &soaked,
            |s| s.descriptors,
            FLAT_DESCRIPTORS,
        ),
        Judged::step(
            "memory over the reconnects, MiB",
            (before.mib, after.mib),
            FLAT_MIB,
        ),
        Judged::step(
            "descriptors over the reconnects",
            (before.descriptors, after.descriptors),
            FLAT_DESCRIPTORS,
        ),
    ];
    let mut text = format!(
        "Date {}, {}.\n\n{} s under load, of which the first tenth, with the broker away for {} s, is left out: {frames} frames in, {sends} \
         requests out. Then {reconnects} reconnects under the same load, each connection closed without \
         a goodbye once it had carried frames.\n\n\
         | Of the bridge | at first | at last | growth | at most |\n|---|---|---|---|---|\n",
        Timestamp::now(),
        machine(),
        span.as_secs(),
        outage.as_secs(),
    );
    judged.iter().for_each(|judged| text += &judged.line());
    print!("{text}");
    let path = if span.as_secs() >= SPAN {
        document::PUBLISHED
    } else {
        "target/soak.md"
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    document::put_soak(&path, &text);
    println!("written to {}", path.display());
    let grown = |judged: &&Judged| judged.growth > judged.bound;
    let telling = if span >= TELLING {
        &judged[..]
    } else {
        &judged[2..]
    };
    match telling.iter().find(grown) {
        None => ExitCode::SUCCESS,
        Some(grown) => {
            println!("not flat: {}", grown.what);
            ExitCode::FAILURE
        }
    }
}

/// One thing that has to stay where it is.
struct Judged {
    what: &'static str,
    first: f64,
    last: f64,
    growth: f64,
    unit: &'static str,
    bound: f64,
}

impl Judged {
    /// Growth an hour.
    fn slope(
        what: &'static str,
        samples: &[Sample],
        value: fn(&Sample) -> f64,
        bound: f64,
    ) -> Self {
        Self {
            what,
            first: samples.first().map_or(0.0, value),
            last: samples.last().map_or(0.0, value),
            growth: slope(samples, value),
            unit: " an hour",
            bound,
        }
    }

    /// Growth from one moment to another.
    fn step(what: &'static str, (first, last): (f64, f64), bound: f64) -> Self {
        Self {
            what,
            first,
            last,
            growth: last - first,
            unit: "",
            bound,
        }
    }

    fn line(&self) -> String {
        let Self {
            what,
            first,
            last,
            growth,
            unit,
            bound,
        } = self;
        format!("| {what} | {first:.1} | {last:.1} | {growth:+.2}{unit} | {bound:.0} |\n")
    }
}

fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().unwrap())
}

async fn soak(stage: &Stage, span: Duration) -> Vec<Sample> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    let mut said = Instant::now();
    while begun.elapsed() < span {
        let now = sample(stage, begun);
        if said.elapsed() >= NEWS {
            said = Instant::now();
            println!(
                "after {:.0} min: {} frames, {:.1} MiB, {} descriptors, {:+.2} MiB an hour so far",
                begun.elapsed().as_secs_f64() / 60.0,
                stage.sim.counters().pushed,
                now.mib,
                now.descriptors,
                slope(&samples, |sample| sample.mib),
            );
        }
        samples.push(now);
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

/// The least of half a minute: calls under load open connections and let go of them, and what is kept for
/// good shows in what is never less.
async fn least(stage: &Stage) -> Sample {
    let begun = Instant::now();
    let mut least = sample(stage, begun);
    while begun.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(500)).await;
        let now = sample(stage, begun);
        least.mib = least.mib.min(now.mib);
        least.descriptors = least.descriptors.min(now.descriptors);
    }
    least
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
        let used = used.await as u64;
        let fault = Fault::Close {
            app: CLIENT_ID.to_owned(),
            link: None,
            code: 1006,
        };
        // They may have ended by themselves meanwhile.
        if stage.sim.inject(fault).await.is_ok() {
            closed += used;
        }
    }
    stage.sim.connected(CLIENT_ID, 2).await.unwrap();
    // What the last ones left behind is let go of.
    sleep(Duration::from_secs(20)).await;
}
