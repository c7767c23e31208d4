//! The nats-server program: its version, its start, its signals. It knows no folder of the bridge.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::fs;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::warn;

use super::managed::ManagedError;
use crate::config::Environment;

/// Oldest nats-server that is started: it is this bridge's choice, so it may be a recent one.
const OLDEST: (u32, u32) = (2, 12);
/// How the names of the bridge's own variables begin; its secrets are among them.
const OWN_VARIABLES: [&str; 2] = ["NATS_DINGTALK_", "DINGTALK_"];
/// The proxy's variables, which may hold a password; what is started here stays on this machine.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"];
/// How long a greeting may take.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// A command that inherits everything but what is meant for the bridge: a server lives long, and
/// what it was started with can be read from outside. All else stays, as what a program needs differs
/// from system to system (`PATH`, `SystemRoot`, `GOMEMLIMIT`).
fn command_of(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in Environment::names().filter(|name| is_for_the_bridge(name)) {
        command.env_remove(name);
    }
    command
}

/// Whether a variable is for the bridge alone; its configuration takes names in any case.
fn is_for_the_bridge(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    let own = OWN_VARIABLES.iter().any(|start| name.starts_with(*start));
    own || PROXY_VARIABLES.contains(&name.as_str())
}

/// Makes sure that `program` is a nats-server that is new enough.
pub(super) async fn check_version(program: &Path) -> Result<(), ManagedError> {
    let output = match command_of(program).arg("--version").output().await {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(ManagedError::Missing(program.to_owned()));
        }
        Err(error) => {
            let (program, said) = (program.to_owned(), error.to_string());
            return Err(ManagedError::TooOld { program, said });
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if parse_version(&said).is_some_and(|version| version >= OLDEST) {
        return Ok(());
    }
    let program = program.to_owned();
    Err(ManagedError::TooOld { program, said })
}

/// Major and minor of `nats-server: v2.15.1`.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let (_, version) = said.strip_prefix("nats-server")?.split_once('v')?;
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Starts the program in a process group of its own: Ctrl-C in a terminal is for the bridge, which
/// still needs the broker while it drains.
pub(super) fn spawn(program: &Path, config: &Path) -> std::io::Result<Child> {
    let mut command = command_of(program);
    command
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// Whether something on `port` greets as NATS servers do (`INFO {..}`).
pub(super) async fn greets(port: u16) -> bool {
    let greeting = async {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut start = [0; 4];
        socket.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(start == *b"INFO")
    };
    matches!(timeout(GREETING_TIMEOUT, greeting).await, Ok(Ok(true)))
}

/// Sends a signal by way of the program itself, which needs no other tool and no unsafe code.
pub(super) async fn signal(program: &Path, name: &str, pid: u32) {
    let arguments = ["--signal", &format!("{name}={pid}")];
    let sent = command_of(program).args(arguments).output().await;
    if let Err(error) = sent {
        warn!(error = %error, process.pid = pid, "nats-server cannot be signalled");
    }
}

/// Whether process `pid` was started with the configuration file `config`.
pub(super) async fn runs_with(pid: u32, config: &Path) -> bool {
    let command = match fs::read(format!("/proc/{pid}/cmdline")).await {
        Ok(command) => command,
        Err(_) => {
            let pid = pid.to_string();
            let mut ps = command_of("ps");
            ps.args(["-p", &pid, "-o", "args="]);
            match ps.output().await {
                Ok(output) => output.stdout,
                Err(_) => return false,
            }
        }
    };
    let config = config.display().to_string();
    String::from_utf8_lossy(&command).contains(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_bridge_and_of_the_proxy_are_kept_from_other_programs() {
        for name in [
            "DINGTALK_CLIENT_SECRET",
            "NATS_DINGTALK_NATS__TOKEN",
            "nats_dingtalk_accounts__sales__client_secret",
            "https_proxy",
            "ALL_PROXY",
        ] {
            assert!(is_for_the_bridge(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "SystemRoot", "TMPDIR", "GOMEMLIMIT", ""] {
            assert!(!is_for_the_bridge(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_version_is_read_from_what_the_program_says() {
        assert_eq!(parse_version("nats-server: v2.15.1"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.12.0-RC.1"), Some((2, 12)));
        assert!(parse_version("nats-server: v2.9.25") < Some(OLDEST));
        assert_eq!(parse_version("nginx version 1.2"), None);
        assert_eq!(parse_version(""), None);
    }
}
