//! The bridge's own nats-server while it recovers its store: waited for, and never killed for being slow.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nats_dingtalk::broker::{ManagedError, ManagedServer};
use nats_dingtalk::sim::Sim;
use tempfile::TempDir;

use crate::support::bridge::{CLIENT_ID, CLIENT_SECRET, PROGRAM, client};
use crate::support::free_port;
use crate::support::nats::program;
use crate::support::wait;
use crate::support::world::options;

/// What stands for the recovery: the process says who it is, and goes on when it is told to.
const RECOVERS: &str = r#"echo $$ >"$0.recovering"
    while [ -e "$0" ] && [ ! -e "$0.recovered" ]; do sleep 0.05; done"#;

/// A nats-server that does `first` before it begins to serve.
fn server_that(dir: &Path, first: &str) -> PathBuf {
    let server = program();
    let server = server.display();
    let text =
        format!("#!/bin/sh\nif [ \"$1\" = -c ]; then\n    {first}\nfi\nexec '{server}' \"$@\"\n");
    let (draft, program) = (dir.join("draft"), dir.join("server"));
    std::fs::write(&draft, text).unwrap();
    // By another process: a file that this one had open for writing may be so still in a child that
    // another test just forks, and cannot be run then.
    let copied = Command::new("sh")
        .args(["-c", r#"cp "$1" "$2" && chmod +x "$2""#, "sh"])
        .args([&draft, &program])
        .status();
    assert!(copied.unwrap().success());
    program
}

/// The process that recovers, once it does.
async fn recovering(program: &Path) -> u32 {
    let said = program.with_extension("recovering");
    wait::until("the recovery", async || {
        let pid = std::fs::read_to_string(&said).ok()?;
        pid.strip_suffix('\n')?.parse().ok()
    })
    .await
}

fn runs(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|state| !state.contains(") Z "))
}

#[tokio::test]
async fn a_server_that_takes_minutes_to_recover_its_store_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let program = server_that(dir.path(), RECOVERS);
    let data_dir = dir.path().join("data");
    let mut starting = Box::pin(ManagedServer::start(Some(&program), &data_dir, 0));
    let pid = tokio::select! {
        pid = recovering(&program) => pid,
        early = &mut starting => panic!("{early:?} before it recovers"),
    };
    // The minutes pass on the clock of this test alone.
    tokio::time::pause();
    let early = tokio::time::timeout(Duration::from_secs(120), &mut starting).await;
    tokio::time::resume();
    assert!(early.is_err(), "{early:?} before it has recovered");
    assert!(runs(pid), "it was killed in the middle");
    std::fs::write(program.with_extension("recovered"), "").unwrap();
    let server = starting.await.unwrap();
    assert_eq!(server.pid(), Some(pid));
    assert!(async_nats::connect(server.url()).await.is_ok());
    server.stop().await;
    assert!(!runs(pid));
}

#[tokio::test]
async fn probes_are_answered_while_the_server_recovers() {
    let sim = Sim::start(options()).await.unwrap();
    let dir = TempDir::new().unwrap();
    let program = server_that(dir.path(), RECOVERS);
    let admin = format!("127.0.0.1:{}", free_port());
    let mut bridge = Command::new(PROGRAM)
        .arg("run")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir.path())
        .env("DINGTALK_CLIENT_ID", CLIENT_ID)
        .env("DINGTALK_CLIENT_SECRET", CLIENT_SECRET)
        .env("NATS_DINGTALK_NATS__SERVER", &program)
        .env("NATS_DINGTALK_NATS__PORT", "0")
        .env("NATS_DINGTALK_ADMIN__LISTEN", &admin)
        .env("NATS_DINGTALK_DINGTALK__API_URL", sim.api_url())
        .env("NATS_DINGTALK_DINGTALK__OAPI_URL", sim.api_url())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    recovering(&program).await;
    let ask = async |path: &str| {
        let answer = client().get(format!("http://{admin}{path}")).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/live").await.0, 200);
    let (status, page) = ask("/ready").await;
    assert_eq!(status, 503);
    assert!(
        page.contains("the nats-server of this bridge is starting"),
        "{page}"
    );
    std::fs::write(program.with_extension("recovered"), "").unwrap();
    wait::until_true("readiness", async || ask("/ready").await.0 == 200).await;
    let told = Command::new("kill").arg(bridge.id().to_string()).status();
    assert!(told.unwrap().success());
    let status = wait::until("the end", async || bridge.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_server_behind() {
    let dir = TempDir::new().unwrap();
    let program = server_that(dir.path(), RECOVERS);
    let data_dir = dir.path().join("data");
    let starting = ManagedServer::start(Some(&program), &data_dir, 0);
    // Dropped at the end of the choice, as by a stop.
    let pid = tokio::select! {
        pid = recovering(&program) => pid,
        early = starting => panic!("{early:?} before it recovers"),
    };
    wait::until_true("its end", async || !runs(pid)).await;
}

#[tokio::test]
async fn a_server_that_ends_instead_of_greeting_is_named_with_its_log() {
    let dir = TempDir::new().unwrap();
    let program = server_that(dir.path(), "exit 3");
    let data_dir = dir.path().join("data");
    let error = ManagedServer::start(Some(&program), &data_dir, free_port())
        .await
        .unwrap_err();
    assert!(matches!(error, ManagedError::NotUp { .. }), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("exit status: 3") && said.contains("nats-server.log"),
        "{said}"
    );
}
