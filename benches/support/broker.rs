//! A nats-server of one's own, for as long as the value lives.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, Context};

/// A running nats-server with a store of its own; killed when dropped.
pub(crate) struct Broker {
    port: u16,
    conf: PathBuf,
    child: Child,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The nats-server that is used.
pub(super) fn program() -> String {
    std::env::var("BRIDGE_TEST_NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned())
}

fn spawn(conf: &Path) -> Child {
    Command::new(program())
        .arg("-c")
        .arg(conf)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server starts; run `make bench`, which fetches it")
}

impl Broker {
    /// Starts it on a free port, everything that it writes below `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let port = free_port();
        let conf = dir.join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?}, sync_interval: 1s }}\n",
            dir.join("store")
        );
        std::fs::write(&conf, text).unwrap();
        let child = spawn(&conf);
        Self { port, conf, child }
    }

    /// Kills it with SIGKILL; the store stays.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port and store.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.conf);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// JetStream, once it answers.
    pub(crate) async fn jetstream(&self) -> Context {
        loop {
            if let Ok(client) = async_nats::connect(self.url()).await {
                let jetstream = jetstream::new(client);
                if jetstream.query_account().await.is_ok() {
                    return jetstream;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
