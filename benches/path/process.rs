//! A contender as a process: started, measured, stopped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a process is watched at a time to see whether it has nothing to do.
pub(crate) const LOOK: Duration = Duration::from_secs(2);
/// Processor time in that span below which it has nothing to do.
pub(crate) const REST: Duration = Duration::from_millis(60);

/// A running contender; killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command`; what it prints is dropped unless `BENCH_VERBOSE` is set.
    pub(crate) fn start(mut command: Command) -> Self {
        if std::env::var_os("BENCH_VERBOSE").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let program = command.get_program().to_owned();
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{}: {error}", Path::new(&program).display())),
        )
    }

    /// Processor time used so far, in user and kernel.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.0.id())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Resident memory in MiB: `VmRSS` now, `VmHWM` at its peak.
    pub(crate) fn memory(&self, field: &str) -> f64 {
        memory(self.0.id(), field)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a process has nothing left to do; says aloud when it still has after `looks` looks.
pub(crate) async fn rest(what: &str, pid: u32, looks: usize) {
    for _ in 0..looks {
        let before = cpu(pid);
        tokio::time::sleep(LOOK).await;
        if cpu(pid) - before < REST {
            return;
        }
    }
    println!("NOT AT REST: {what} goes on working");
}

/// Memory of any process in MiB, by the name of the field.
pub(crate) fn memory(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(0.0, |kib| kib / 1024.0)
}

/// Processor time that any process has used so far, in user and kernel.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields 14 and 15, counted behind the name, which may hold blanks.
    let ticks: u64 = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    // The kernel counts in hundredths of a second on every platform that has /proc.
    Duration::from_millis(ticks * 10)
}
