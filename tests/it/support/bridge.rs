//! The bridge as users run it: its own process, configured by a file, observed over its admin port.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{free_port, least, signal, wait};

/// Client id of the account `sales` that every test bridge serves.
pub(crate) const CLIENT_ID: &str = "dingsales0000000000";
/// Its secret: a canary that must never be seen anywhere.
pub(crate) const CLIENT_SECRET: &str = "canary-client-secret-5f2c";

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_nats-dingtalk");

/// How a test bridge is set up; [`Setup::start`] starts it.
pub(crate) struct Setup {
    nats_url: String,
    nats: String,
    dingtalk_url: String,
    dingtalk: String,
    extra: String,
    account: String,
    spool: String,
    dir: Option<TempDir>,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    anybody: bool,
}

impl Setup {
    /// A bridge with account `sales` between a broker and a simulated DingTalk.
    pub(crate) fn new(nats_url: &str, dingtalk_url: &str) -> Self {
        Self {
            nats_url: nats_url.to_owned(),
            nats: String::new(),
            dingtalk_url: dingtalk_url.to_owned(),
            dingtalk: String::new(),
            extra: String::new(),
            account: String::new(),
            spool: String::new(),
            dir: None,
            arguments: Vec::new(),
            wrapper: Vec::new(),
            anybody: false,
        }
    }

    /// Where the simulated DingTalk is.
    pub(crate) fn dingtalk_url(&self) -> &str {
        &self.dingtalk_url
    }

    /// More keys of the broker.
    pub(crate) fn nats(mut self, keys: &str) -> Self {
        self.nats.push_str(keys);
        self.nats.push('\n');
        self
    }

    /// A bridge that may do everything at the broker, not only what a bridge needs.
    pub(crate) fn with_all_rights(mut self) -> Self {
        self.anybody = true;
        self
    }

    /// More keys of DingTalk.
    pub(crate) fn dingtalk(mut self, keys: &str) -> Self {
        self.dingtalk.push_str(keys);
        self.dingtalk.push('\n');
        self
    }

    /// More keys for the account, such as `events = true`.
    pub(crate) fn account(mut self, keys: &str) -> Self {
        self.account.push_str(keys);
        self.account.push('\n');
        self
    }

    /// More keys of the spool.
    pub(crate) fn spool(mut self, keys: &str) -> Self {
        self.spool.push_str(keys);
        self.spool.push('\n');
        self
    }

    /// More sections.
    pub(crate) fn extra(mut self, toml: &str) -> Self {
        self.extra.push_str(toml);
        self.extra.push('\n');
        self
    }

    /// A script for `sh` that runs before the bridge in the same process, its folder being `$1`, in a
    /// mount namespace of its own.
    pub(crate) fn after_mounting(self, script: &str) -> Self {
        let script = format!("set -e; {script}; shift; exec \"$@\"");
        self.through(&["unshare", "-rm", "sh", "-c", &script, "sh"])
    }

    /// Another program that becomes the bridge: it gets the folder and the command as arguments.
    pub(crate) fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The folder of an earlier life, with its spool.
    pub(crate) fn in_dir(mut self, dir: TempDir) -> Self {
        self.dir = Some(dir);
        self
    }

    /// The configuration as text, for an admin port and a folder.
    fn toml(&self, admin: u16, dir: &Path) -> String {
        format!(
            "[nats]\nurl = \"{}\"\n{}{}\n[dingtalk]\napi_url = \"{url}\"\noapi_url = \"{url}\"\n{}\n\
             [accounts.sales]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\n{}\n\
             [spool]\ndir = {:?}\n{}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n{}\n",
            self.nats_url,
            if self.anybody {
                String::new()
            } else {
                least::login(&self.nats_url, &self.nats)
            },
            self.nats,
            self.dingtalk,
            self.account,
            dir.join("spool"),
            self.spool,
            self.extra,
            url = self.dingtalk_url,
        )
    }

    /// Starts the process and waits until its admin port answers.
    pub(crate) async fn start(self) -> Bridge {
        let admin = free_port();
        let toml = |dir: &Path| self.toml(admin, dir);
        let dir = TempDir::new().unwrap();
        let text = match &self.dir {
            Some(earlier) => toml(earlier.path()),
            None => toml(dir.path()),
        };
        let dir = self.dir.unwrap_or(dir);
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .unwrap();
        let mut command = match self.wrapper.split_first() {
            None => Command::new(PROGRAM),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(dir.path()).arg(PROGRAM);
                command
            }
        };
        let child = command
            .arg("run")
            .arg("--config")
            .arg(dir.path().join("config.toml"))
            .args(&self.arguments)
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut bridge = Bridge {
            child,
            admin: format!("http://127.0.0.1:{admin}"),
            dir: Some(dir),
        };
        let http = client();
        let url = bridge.admin.clone();
        wait::until("the bridge's admin port", async || {
            if let Ok(Some(status)) = bridge.child.try_wait() {
                panic!("the bridge ended with {status}:\n{}", bridge.log());
            }
            http.get(format!("{url}/live")).send().await.ok()
        })
        .await;
        bridge
    }
}

/// A running bridge; killed when dropped.
pub(crate) struct Bridge {
    child: Child,
    admin: String,
    dir: Option<TempDir>,
}

/// An HTTP client that goes nowhere but to loopback.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

impl Bridge {
    /// Waits until `/ready` says 200.
    pub(crate) async fn ready(self) -> Self {
        wait::until("the bridge to be ready", async || {
            let answer = self.get("/ready").await?;
            (answer.0 == 200).then_some(())
        })
        .await;
        self
    }

    /// Status and body of an admin path.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = client()
            .get(format!("{}{path}", self.admin))
            .send()
            .await
            .ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Sum of the samples of a metric whose line contains all of `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let Some((_, text)) = self.get("/metrics").await else {
            return 0.0;
        };
        text.lines()
            .filter(|line| {
                let plain = line
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '));
                plain && labels.iter().all(|label| line.contains(label))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        let dir = self.dir.as_ref().unwrap();
        std::fs::read_to_string(dir.path().join("log")).unwrap_or_default()
    }

    /// The folder with its configuration, spool and log.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its admin address.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Kills it with SIGKILL; its folder, for another life.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.dir.take().unwrap()
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal::send(self.child.id(), name);
    }

    /// Waits for its end; how it ended, and its folder.
    pub(crate) async fn ended(mut self) -> (ExitStatus, TempDir) {
        let child = &mut self.child;
        let status = wait::until("the bridge to end", async || child.try_wait().unwrap()).await;
        (status, self.dir.take().unwrap())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() && self.dir.is_some() {
            eprintln!("--- log of the bridge ---\n{}", self.log());
        }
    }
}
