//! The broker that each contender gets for itself, and the addresses that it is told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::stream::{Compression, Config};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Process;
use crate::support::{Broker, bridge, free_port};

const STREAM: &str = "DINGTALK_INBOUND";

/// A fresh broker, a folder, and how a bridge between it and the gateway is configured.
pub(super) struct Setting {
    gateway: String,
    nats: Broker,
    dir: TempDir,
    accounts: u64,
    connections: u64,
    admin: u16,
}

impl Setting {
    /// Starts the broker and makes the stream as the bridge makes it; one account with one connection.
    pub(super) async fn new(gateway: &str) -> Self {
        let setting = Self::empty(gateway, 1, 1);
        setting.stream().await;
        setting
    }

    /// Starts the broker and leaves all else to the bridge.
    pub(super) fn empty(gateway: &str, accounts: u64, connections: u64) -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            gateway: gateway.to_owned(),
            nats: Broker::start(dir.path()),
            dir,
            accounts,
            connections,
            admin: free_port(),
        }
    }

    async fn stream(&self) {
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec!["dingtalk.inbound.>".to_owned()],
            duplicate_window: Duration::from_secs(30 * 60),
            max_age: Duration::from_secs(7 * 24 * 3600),
            compression: Some(Compression::S2),
            allow_direct: true,
            ..Config::default()
        };
        let jetstream = self.nats.jetstream().await;
        jetstream.create_stream(config).await.unwrap();
    }

    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.nats
    }

    pub(super) fn broker_mut(&mut self) -> &mut Broker {
        &mut self.nats
    }

    /// Messages in the stream.
    pub(super) async fn stored(&self) -> u64 {
        let jetstream = self.nats.jetstream().await;
        let mut stream = jetstream.get_stream(STREAM).await.unwrap();
        stream.info().await.unwrap().state.messages
    }

    /// Bytes of the stream on disk.
    pub(super) async fn stored_bytes(&self) -> u64 {
        let jetstream = self.nats.jetstream().await;
        let mut stream = jetstream.get_stream(STREAM).await.unwrap();
        stream.info().await.unwrap().state.bytes
    }

    /// The bridge, started.
    pub(super) fn bridge(&self) -> Process {
        self.bridge_at(&bridge())
    }

    /// A bridge of another build.
    pub(super) fn bridge_at(&self, program: &Path) -> Process {
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(self.config());
        Process::start(self.addressed(command))
    }

    /// Tells a program where both sides are.
    pub(super) fn addressed(&self, mut command: Command) -> Command {
        command
            .env("DINGTALK_API", &self.gateway)
            .env("NATS_URL", self.nats.url())
            .env_remove("HTTPS_PROXY");
        command
    }

    /// A figure that the bridge shows of itself; nothing while it does not answer.
    pub(super) async fn metric(&self, name: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).await.ok()?;
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.trim().parse().ok()
    }

    /// The configuration file of the bridge.
    fn config(&self) -> PathBuf {
        let mut text = format!(
            "[nats]\nurl = \"{}\"\n[dingtalk]\napi_url = \"{gateway}\"\noapi_url = \"{gateway}\"\n\
             [spool]\ndir = {:?}\n[admin]\nlisten = \"127.0.0.1:{}\"\n[log]\nfilter = \"warn\"\n",
            self.nats.url(),
            self.dir.path().join("spool"),
            self.admin,
            gateway = self.gateway,
        );
        for account in 0..self.accounts {
            text.push_str(&format!(
                "[accounts.a{account}]\nclient_id = \"dingbench{account:08}\"\nclient_secret = \"secret\"\nconnections = {}\n",
                self.connections,
            ));
        }
        let path = self.dir.path().join("bridge.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}
