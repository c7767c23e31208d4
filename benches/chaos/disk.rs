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

    /// Lets nobody write from now on, or everybody again. No file on it may be open for writing.
    pub(crate) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(run("mount", &["-o", &options], &self.0), "{options}");
    }

    /// Takes all that is left.
    pub(crate) fn fill(&self) {
        let filler = std::fs::File::create(self.filler()).unwrap();
        let mut filler = std::io::BufWriter::new(filler);
        let block = vec![0_u8; 64 * 1024];
        while std::io::Write::write_all(&mut filler, &block).is_ok() {}
        let _ = filler.into_parts();
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}
