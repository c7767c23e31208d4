//! Instructions that the hot path takes, counted by valgrind and compared with a baseline: a change that
//! makes it dearer shows on any machine, however busy, which time does not.
//!
//! `make guard`; `RENEW=1` writes the baseline anew. Called with the name of a scenario and a count it does
//! the work that is counted.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that stops at the first surprise"
)]

mod baseline;
mod callgrind;
mod scenario;

use std::process::ExitCode;

use mimalloc::MiMalloc;

use self::baseline::Baseline;

/// As in the bridge.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, name, count] = arguments.as_slice() {
        scenario::run(name, count.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let renew = std::env::var("RENEW").is_ok_and(|value| !value.is_empty());
    let measured = scenario::NAMES.map(|name| {
        let instructions = callgrind::instructions(name, scenario::items(name));
        (name, instructions)
    });
    if renew {
        Baseline::write(&measured);
        return ExitCode::SUCCESS;
    }
    if Baseline::read().holds(&measured) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
