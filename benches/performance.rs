//! Speed and size, measured in one run and written to `docs/performance.md` with its plots.
//!
//! `make bench`; `BENCH_QUICK=1` for a short run into `target/performance`. `BENCH_ROUNDS`, `BENCH_FRAMES`, `BENCH_LATENCY_MS`,
//! `BENCH_REQUESTS`, `BENCH_CARDS`, `BENCH_ACCOUNTS`, `BENCH_BACKLOG`, `BENCH_STARTS`, `BENCH_OUTAGES` and `BENCH_SPOOL`
//! change its size; `BENCH_LOOPS=1` measures the throughput of the loops alone, into `target/performance`, and beside them the bridge
//! at the path `BENCH_BESIDE`, as one that was built before a change. `BENCH_VERBOSE` shows what the contenders print.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that stops at the first surprise"
)]

mod path;
mod send;
mod support;

use std::time::Instant;

use self::support::Page;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The bare HTTP loop measures least beside itself on one thread.
    let mut runtime = match arguments.first() {
        Some(&"--http") => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(async {
        if !path::child(&arguments).await && !send::child(&arguments).await {
            measure().await;
        }
    });
}

async fn measure() {
    let begun = Instant::now();
    let mut page = Page::new();
    path::measure(&mut page).await;
    if !support::loops_alone() {
        send::measure(&mut page).await;
    }
    page.section("The time it took");
    page.text(&format!(
        "The whole run took {:.0} minutes.",
        begun.elapsed().as_secs_f64() / 60.0
    ));
    page.write();
}
