//! Texts to many people: the bridge from the stream to the receipt, and a bare HTTP loop.

use std::process::Command;
use std::time::Duration;

use nats_dingtalk::sim::{Sent, Sim};

use super::scene::Scene;
use crate::path::process::{Process, cpu};
use crate::support::{Page, Spread, ratios, size};

/// Requests whose rate is not counted at either end: starting and stopping.
const EDGE: f64 = 0.1;
/// Calls of the bare loop at a time; as many as the bridge has.
const AT_ONCE: usize = 256;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Bare,
    Bridge,
}

/// What one round came to.
struct Row {
    contender: Contender,
    rate: f64,
    /// Processor time a send, in µs: of the contender, the broker, and the harness with the simulator.
    own: f64,
    broker: f64,
    simulator: f64,
    peak_mib: f64,
}

/// Measures and writes.
pub(super) async fn measure(page: &mut Page) {
    let rounds = size("BENCH_ROUNDS", 5, 1);
    let count = usize::try_from(size("BENCH_REQUESTS", 15_000, 2_000)).unwrap();
    let mut rows = Vec::new();
    for _ in 0..rounds {
        for contender in [Contender::Bare, Contender::Bridge] {
            rows.push(one(contender, count).await);
        }
    }
    page.section("Out: sends");
    page.text(&format!(
        "{rounds} interleaved rounds of {count} texts to 1000 people, pacing off, to a simulated DingTalk in the harness. The bare loop \
         posts them to the robot API, {AT_ONCE} at once, and nothing else. The bridge takes them out of the stream, keeps the order of each \
         chat, notes each in the ledger three times (claimed, sending, done), sends it, stores its receipt and acknowledges it: four \
         writes to the broker for each send, which are what makes sure that nothing is sent twice."
    ));
    write(&rows, page);
}

fn write(rows: &[Row], page: &mut Page) {
    let values = |contender, field: fn(&Row) -> f64| -> Vec<f64> {
        let own = rows.iter().filter(|row| row.contender == contender);
        own.map(field).collect()
    };
    let shown = |contender, field: fn(&Row) -> f64, digits| {
        Spread::of(values(contender, field)).map_or_else(String::new, |spread| spread.shown(digits))
    };
    let line = |name: &str, contender| {
        vec![
            name.to_owned(),
            shown(contender, |row| row.rate, 0),
            shown(contender, |row| row.own, 0),
            shown(contender, |row| row.broker, 0),
            shown(contender, |row| row.simulator, 0),
            shown(contender, |row| row.peak_mib, 1),
        ]
    };
    page.table(
        &[
            "",
            "sends/s",
            "CPU µs/send",
            "nats-server µs/send",
            "simulator µs/send",
            "peak RSS, MiB",
        ],
        &[
            line("a bare HTTP loop", Contender::Bare),
            line("the bridge", Contender::Bridge),
        ],
    );
    let rate = |contender| values(contender, |row| row.rate);
    if let Some(ratio) = ratios(&rate(Contender::Bridge), &rate(Contender::Bare)) {
        page.text(&format!(
            "Bridge to bare loop: {}. DingTalk allows an app 20 calls a second.",
            ratio.shown(2)
        ));
    }
}

/// One contender, from a standing start until everything is delivered.
async fn one(contender: Contender, count: usize) -> Row {
    let scene = Scene::start(count + 10).await;
    if contender == Contender::Bridge {
        scene.prepare().await;
        scene.publish_texts(count).await;
    }
    let used = || (cpu(scene.broker_pid()), cpu(std::process::id()));
    let before = used();
    let process = match contender {
        Contender::Bare => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let (count, at_once) = (count.to_string(), AT_ONCE.to_string());
            command.args(["--http", scene.sim.api_url(), &count, &at_once]);
            Process::start(command)
        }
        Contender::Bridge => scene.bridge(),
    };
    let (delivered, own, peak_mib) = until_delivered(&scene.sim, count, &process).await;
    let after = used();
    let each = |used: Duration| used.as_secs_f64() * 1e6 / count as f64;
    Row {
        contender,
        rate: rate(&delivered),
        own: each(own),
        broker: each(after.0 - before.0),
        simulator: each(after.1 - before.1),
        peak_mib,
    }
}

/// Waits for all of them; what the process has used by then.
async fn until_delivered(sim: &Sim, count: usize, process: &Process) -> (Vec<Sent>, Duration, f64) {
    for _ in 0..1200 {
        if sim.counters().delivered >= count as u64 {
            // Receipts and acknowledgements of the last ones.
            tokio::time::sleep(Duration::from_millis(300)).await;
            return (sim.delivered(), process.cpu(), process.memory("VmHWM"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} of {count} delivered", sim.counters().delivered);
}

/// Sends a second between the edges, by the times at which they were applied.
fn rate(delivered: &[Sent]) -> f64 {
    let edge = (delivered.len() as f64 * EDGE) as usize;
    let (first, last) = (&delivered[edge], &delivered[delivered.len() - 1 - edge]);
    let span = last.at.since(first.at).as_secs_f64();
    (last.seq - first.seq) as f64 / span
}
