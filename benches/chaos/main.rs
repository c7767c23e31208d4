//! The loss ledger: the bridge between a real broker and a simulated DingTalk, under load, while
//! everything breaks that can; then the books of both sides are settled message by message.
//!
//! `make chaos` runs the short set; `FULL=1` all, `ONLY=<parts of names>` some, separated by commas, `SEED=<n>` repeats
//! the moments and targets of a run, `LIST=1` names the rows, `SOAK=1` watches memory and descriptors
//! instead.

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
mod document;
mod load;
mod memory;
mod plan;
#[expect(dead_code, reason = "shared with the benchmark, which uses the rest")]
#[path = "../path/process.rs"]
mod process;
mod proxy;
mod report;
mod row;
mod rows;
mod run;
mod settle;
mod soak;
mod stage;
#[expect(dead_code, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        builds::check_builds();
        println!("{}", report::machine());
        if variable("SOAK").is_some() {
            soak::run().await
        } else {
            run::run().await
        }
    })
}
