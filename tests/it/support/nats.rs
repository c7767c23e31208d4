//! A real nats-server on a free port with a store of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nats_dingtalk::broker::Broker;
use nats_dingtalk::config::{self, NatsAuth};
use nats_dingtalk::message::Secret;
use nats_dingtalk::telemetry::{Health, Metrics};
use tempfile::TempDir;

use super::{free_port, least, sections, signal, wait};

/// The broker of one test; killed and wiped when dropped.
pub(crate) struct Nats {
    port: u16,
    dir: TempDir,
    child: Option<Child>,
    extra: String,
    login: Option<(String, String)>,
    /// Whether the bridge is kept to its rights here.
    kept: bool,
}

/// The program: from the environment as `make test` sets it, else from PATH.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("BRIDGE_TEST_NATS_SERVER")
        .map_or_else(|| PathBuf::from("nats-server"), PathBuf::from)
}

impl Nats {
    /// Starts a broker and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a broker with more lines in its configuration.
    pub(crate) async fn start_with(extra: &str) -> Self {
        Self::start_as(extra.to_owned(), None).await
    }

    /// Starts a broker that lets in one user with a password.
    pub(crate) async fn start_guarded(user: &str, password: &str) -> Self {
        let extra = format!("authorization {{ user: {user:?}, password: {password:?} }}");
        Self::start_as(extra, Some((user.to_owned(), password.to_owned()))).await
    }

    /// Starts a broker with users, one of whom may do everything.
    pub(crate) async fn start_with_users(extra: &str, user: &str, password: &str) -> Self {
        let login = (user.to_owned(), password.to_owned());
        Self::start_as(extra.to_owned(), Some(login)).await
    }

    /// A broker that is not there yet; [`Nats::restart`] starts it.
    pub(crate) fn absent() -> Self {
        Self::absent_with(String::new())
    }

    /// The same with more lines in its configuration.
    pub(crate) fn absent_with(extra: String) -> Self {
        Self::new(extra, None)
    }

    fn new(extra: String, login: Option<(String, String)>) -> Self {
        Self {
            port: free_port(),
            dir: TempDir::new().unwrap(),
            child: None,
            // Chaos measures a plain broker; one with users of its own knows better.
            kept: cfg!(test) && login.is_none() && !extra.contains("authorization"),
            extra,
            login,
        }
    }

    async fn start_as(extra: String, login: Option<(String, String)>) -> Self {
        let mut nats = Self::new(extra, login);
        nats.restart().await;
        nats
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The folder of its store.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// What the broker refused to the bridge so far, or to anybody else who gave a name.
    pub(crate) fn refused(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let refused = log.lines().filter(|line| line.contains("Violation"));
        refused.map(str::to_owned).collect()
    }

    /// Lets the refusals so far pass, which a test brought about on purpose.
    pub(crate) fn forgive(&self) {
        std::fs::remove_file(self.log_file()).unwrap();
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("refusals")
    }

    /// Kills it with SIGKILL; the store stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on the same port and store.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let config = self.dir.path().join("nats.conf");
        let store = self.store();
        let users = match self.kept {
            true => least::users(&self.log_file()),
            false => String::new(),
        };
        let text = format!(
            "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: {:?}, sync_interval: 1s }}\n{}\n{users}\n",
            self.port, store, self.extra
        );
        std::fs::write(&config, text).unwrap();
        let program = program();
        let child = Command::new(&program)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{} does not start ({error}); run `make test`, which fetches it",
                    program.display()
                )
            });
        self.child = Some(child);
        wait::until("nats-server to answer", async || {
            let client = self.try_client().await?;
            let jetstream = async_nats::jetstream::new(client);
            jetstream.query_account().await.ok()
        })
        .await;
    }

    /// A client of its own.
    pub(crate) async fn client(&self) -> async_nats::Client {
        self.try_client().await.expect("a broker that answers")
    }

    /// A client of its own, when the broker answers.
    pub(crate) async fn try_client(&self) -> Option<async_nats::Client> {
        let options = match &self.login {
            None => async_nats::ConnectOptions::new(),
            Some((user, password)) => {
                async_nats::ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
        };
        options
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connect(self.url())
            .await
            .ok()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a broker that runs").id()
    }

    /// Sends it a signal by name, such as `STOP`, which freezes it.
    pub(crate) fn signal(&self, name: &str) {
        signal::send(self.pid(), name);
    }

    /// JetStream through a client of its own.
    pub(crate) async fn jetstream(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(self.client().await)
    }

    /// The bridge's side of it, with streams.
    pub(crate) async fn broker(&self) -> Broker {
        let broker = self.unprepared(&sections::nats()).await;
        broker.prepare().await.unwrap();
        broker
    }

    /// The same without streams.
    pub(crate) async fn unprepared(&self, section: &config::Nats) -> Broker {
        let health = Health::new(&["broker"]);
        let mut section = section.clone();
        if self.kept && section.auth == NatsAuth::None && section.stream_prefix == "DINGTALK" {
            section.auth = NatsAuth::User {
                user: least::USER.to_owned(),
                password: Secret::new(least::PASSWORD),
            };
        }
        Broker::connect(&section, &self.url(), Metrics::new(), health)
            .await
            .unwrap()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
        let refused = self.refused();
        assert!(
            refused.is_empty() || std::thread::panicking(),
            "the broker refused: {refused:#?}"
        );
    }
}
