//! The bridge's own nats-server while it recovers its store: waited for, and never killed for being slow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nats_dingtalk::broker::{ManagedError, ManagedServer};
use tempfile::TempDir;

use crate::support::free_port;
use crate::support::nats::program;
use crate::support::wait;

/// What stands for the recovery: the process says who it is, and goes on when it is told to.
const RECOVERS: &str = r#"echo $$ >"$0.recovering"
    while [ ! -e "$0.recovered" ]; do sleep 0.05; done"#;

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
