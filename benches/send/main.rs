//! Request to DingTalk, side by side: a bare reqwest loop and the whole outbound path of the bridge,
//! to the same simulated DingTalk with pacing off; then what large files, many cards and a takeover cost.
//!
//! `make bench`; `BENCH_ROUNDS` and `BENCH_REQUESTS` change its size.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that stops at the first surprise"
)]

mod bare;
#[path = "../path/broker.rs"]
mod broker;
#[path = "../path/process.rs"]
mod process;
mod scene;
mod special;

use std::process::Command;
use std::time::Duration;

use nats_dingtalk::sim::{Sent, Sim};

use self::process::Process;
use self::scene::Scene;

/// Requests whose rate is not counted at either end: starting and stopping.
const EDGE: f64 = 0.1;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Bare,
    Bridge,
}

struct Row {
    contender: Contender,
    rate: f64,
    cpu_micros: f64,
    peak_mib: f64,
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, api, count, at_once] = arguments.as_slice()
        && mode == "--bare"
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let numbers = (count.parse().unwrap(), at_once.parse().unwrap());
        runtime.block_on(bare::run(api, numbers));
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        sends().await;
        special::run().await;
    });
}

async fn sends() {
    let rounds = number("BENCH_ROUNDS", 3);
    let count = number("BENCH_REQUESTS", 20_000);
    println!("{rounds} rounds of {count} texts to 1000 people, pacing off\n");
    let mut rows = Vec::new();
    for _ in 0..rounds {
        for contender in [Contender::Bare, Contender::Bridge] {
            rows.push(one(contender, count).await);
        }
    }
    println!("| | sends/s | CPU µs/send | peak RSS MiB |\n|---|---:|---:|---:|");
    for contender in [Contender::Bare, Contender::Bridge] {
        println!(
            "| {} | {:.0} | {:.0} | {:.1} |",
            match contender {
                Contender::Bare => "a bare reqwest loop, 256 at once",
                Contender::Bridge => "the bridge: stream, ledger, send, receipt",
            },
            median(&rows, contender, |row| row.rate),
            median(&rows, contender, |row| row.cpu_micros),
            median(&rows, contender, |row| row.peak_mib),
        );
    }
    let of = |contender| median(&rows, contender, |row: &Row| row.rate);
    println!(
        "\nbridge / bare: {:.2}",
        of(Contender::Bridge) / of(Contender::Bare)
    );
}

fn median(rows: &[Row], contender: Contender, value: fn(&Row) -> f64) -> f64 {
    let mut values: Vec<f64> = rows
        .iter()
        .filter(|row| row.contender == contender)
        .map(value)
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One contender, from a standing start until everything is delivered.
async fn one(contender: Contender, count: usize) -> Row {
    let scene = Scene::start(count + 10).await;
    let process = match contender {
        Contender::Bare => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--bare", scene.sim.api_url(), &count.to_string(), "256"]);
            Process::start(command)
        }
        Contender::Bridge => {
            scene.prepare().await;
            scene.publish_texts(count).await;
            scene.bridge()
        }
    };
    let (delivered, cpu, peak_mib) = until_delivered(&scene.sim, count, &process).await;
    Row {
        contender,
        rate: rate(&delivered),
        cpu_micros: cpu.as_secs_f64() * 1e6 / count as f64,
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
