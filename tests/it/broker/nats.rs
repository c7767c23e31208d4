//! A real nats-server for one test: free port, its own store, killed without mercy.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nats_dingtalk::broker::Broker;
use nats_dingtalk::config::{Nats, NatsAuth, NatsTls, ServerLocation};
use nats_dingtalk::message::Subjects;
use nats_dingtalk::telemetry::{Health, Metrics};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longest time that anything in these tests is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One nats-server.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) port: u16,
    store: TempDir,
}

impl Server {
    /// Starts one with JetStream.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let port = free_port();
        let store = TempDir::new().unwrap();
        let mut server = Self {
            child: None,
            port,
            store,
        };
        server.restart_with(arguments);
        server
    }

    /// Starts it again on the same port and store.
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same with more arguments.
    pub(crate) fn restart_with(&mut self, arguments: &[&str]) {
        let child = Command::new(program())
            .args([
                "-a",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-js",
                "-sd",
            ])
            .arg(self.store.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connected bridge side of it, with streams.
    pub(crate) async fn broker(&self) -> Broker {
        let broker = self.unprepared(&section()).await;
        broker.prepare().await.unwrap();
        broker
    }

    /// The same without streams.
    pub(crate) async fn unprepared(&self, section: &Nats) -> Broker {
        let health = Health::new(&["broker"]);
        Broker::connect(section, &self.url(), Metrics::new(), health)
            .await
            .unwrap()
    }

    /// A client of somebody else.
    pub(crate) async fn client(&self) -> async_nats::Client {
        async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connect(self.url())
            .await
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The default section.
pub(crate) fn section() -> Nats {
    Nats {
        server: ServerLocation::Url(String::new()),
        auth: NatsAuth::None,
        tls: NatsTls::default(),
        replicas: 1,
        subjects: Subjects::new("dingtalk").unwrap(),
        stream_prefix: "DINGTALK".into(),
        dedup_window: Duration::from_secs(1800),
        max_age: Duration::from_secs(7 * 24 * 3600),
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The nats-server program.
pub(crate) fn program() -> PathBuf {
    "nats-server".into()
}

/// Waits until `what` holds.
pub(crate) async fn until<F, T>(what: &str, mut holds: F)
where
    F: FnMut() -> T,
    T: Future<Output = bool>,
{
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
