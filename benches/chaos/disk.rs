//! A small file system of its own, so that it can be full, read-only or broken.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for a journal of the file system and for what a row spools.
const IMAGE_SIZE: &str = "96m";

/// What a file system is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ground {
    /// A tmpfs of this size, such as `8m`.
    Memory(&'static str),
    /// An ext4 in a file, which turns read-only at an error as those of servers do.
    Image,
}

/// A mounted file system; unmounted when dropped.
pub(crate) struct Disk {
    path: PathBuf,
    image: Option<tempfile::NamedTempFile>,
}

/// Whether this process may mount at all; for an image it needs the tools of ext4 besides.
pub(crate) fn may_mount(ground: Ground) -> bool {
    let there = tempfile::TempDir::new().unwrap();
    Disk::try_mount(there.path(), ground).is_some()
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

impl Disk {
    /// Mounts one on a folder.
    pub(crate) fn mount(path: &Path, ground: Ground) -> Self {
        let mounted = Self::try_mount(path, ground);
        mounted.unwrap_or_else(|| panic!("{} cannot be mounted", path.display()))
    }

    fn try_mount(path: &Path, ground: Ground) -> Option<Self> {
        let path = path.to_owned();
        match ground {
            Ground::Memory(size) => {
                let options = format!("size={size}");
                let mounted = run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], &path);
                mounted.then_some(Self { path, image: None })
            }
            Ground::Image => {
                let image = tempfile::NamedTempFile::new().unwrap();
                let made = run("truncate", &["-s", IMAGE_SIZE], image.path())
                    && run("mkfs.ext4", &["-q"], image.path());
                let disk = Self {
                    path,
                    image: Some(image),
                };
                (made && disk.mount_image()).then_some(disk)
            }
        }
    }

    fn mount_image(&self) -> bool {
        let image = self.image.as_ref().unwrap().path().display().to_string();
        run(
            "mount",
            &["-o", "loop,errors=remount-ro", &image],
            &self.path,
        )
    }

    /// Lets the kernel find an error in an ext4: it is read-only from now on, with all files open.
    pub(crate) fn fail(&self) {
        let source = Command::new("findmnt")
            .args(["-no", "SOURCE", "--mountpoint"])
            .arg(&self.path)
            .output()
            .unwrap();
        let source = String::from_utf8(source.stdout).unwrap();
        let device = Path::new(source.trim()).file_name().unwrap().to_owned();
        let switch = Path::new("/sys/fs/ext4")
            .join(device)
            .join("trigger_fs_error");
        std::fs::write(switch, "1").unwrap();
    }

    /// Checks and mounts it anew, as an operator would; nobody may have a file of it open.
    pub(crate) fn mend(&self) {
        let image = self.image.as_ref().unwrap().path();
        assert!(run("umount", &[], &self.path), "the spool is in use");
        // Its exit code says whether it mended something, not only whether it failed.
        run("e2fsck", &["-fy"], image);
        assert!(self.mount_image(), "the mended spool cannot be mounted");
    }

    /// Changes an option, such as `ro`, for which no file on it may be open for writing.
    pub(crate) fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(run("mount", &["-o", &options], &self.path), "{options}");
    }

    /// Takes away all that is free.
    pub(crate) fn fill(&self) {
        let mut used = Command::new("df");
        let used = used.args(["--output=used", "-k"]).arg(&self.path).output();
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
        run("umount", &["-l"], &self.path);
    }
}
