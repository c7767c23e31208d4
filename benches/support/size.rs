//! How much is measured: the full run for the document, or a quick one to see that it works.

/// Whether `BENCH_QUICK` asks for the short run.
pub(crate) fn quick() -> bool {
    std::env::var("BENCH_QUICK").is_ok_and(|value| !matches!(value.as_str(), "" | "0"))
}

/// Whether `BENCH_LOOPS` asks for the throughput of the loops alone: what a change is tried with.
pub(crate) fn loops_alone() -> bool {
    std::env::var("BENCH_LOOPS").is_ok_and(|value| !matches!(value.as_str(), "" | "0"))
}

/// A number from the environment, else the one of this kind of run.
pub(crate) fn size(name: &str, full: u64, short: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(if quick() { short } else { full })
}
