//! The loss ledger: the bridge between a real broker and a simulated DingTalk, under load, while
//! everything breaks that can; then the books of both sides are settled message by message.
//!
//! `make chaos` runs the short set; `FULL=1` all, `ONLY=<parts of names>` some, separated by commas, `SEED=<n>` repeats
//! the moments and targets of a run, `SOAK=1` watches memory and descriptors instead.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that stops at the first surprise"
)]

mod brokers;
mod builds;
mod disk;
mod load;
#[expect(dead_code, reason = "shared with the benchmark, which uses the rest")]
#[path = "../path/process.rs"]
mod process;
mod proxy;
mod report;
mod row;
mod rows;
mod settle;
mod soak;
mod stage;
#[expect(dead_code, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt;

use self::report::Ledger;
use self::row::{NotRun, Outcome, Scenario, Set};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run())
}

async fn run() -> ExitCode {
    builds::check_builds();
    if variable("SOAK").is_some() {
        return soak::run().await;
    }
    let seed =
        variable("SEED").map_or_else(|| fastrand::u64(..1_000_000), |text| text.parse().unwrap());
    let set = if variable("FULL").is_some() {
        Set::Full
    } else {
        Set::Short
    };
    let only = variable("ONLY");
    let chosen = |scenario: &Scenario| match &only {
        Some(parts) => parts.split(',').any(|part| scenario.name.contains(part)),
        None => scenario.set <= set,
    };
    let rows = rows::all();
    let total = rows.len();
    let rows: Vec<Scenario> = rows.into_iter().filter(chosen).collect();
    let mut ledger = Ledger::new(seed, format!("{} of {total} rows", rows.len()));
    ledger.print_head();
    for scenario in rows {
        let begun = Instant::now();
        let outcome = one(&scenario, seed).await;
        ledger.add(scenario, outcome, begun.elapsed());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = match (set, &only) {
        (Set::Full, None) => root.join("docs/loss-ledger.md"),
        _ => root.join("target/loss-ledger.md"),
    };
    std::fs::write(&path, ledger.document()).unwrap();
    println!("\nwritten to {}; SEED={seed} repeats it", path.display());
    match ledger.missed() {
        0 => ExitCode::SUCCESS,
        missed => {
            println!("{missed} rows miss their aims");
            ExitCode::FAILURE
        }
    }
}

/// Runs a row; one that breaks off does not take the run along.
async fn one(scenario: &Scenario, seed: u64) -> Outcome {
    // Each row draws from its own well, so that it is the same row alone and among others.
    let seed = scenario.name.bytes().fold(seed, |sum, byte| {
        sum.wrapping_mul(1_099_511_628_211) ^ u64::from(byte)
    });
    let running = (scenario.run)(fastrand::Rng::with_seed(seed));
    match AssertUnwindSafe(running).catch_unwind().await {
        Ok(Ok(books)) => Outcome::Settled(books),
        Ok(Err(NotRun(why))) => Outcome::NotRun(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_default();
            Outcome::Broken(text.lines().next().unwrap_or_default().to_owned())
        }
    }
}
