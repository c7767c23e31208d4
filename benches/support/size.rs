//! What is measured, and how much: the full run for the document, or a quick one to see that it works.

use std::path::PathBuf;

/// Whether `BENCH_QUICK` asks for the short run.
pub(crate) fn quick() -> bool {
    asked("BENCH_QUICK")
}

fn asked(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0"))
}

/// The bridge that is measured: the one at `BENCH_BRIDGE`, as released, else the one that was built with this harness, which
/// has the features of everything that tests need.
pub(crate) fn bridge() -> PathBuf {
    let released = std::env::var_os("BENCH_BRIDGE").filter(|path| !path.is_empty());
    released.map_or_else(|| env!("CARGO_BIN_EXE_nats-dingtalk").into(), PathBuf::from)
}

/// Whether `BENCH_LOOPS` asks for the throughput of the loops alone: what a change is tried with.
pub(crate) fn loops_alone() -> bool {
    asked("BENCH_LOOPS")
}

/// A number from the environment, else the one of this kind of run.
pub(crate) fn size(name: &str, full: u64, short: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(if quick() { short } else { full })
}
