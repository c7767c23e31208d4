//! A small file system of its own, so that it can be full or read-only.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs; unmounted when dropped.
pub(crate) struct Disk(PathBuf);

/// Whether this process may mount at all.
pub(crate) fn may_mount() -> bool {
    let there = tempfile::TempDir::new().unwrap();
    let mounted = run(
        "mount",
        &["-t", "tmpfs", "-o", "size=1m", "tmpfs"],
        there.path(),
    );
    mounted && run("umount", &["-l"], there.path())
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

impl Disk {
    /// Mounts one of this size, such as `8m`, on a folder.
    pub(crate) fn mount(path: &Path, size: &str) -> Self {
        let options = format!("size={size}");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], path);
        assert!(mounted, "{} cannot be mounted", path.display());
        Self(path.to_owned())
    }

    /// Changes an option, such as `ro`, for which no file on it may be open for writing.
    pub(crate) fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(run("mount", &["-o", &options], &self.0), "{options}");
    }

    /// Takes away all that is free.
    pub(crate) fn fill(&self) {
        let mut used = Command::new("df");
        let used = used.args(["--output=used", "-k"]).arg(&self.0).output();
        let used = String::from_utf8(used.unwrap().stdout).unwrap();
        let used: u64 = used.lines().nth(1).unwrap().trim().parse().unwrap();
        self.remount(&format!("size={}k", used + 64));
    }

    /// Gives so much in all.
    pub(crate) fn grow(&self, size: &str) {
        self.remount(&format!("size={size}"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}
