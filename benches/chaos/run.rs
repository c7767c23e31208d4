//! A run: which rows, in which order, with which seed, and what becomes of their results. It knows
//! no fault.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::document;
use crate::report::Ledger;
use crate::row::{Outcome, Scenario, Set};
use crate::rows;
use crate::variable;

/// Longest that a row may take, and one that mostly waits: nothing may hold up a run for ever.
const LONGEST: [Duration; 2] = [Duration::from_secs(420), Duration::from_secs(1500)];

tokio::task_local! {
    /// Where the logs of the running row go.
    static LOGS: PathBuf;
}

/// The folder for the logs of the row that is running.
pub(crate) fn logs() -> Option<PathBuf> {
    LOGS.try_with(Clone::clone).ok()
}

/// Runs the rows that the environment names; fails when one misses an aim, or, with `CI` set, when its
/// books are wrong.
pub(crate) async fn run() -> ExitCode {
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
    if variable("LIST").is_some() {
        rows.iter().for_each(|row| println!("{}", row.name));
        return ExitCode::SUCCESS;
    }
    let mut ledger = Ledger::new(seed, format!("{} of {total} rows", rows.len()));
    ledger.print_head();
    let begun = Instant::now();
    for (scenario, outcome, took) in all(rows, seed).await {
        ledger.add(scenario, outcome, took);
    }
    ledger.took(begun.elapsed());
    let path = match (set, &only) {
        (Set::Full, None) => document::PUBLISHED,
        _ => "target/loss-ledger.md",
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    document::put_ledger(&path, &ledger.document());
    println!("\n{}", ledger.summary());
    println!("written to {}; SEED={seed} repeats it", path.display());
    // How soon something recovers depends on what else the machine has to do; what is lost does not.
    let failed = match variable("CI") {
        Some(_) => ledger.wrong(),
        None => ledger.missed(),
    };
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs every row: one after another, but those that mostly wait side by side at the end. In the order
/// of the ledger.
async fn all(rows: Vec<Scenario>, seed: u64) -> Vec<(Scenario, Outcome, Duration)> {
    let total = rows.len();
    let (idle, busy): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .enumerate()
        .partition(|(_, scenario)| scenario.idle);
    let mut results = Vec::new();
    for (place, scenario) in busy {
        println!("[{:>3}/{total}] {} ...", results.len() + 1, scenario.name);
        let (outcome, took) = one(&scenario, seed).await;
        println!(
            "          {}, {} s",
            outcome.verdict(&scenario),
            took.as_secs()
        );
        results.push((place, scenario, outcome, took));
    }
    if !idle.is_empty() {
        let names: Vec<&str> = idle.iter().map(|(_, row)| row.name.as_str()).collect();
        println!("side by side: {} ...", names.join("; "));
    }
    let running = idle.into_iter().map(async |(place, scenario)| {
        let (outcome, took) = one(&scenario, seed).await;
        let verdict = outcome.verdict(&scenario);
        println!(
            "          {}: {verdict}, {} s",
            scenario.name,
            took.as_secs()
        );
        (place, scenario, outcome, took)
    });
    results.extend(join_all(running).await);
    results.sort_by_key(|(place, ..)| *place);
    results
        .into_iter()
        .map(|(_, scenario, outcome, took)| (scenario, outcome, took))
        .collect()
}

/// Runs a row; one that breaks off does not take the run along.
async fn one(scenario: &Scenario, seed: u64) -> (Outcome, Duration) {
    let begun = Instant::now();
    // Each row draws from its own well, so that it is the same row alone and among others.
    let seed = scenario.name.bytes().fold(seed, |sum, byte| {
        sum.wrapping_mul(1_099_511_628_211) ^ u64::from(byte)
    });
    let name = scenario.name.replace(|c: char| !c.is_alphanumeric(), "-");
    let logs = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/chaos")
        .join(name);
    let _ = std::fs::remove_dir_all(&logs);
    let longest = LONGEST[usize::from(scenario.idle)];
    let running = timeout(longest, (scenario.run)(fastrand::Rng::with_seed(seed)));
    let running = LOGS.scope(logs, running);
    let outcome = match AssertUnwindSafe(running).catch_unwind().await {
        Ok(Ok(Ok(books))) => Outcome::Settled(Box::new(books)),
        Ok(Ok(Err(not_run))) => Outcome::NotRun(not_run),
        Ok(Err(_)) => Outcome::Broken(format!("not at its end after {} s", longest.as_secs())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_default();
            Outcome::Broken(text.lines().next().unwrap_or_default().to_owned())
        }
    };
    (outcome, begun.elapsed())
}
