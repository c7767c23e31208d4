//! Signals to processes. One that is told to stop is stopped when this returns: the kernel needs a moment
//! for all threads of a busy one.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::wait::PATIENCE;

/// Sends the signal `name`, such as `TERM`, to the process `pid`.
pub(crate) fn send(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.unwrap().success(), "kill -{name} {pid}");
    if name == "STOP" {
        let since = Instant::now();
        while !is_stopped(pid) {
            assert!(since.elapsed() < PATIENCE, "process {pid} does not stop");
            sleep(Duration::from_millis(1));
        }
    }
}

/// Whether every thread of a process is stopped; where threads cannot be asked, the process.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        let pid = pid.to_string();
        let told = Command::new("ps")
            .args(["-o", "state=", "-p", &pid])
            .output();
        let state = told.unwrap().stdout;
        return state.trim_ascii_start().starts_with(b"T");
    };
    let mut stats =
        threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")));
    // The name of a thread may hold anything, its state comes after the last bracket. One that has
    // ended meanwhile does nothing more.
    stats.all(|stat| {
        let Ok(stat) = stat else { return true };
        let state = stat.rsplit(')').next().unwrap_or_default();
        state.trim_start().starts_with('T')
    })
}
