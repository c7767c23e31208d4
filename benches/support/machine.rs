//! What the figures were measured on.

use std::process::Command;

use nats_dingtalk::message::Timestamp;

use super::broker::program;

/// Date, build, broker, processor and system in one paragraph.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let processor = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown processor", |(_, name)| name.trim());
    let meminfo = read("/proc/meminfo");
    let memory: f64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    let load = read("/proc/loadavg");
    format!(
        "{date}, nats-dingtalk {version} ({build} build), {server}, {rustc}, {cores} cores of {processor}, \
         {memory:.0} GiB of memory, Linux {kernel}; load average before the run {load}. Broker, contender and the \
         DingTalk side share these cores.",
        date = Timestamp::now(),
        version = env!("CARGO_PKG_VERSION"),
        build = if cfg!(debug_assertions) {
            "dev"
        } else {
            "release"
        },
        server = said(&program(), "--version"),
        rustc = said("rustc", "--version"),
        memory = memory / 1024.0 / 1024.0,
        kernel = read("/proc/sys/kernel/osrelease").trim(),
        load = load.split_whitespace().next().unwrap_or("unknown"),
    )
}

/// The first line that a program prints.
fn said(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    match text.lines().next() {
        Some(line) => line.trim().to_owned(),
        None => format!("{program} of unknown version"),
    }
}
