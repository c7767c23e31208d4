//! Socket to ack, side by side: a bare loop, the bridge, and DingTalk's official SDKs with a plain
//! publish, on the same frames, pusher and broker settings, in interleaved rounds of one run.
//!
//! `make bench`; `BENCH_ROUNDS`, `BENCH_FRAMES` and `BENCH_ACCOUNTS` change its size.

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
mod broker;
mod contender;
mod process;
mod pusher;
mod report;

use std::time::Duration;

use self::contender::{Contender, Setting};
use self::pusher::{Gateway, Pace};
use self::report::{Row, Table};

/// What a round pushes through each contender before it is measured.
const WARM_UP: u64 = 2_000;
/// How long an answer may take before the frame counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(20);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [_, mode, gateway, nats] = arguments.as_slice()
        && mode == "--bare"
    {
        runtime.block_on(bare::run(gateway, nats));
        return;
    }
    runtime.block_on(measure());
}

async fn measure() {
    let rounds = number("BENCH_ROUNDS", 3);
    let frames = number("BENCH_FRAMES", 60_000);
    println!(
        "{} rounds of {frames} frames of {} bytes, 1000 chats\n",
        rounds,
        pusher::frame_bytes()
    );
    let mut table = Table::default();
    let mut run = 0;
    for _ in 0..rounds {
        for window in [64, 256] {
            for contender in Contender::ALL {
                run += 1;
                let count = contender.share(frames);
                if let Some(row) = one(contender, run, count, Pace::Window(window)).await {
                    table.add(&format!("window {window}"), contender, row);
                }
            }
        }
        // Latency is compared at half of what the bare loop can do at the narrower window.
        if let Some(full) = table.median_rate("window 64", Contender::Bare) {
            for contender in [Contender::Bare, Contender::Bridge] {
                run += 1;
                let rate = full / 2.0;
                if let Some(row) = one(contender, run, frames / 2, Pace::Rate(rate)).await {
                    table.add("half load", contender, row);
                }
            }
        }
    }
    table.print();
    idle(&[1, 100, number("BENCH_ACCOUNTS", 1000)]).await;
}

/// One contender, started fresh, warmed up and measured.
async fn one(contender: Contender, run: u64, frames: u64, pace: Pace) -> Option<Row> {
    let gateway = Gateway::start().await;
    let setting = Setting::new(&gateway.url(), 1).await;
    let process = contender.start(&setting)?;
    let mut socket = gateway.socket().await;
    pusher::push(&mut socket, run * 2, WARM_UP, Pace::Window(64), PATIENCE).await;
    let before = process.cpu();
    let result = pusher::push(&mut socket, run * 2 + 1, frames, pace, PATIENCE).await;
    let cpu = process.cpu() - before;
    let stored = setting.stored().await;
    Some(Row::new(
        &result,
        cpu,
        process.memory("VmHWM"),
        frames,
        stored == frames + WARM_UP,
    ))
}

/// Memory of the bridge with this many accounts connected and nothing to do.
async fn idle(counts: &[u64]) {
    println!("\n| accounts, connected and idle | sockets | RSS MiB |\n|---:|---:|---:|");
    for &accounts in counts {
        let gateway = Gateway::start().await;
        let setting = Setting::new(&gateway.url(), accounts).await;
        let Some(process) = Contender::Bridge.start(&setting) else {
            return;
        };
        let wanted = usize::try_from(accounts).unwrap() * 2;
        let mut held = Vec::new();
        while held.len() < wanted {
            held.push(gateway.socket().await);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        println!(
            "| {accounts} | {} | {:.1} |",
            gateway.accepted(),
            process.memory("VmRSS")
        );
    }
}
