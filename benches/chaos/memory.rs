//! A memory quota of the kernel (cgroup, version 1 or 2) for one process of a row.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where version 1 keeps its memory groups, and the file with the limit.
const FIRST: (&str, &str) = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes");
/// The same of version 2.
const SECOND: (&str, &str) = ("/sys/fs/cgroup", "memory.max");

/// A group with a limit; gone when dropped.
pub(crate) struct Quota {
    folder: PathBuf,
    hog: Option<Child>,
}

impl Quota {
    /// A new group of at most so many MiB; `None` where this process may not make one.
    pub(crate) fn new(mib: u64) -> Option<Self> {
        let name = format!(
            "nats-dingtalk-chaos-{}-{}",
            std::process::id(),
            fastrand::u32(..)
        );
        [FIRST, SECOND].into_iter().find_map(|(root, limit)| {
            let folder = Path::new(root).join(&name);
            fs::create_dir(&folder).ok()?;
            // Dropped, and so removed, where memory is not what this hierarchy limits.
            let quota = Self { folder, hog: None };
            fs::write(quota.folder.join(limit), (mib << 20).to_string()).ok()?;
            Some(quota)
        })
    }

    /// A line of shell that puts its own process into the group.
    pub(crate) fn entry(&self) -> String {
        format!("echo $$ > '{}'", self.folder.join("cgroup.procs").display())
    }

    /// Puts a process into the group. What it holds already stays with its former group.
    pub(crate) fn admit(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Lets a neighbour in the group eat everything, so that the kernel kills `victim` for it.
    pub(crate) fn exhaust(&mut self, victim: u32) {
        fs::write(format!("/proc/{victim}/oom_score_adj"), "1000").unwrap();
        let script = format!(
            "{} && exec dd if=/dev/zero of=/dev/null bs=4G count=1",
            self.entry()
        );
        let hog = Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::null())
            .spawn();
        self.hog = Some(hog.unwrap());
    }

    /// Takes the neighbour away.
    pub(crate) fn relieve(&mut self) {
        if let Some(mut hog) = self.hog.take() {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.relieve();
        // A process that is just dying still counts.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
