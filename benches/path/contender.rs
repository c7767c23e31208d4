//! Who is measured, and the broker that each of them gets for itself.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::Process;

/// One way of doing the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The floor.
    Bare,
    /// The bridge, as released.
    Bridge,
    /// dingtalk-stream for Python with nats-py.
    Python,
    /// dingtalk-stream for Node with nats.js.
    Node,
}

impl Contender {
    /// All of them, in the order of a round.
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Bridge, Self::Python, Self::Node];

    /// What it is called in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "(a) bare loop",
            Self::Bridge => "(b) the bridge",
            Self::Python => "(c) Python SDK + nats-py",
            Self::Node => "(c) Node SDK + nats.js",
        }
    }

    /// How many of `frames` it is given; the slow ones get fewer, so that a round ends.
    pub(crate) const fn share(self, frames: u64) -> u64 {
        match self {
            Self::Bare | Self::Bridge => frames,
            Self::Python | Self::Node => frames / 10,
        }
    }

    /// Starts it; `None`, said aloud, when what it needs is missing.
    pub(crate) fn start(self, setting: &Setting) -> Option<Process> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let command = match self {
            Self::Bare => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--bare", &setting.gateway, &setting.nats.url()]);
                command
            }
            Self::Bridge => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_nats-dingtalk"));
                command.arg("run").arg("--config").arg(setting.config());
                command
            }
            Self::Python => peer(&root, ".cache/sdk-python/bin/python", "python/main.py")?,
            Self::Node => peer(&root, "node", "node/main.mjs")?,
        };
        Some(Process::start(with_addresses(command, setting)))
    }
}

fn with_addresses(mut command: Command, setting: &Setting) -> Command {
    command
        .env("DINGTALK_API", &setting.gateway)
        .env("NATS_URL", setting.nats.url())
        .env_remove("HTTPS_PROXY");
    command
}

fn peer(root: &std::path::Path, program: &str, script: &str) -> Option<Command> {
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

/// A broker of its own and the addresses that a contender is told.
pub(crate) struct Setting {
    gateway: String,
    nats: Broker,
    dir: TempDir,
    accounts: u64,
}

impl Setting {
    /// Starts the broker and makes the stream as the bridge makes it.
    pub(crate) async fn new(gateway: &str, accounts: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let nats = Broker::start(dir.path());
        let setting = Self {
            gateway: gateway.to_owned(),
            nats,
            dir,
            accounts,
        };
        setting.stream().await;
        setting
    }

    async fn stream(&self) {
        use async_nats::jetstream::stream::{Compression, Config};
        self.nats
            .jetstream()
            .await
            .create_stream(Config {
                name: "DINGTALK_INBOUND".to_owned(),
                subjects: vec!["dingtalk.inbound.>".to_owned()],
                duplicate_window: Duration::from_secs(30 * 60),
                max_age: Duration::from_secs(7 * 24 * 3600),
                compression: Some(Compression::S2),
                allow_direct: true,
                ..Config::default()
            })
            .await
            .unwrap();
    }

    /// Messages in the stream.
    pub(crate) async fn stored(&self) -> u64 {
        let jetstream = self.nats.jetstream().await;
        let mut stream = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
        stream.info().await.unwrap().state.messages
    }

    /// The configuration file of the bridge.
    fn config(&self) -> PathBuf {
        let mut text = format!(
            "[nats]\nurl = \"{}\"\n[dingtalk]\napi_url = \"{gateway}\"\noapi_url = \"{gateway}\"\n\
             [spool]\ndir = {:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nfilter = \"warn\"\n",
            self.nats.url(),
            self.dir.path().join("spool"),
            gateway = self.gateway,
        );
        let connections = if self.accounts == 1 { 1 } else { 2 };
        for account in 0..self.accounts {
            text.push_str(&format!(
                "[accounts.a{account}]\nclient_id = \"dingbench{account:08}\"\nclient_secret = \"secret\"\nconnections = {connections}\n"
            ));
        }
        let path = self.dir.path().join("bridge.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}
