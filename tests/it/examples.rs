//! The echo agents of `examples/` as users run them, on a real broker: what is said in a chat comes
//! back as a request to the same chat, under an id that a redelivery repeats.
//!
//! Python and Node take their packages from where `scripts/sdk-clients` puts them, or from
//! `BRIDGE_TEST_PYTHON` (an interpreter) and `BRIDGE_TEST_NODE_MODULES` (a folder). A
//! missing one is said aloud and passes; with `CI` set it fails. The Go example is run nowhere.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nats_dingtalk::broker::{Broker, Outgoing};
use nats_dingtalk::message::{
    AccountName, Inbound, Kind, MessageBody, Reply, Request, Subjects, Timestamp, header,
};
use tempfile::TempDir;

use crate::support::nats::Nats;
use crate::support::wait;

/// Starting an interpreter, or building the Rust agent, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const GROUP: &str = "cid6KeB+/oA==";

/// An agent on its way; killed when dropped.
struct Agent {
    child: Child,
    dir: TempDir,
}

impl Agent {
    fn start(mut command: Command, dir: TempDir, nats_url: &str) -> Self {
        let log = File::create(dir.path().join("log")).unwrap();
        let child = command
            .env("NATS_URL", nats_url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, dir }
    }

    /// Fails when the agent has ended: it should run until it is killed.
    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            panic!("the agent ended with {status}:\n{log}");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where a tool is: as the environment says, else where it is fetched to.
fn place(variable: &str, fetched: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| root(fetched), PathBuf::from)
}

/// Whether a tool is there. A missing one is said aloud, and fails where `CI` is set.
fn is_there(tool: &Path) -> bool {
    let there = tool.exists();
    if !there {
        let missing = format!(
            "NOT RUN: {} is missing, `scripts/sdk-clients` fetches it",
            tool.display()
        );
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("{missing}");
    }
    there
}

fn subject(kind: Kind, chat: &str) -> (String, String) {
    let subjects = Subjects::new("dingtalk").unwrap();
    let account = AccountName::parse("sales").unwrap();
    (
        subjects.inbound(&account, kind, chat),
        subjects.outbound(&account, kind, chat),
    )
}

/// Stores a message as the inbound side of the bridge would.
async fn say(broker: &Broker, id: &str, (kind, chat): (Kind, &str), text: &str) {
    let (subject, reply) = subject(kind, chat);
    let inbound = Inbound {
        id: id.into(),
        account: "sales".into(),
        kind,
        chat: None,
        sender: None,
        mentioned: Some(true),
        mentions: Vec::new(),
        message: Some(MessageBody {
            message_type: "text".into(),
            text: text.into(),
            media: Vec::new(),
            quoted: None,
        }),
        card: None,
        topic: None,
        notice: None,
        sent_at: None,
        received_at: Timestamp::now(),
        reply: Some(Reply {
            subject: reply.into(),
            webhook_until: None,
        }),
        raw: None,
    };
    let mut body = Vec::new();
    inbound.write("{}", &mut body).unwrap();
    let message = Outgoing {
        subject,
        headers: vec![(header::MSG_ID.into(), id.to_owned())],
        payload: Bytes::from(body),
    };
    broker.store(&message).await.unwrap();
}

/// Starts the agent, speaks in a group and in a 1:1 chat, and looks at what it asks the bridge for.
async fn answers_where_it_was_spoken_to(command: Command, dir: TempDir) {
    let server = Nats::start().await;
    let broker = server.broker().await;
    let jetstream = server.jetstream().await;
    let inbound = jetstream.get_stream("DINGTALK_INBOUND").await.unwrap();
    say(
        &broker,
        "a:old",
        (Kind::User, "ann"),
        "before the first start",
    )
    .await;
    let mut agent = Agent::start(command, dir, &server.url());
    wait::within(PATIENCE, "the agent's consumer", async || {
        agent.must_run();
        inbound.consumer_info("echo").await.ok()
    })
    .await;
    say(&broker, "a:msg1==", (Kind::Group, GROUP), "部署 \"it\"").await;
    say(
        &broker,
        "a:event",
        (Kind::Event, "chat_update_title"),
        "no chat",
    )
    .await;
    say(&broker, "a:msg2==", (Kind::User, "a.b"), "hello").await;
    wait::within(PATIENCE, "the agent's acknowledgements", async || {
        agent.must_run();
        let consumer = inbound.consumer_info("echo").await.unwrap();
        (consumer.num_pending == 0 && consumer.ack_floor.consumer_sequence == 2).then_some(())
    })
    .await;
    let outbound = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    assert_eq!(outbound.get_info().await.unwrap().state.messages, 2);
    for (sequence, id, (kind, chat), text) in [
        (1, "echo-a:msg1==", (Kind::Group, GROUP), "部署 \"it\""),
        (2, "echo-a:msg2==", (Kind::User, "a.b"), "hello"),
    ] {
        let stored = outbound.get_raw_message(sequence).await.unwrap();
        assert_eq!(stored.subject.as_str(), subject(kind, chat).1);
        let request = Request::parse(&stored.payload).unwrap();
        assert_eq!(request.id.unwrap().as_str(), id);
        assert_eq!(request.text.as_deref(), Some(text));
    }
    agent.must_run();
}

#[tokio::test]
async fn the_python_agent_answers_where_it_was_spoken_to() {
    let python = place("BRIDGE_TEST_PYTHON", ".cache/sdk-python/bin/python");
    if !is_there(&python) {
        return;
    }
    let mut command = Command::new(python);
    command.arg(root("examples/echo.py"));
    answers_where_it_was_spoken_to(command, TempDir::new().unwrap()).await;
}

#[tokio::test]
async fn the_node_agent_answers_where_it_was_spoken_to() {
    let modules = place("BRIDGE_TEST_NODE_MODULES", ".cache/sdk-node/node_modules");
    if !is_there(&modules.join("@nats-io/jetstream")) {
        return;
    }
    // A module finds its packages beside itself only.
    let dir = TempDir::new().unwrap();
    std::fs::copy(root("examples/echo.mjs"), dir.path().join("echo.mjs")).unwrap();
    symlink(modules, dir.path().join("node_modules")).unwrap();
    let mut command = Command::new("node");
    command.arg(dir.path().join("echo.mjs"));
    answers_where_it_was_spoken_to(command, dir).await;
}

#[tokio::test]
async fn the_rust_agent_answers_where_it_was_spoken_to() {
    // `cargo test --test it` alone builds no examples.
    let target = Path::new(env!("CARGO_BIN_EXE_nats-dingtalk"))
        .parent()
        .unwrap();
    let profile = match target.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        other => other,
    };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--example",
            "echo",
            "--profile",
            profile,
        ])
        .current_dir(root(""))
        .status()
        .unwrap();
    assert!(built.success(), "examples/echo.rs does not build");
    let command = Command::new(target.join("examples/echo"));
    answers_where_it_was_spoken_to(command, TempDir::new().unwrap()).await;
}
