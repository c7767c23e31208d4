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
    mib: u64,
    hogs: Vec<Child>,
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
            let quota = Self {
                folder,
                mib,
                hogs: Vec::new(),
            };
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

    /// Lets two neighbours in the group eat more than there is, so that the kernel kills `victim` for it:
    /// neither of them is as large as a process is taken for that may be killed first.
    pub(crate) fn exhaust(&mut self, victim: u32) {
        fs::write(format!("/proc/{victim}/oom_score_adj"), "1000").unwrap();
        let share = self.mib * 6 / 10;
        let script = format!(
            "{} && exec dd if=/dev/zero of=/dev/null bs={share}M",
            self.entry()
        );
        for _ in 0..2 {
            let hog = Command::new("sh")
                .args(["-c", &script])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            self.hogs.push(hog.unwrap());
        }
    }

    /// Takes the neighbours away.
    pub(crate) fn relieve(&mut self) {
        for mut hog in self.hogs.drain(..) {
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
