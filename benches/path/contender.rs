//! Who is measured on the way in.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Process;
use super::setting::Setting;
use crate::support::loops_alone;

/// One way of doing the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    /// Publishing alone, the messages of the bare loop.
    Publish,
    /// Publishing alone, messages of the bridge's shape.
    PublishFull,
    /// The floor.
    Bare,
    /// The floor with messages of the bridge's shape.
    BareFull,
    /// The bridge, as released.
    Bridge,
    /// Another build of it.
    Beside,
    /// dingtalk-stream for Python with nats-py.
    Python,
    /// dingtalk-stream for Node with nats.js.
    Node,
}

impl Contender {
    /// All of them, in the order of a round.
    pub(super) const ALL: [Self; 8] = [
        Self::Publish,
        Self::PublishFull,
        Self::Bare,
        Self::BareFull,
        Self::Bridge,
        Self::Beside,
        Self::Python,
        Self::Node,
    ];

    /// Those whose latency is worth a curve.
    pub(super) const LOOPS: [Self; 3] = [Self::Bare, Self::BareFull, Self::Bridge];

    /// What it is called in tables and plots.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Publish => "raw publish",
            Self::PublishFull => "raw publish, full",
            Self::Bare => "bare loop",
            Self::BareFull => "bare loop, full",
            Self::Bridge => "the bridge",
            Self::Beside => "the bridge, other build",
            Self::Python => "Python SDK, nats-py",
            Self::Node => "Node SDK, nats.js",
        }
    }

    /// How many of `frames` it is given; the slow ones get fewer, so that a round ends.
    pub(super) const fn share(self, frames: u64) -> u64 {
        match self {
            Self::Python | Self::Node => frames / 10,
            _ => frames,
        }
    }

    /// The sample that it works with: a path, or `-`.
    pub(super) fn sample(self, sample: &Path) -> &str {
        match self {
            Self::PublishFull | Self::BareFull => sample.to_str().unwrap(),
            _ => "-",
        }
    }

    /// Starts it; `None`, said aloud, when what it needs is missing.
    pub(super) fn start(self, setting: &Setting, sample: &Path) -> Option<Process> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let command = match self {
            Self::Publish | Self::PublishFull => return None,
            Self::Bare | Self::BareFull => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                let (gateway, nats) = (setting.gateway(), setting.broker().url());
                command.args(["--bare", gateway, &nats, self.sample(sample)]);
                command
            }
            Self::Bridge => return Some(setting.bridge()),
            Self::Beside => {
                let path = std::env::var_os("BENCH_BESIDE").filter(|_| loops_alone())?;
                return Some(setting.bridge_at(Path::new(&path)));
            }
            Self::Python | Self::Node if loops_alone() => return None,
            Self::Python => peer(&root, ".cache/sdk-python/bin/python", "python/main.py")?,
            Self::Node => peer(&root, "node", "node/main.mjs")?,
        };
        Some(Process::start(setting.addressed(command)))
    }
}

fn peer(root: &Path, program: &str, script: &str) -> Option<Command> {
    let program = if program.contains('/') {
        root.join(program)
    } else {
        PathBuf::from(program)
    };
    if Command::new(&program).arg("--version").output().is_err() {
        println!("NOT MEASURED: {} is missing", program.display());
        return None;
    }
    let mut command = Command::new(program);
    command
        .arg(root.join("benches/peers").join(script))
        .env("NODE_PATH", root.join(".cache/sdk-node/node_modules"))
        .env("SDK_NODE", root.join(".cache/sdk-node"));
    Some(command)
}
