//! The nats-server program: its version, its start, its signals. It knows no folder of the bridge.

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

/// Oldest nats-server that is started: it is this bridge's choice, so it may be a recent one.
const OLDEST: (u32, u32) = (2, 12);
/// How long a greeting may take.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes sure that `program` is a nats-server that is new enough.
pub(super) async fn check_version(program: &Path) -> Result<(), ManagedError> {
    let output = match Command::new(program).arg("--version").output().await {
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
    let mut command = Command::new(program);
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
    let sent = Command::new(program).args(arguments).output().await;
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
            let mut ps = Command::new("ps");
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
    fn a_version_is_read_from_what_the_program_says() {
        assert_eq!(parse_version("nats-server: v2.15.1"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.12.0-RC.1"), Some((2, 12)));
        assert!(parse_version("nats-server: v2.9.25") < Some(OLDEST));
        assert_eq!(parse_version("nginx version 1.2"), None);
        assert_eq!(parse_version(""), None);
    }
}
