//! DingTalk's official SDK clients on the simulated DingTalk: they are the judges of its fidelity.
//!
//! The clients are programs in `tests/sdk/{python,node}`, pinned there by version and hash. Where
//! their dependencies are installed:
//!
//! - Python: `BRIDGE_TEST_PYTHON`, else `.cache/sdk-python/bin/python`
//! - Node: the folder in `BRIDGE_TEST_NODE_MODULES`, else `.cache/sdk-node/node_modules`
//!
//! A missing client is said aloud and passes; with `CI` set it fails.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nats_dingtalk::sim::{
    Fault, FrameState, LEGACY_TOKEN_PATH, Message, SentVia, Sim, SimApp, SimOptions,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

pub(super) const APP: &str = "dingsdk0000000000001";
pub(super) const GROUP: &str = "cidSdk+Group/A==";
/// Starting an interpreter on a busy machine, and the waits inside the clients.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sdk {
    Python,
    Node,
}

impl Sdk {
    /// How to start this program of the client; `None`, said aloud, when the client is not installed.
    fn command(self, program: &str) -> Option<Command> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let configured = |name: &str, default: &str| {
            std::env::var(name).map_or_else(|_| root.join(default), PathBuf::from)
        };
        let (command, needed) = match self {
            Self::Python => {
                let python = configured("BRIDGE_TEST_PYTHON", ".cache/sdk-python/bin/python");
                let mut command = Command::new(&python);
                command.arg(root.join(format!("tests/sdk/python/{program}.py")));
                (command, python)
            }
            Self::Node => {
                let modules =
                    configured("BRIDGE_TEST_NODE_MODULES", ".cache/sdk-node/node_modules");
                let mut command = Command::new("node");
                command
                    .arg(root.join(format!("tests/sdk/node/{program}.cjs")))
                    .env("NODE_PATH", &modules);
                (command, modules.join("dingtalk-stream"))
            }
        };
        if needed.exists() {
            return Some(command);
        }
        let missing = format!(
            "NOT RUN: the {self:?} SDK is missing, {} is not there",
            needed.display()
        );
        assert!(std::env::var("CI").is_err(), "{missing}");
        eprintln!("{missing}");
        None
    }
}

/// A running client.
pub(super) struct Bot {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Bot {
    /// Starts the client; it leaves its first `ignore` messages without an ack.
    async fn start(sdk: Sdk, sim: &Sim, ignore: u32) -> Option<Self> {
        Self::start_program(sdk, sim, "bot", ignore).await
    }

    /// Starts this program of the client.
    pub(super) async fn start_program(
        sdk: Sdk,
        sim: &Sim,
        program: &str,
        ignore: u32,
    ) -> Option<Self> {
        let mut command = sdk.command(program)?;
        for name in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        let mut child = command
            .env("DINGTALK_OPENAPI_ENDPOINT", sim.api_url())
            .env("BOT_API_URL", sim.api_url())
            .env("BOT_CLIENT_ID", APP)
            .env("BOT_CLIENT_SECRET", "secret")
            .env("BOT_IGNORE", ignore.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .stderr(log_file(sdk, sim))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        sim.connected(APP, 1).await.unwrap();
        Some(Self {
            lines,
            _child: child,
        })
    }

    /// The next line of this kind.
    pub(super) async fn told(&mut self, kind: &str) -> Value {
        let reading = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("the client ended before a `{kind}`"));
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["kind"] == kind {
                    return line;
                }
            }
        };
        let told = timeout(PATIENCE, reading).await;
        told.unwrap_or_else(|_| panic!("the client told no `{kind}`"))
    }
}

/// Where the client's own log goes: `target/tmp/sdk-<client>-<port>.log`.
fn log_file(sdk: Sdk, sim: &Sim) -> Stdio {
    let port = sim.api_url().rsplit(':').next().unwrap_or_default();
    let name = format!("sdk-{sdk:?}-{port}.log").to_lowercase();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::File::create(path).unwrap().into()
}

async fn start() -> Sim {
    Sim::start(SimOptions {
        apps: vec![SimApp::new(APP, "secret")],
        bot_retries: vec![Duration::from_millis(600)],
        ack_timeout: Duration::from_millis(500),
        close_after_disconnect: Duration::from_millis(300),
        patience: PATIENCE,
        ..SimOptions::default()
    })
    .await
    .unwrap()
}

async fn receives_acks_and_replies(sdk: Sdk) {
    let sim = start().await;
    let Some(mut bot) = Bot::start(sdk, &sim, 0).await else {
        return;
    };
    for (message, chat) in [
        (Message::in_group(GROUP, "manager1", "部署"), Some(GROUP)),
        (Message::to_bot("manager1", "部署"), None),
    ] {
        let msg_id = sim.say(APP, message).await.unwrap();
        let told = bot.told("message").await;
        assert_eq!(told["msg_id"], msg_id.as_str());
        assert_eq!(told["sender"], "manager1");
        assert_eq!(told["text"].as_str().unwrap().trim(), "部署");
        if let Some(chat) = chat {
            assert_eq!(told["chat"], chat);
        }
        let frame = sim.acked(&msg_id).await.unwrap();
        assert_eq!(frame.acks[0].code, 200);
        assert_eq!(told["frame"], frame.message_id.as_str());
        assert_eq!(
            bot.told("reply").await["result"],
            json!({"errcode": 0, "errmsg": "ok"})
        );
    }
    let sent = sim.delivered_count(2).await.unwrap();
    assert_eq!(
        (sent[0].via, sent[0].text()),
        (SentVia::Webhook, "echo: 部署")
    );
    assert_eq!(sent[0].to, [GROUP]);
    assert!(sent[1].to[0].starts_with("cid"));
    assert_eq!(sent[0].msg_param["at"]["atUserIds"], json!(["manager1"]));
    if sdk == Sdk::Node {
        assert_eq!(sim.calls_of(LEGACY_TOKEN_PATH)[0].status, Some(200));
    }
}

async fn answers_the_ping_and_acks_events(sdk: Sdk) {
    let sim = start().await;
    let Some(mut bot) = Bot::start(sdk, &sim, 0).await else {
        return;
    };
    sim.wait_for("the echo of a ping", |sim| {
        (!sim.links()[0].opaque_echoes.is_empty()).then_some(())
    })
    .await
    .unwrap();
    let id = sim
        .emit_event(APP, "chat_update_title", json!({"title": "新标题"}))
        .await
        .unwrap();
    let told = bot.told("event").await;
    assert_eq!(told["event_id"], id.as_str());
    assert_eq!(told["event_type"], "chat_update_title");
    assert_eq!(sim.acked(&id).await.unwrap().attempt, 0);
}

async fn is_redelivered_to_when_it_does_not_ack(sdk: Sdk) {
    let sim = start().await;
    let Some(mut bot) = Bot::start(sdk, &sim, 1).await else {
        return;
    };
    let msg_id = sim
        .say(APP, Message::to_bot("manager1", "hi"))
        .await
        .unwrap();
    let (first, second) = (bot.told("message").await, bot.told("message").await);
    assert_eq!(first["msg_id"], msg_id.as_str());
    assert_eq!(second["msg_id"], msg_id.as_str());
    assert_ne!(first["frame"], second["frame"]);
    assert_eq!(
        (&first["acked"], &second["acked"]),
        (&json!(false), &json!(true))
    );
    let frame = sim.acked(&msg_id).await.unwrap();
    assert_eq!(frame.attempt, 1);
    assert_eq!(sim.frames_of(&msg_id)[0].state, FrameState::TimedOut);
}

async fn comes_back_after_a_disconnect_frame(sdk: Sdk) {
    let sim = start().await;
    let Some(mut bot) = Bot::start(sdk, &sim, 0).await else {
        return;
    };
    let old = sim.live_links(APP);
    sim.inject(Fault::Disconnect {
        app: APP.to_owned(),
        link: None,
        without_message_id: false,
        reason: None,
    })
    .await
    .unwrap();
    let new = sim
        .wait_for("a new connection", |sim| {
            let live = sim.live_links(APP);
            live.iter().copied().find(|id| !old.contains(id))
        })
        .await
        .unwrap();
    let links = sim.links();
    let (first, second) = (&links[0], &links[1]);
    assert_ne!(first.ticket, second.ticket);
    let msg_id = sim
        .say(APP, Message::to_bot("manager1", "again"))
        .await
        .unwrap();
    assert_eq!(bot.told("message").await["msg_id"], msg_id.as_str());
    assert_eq!(sim.acked(&msg_id).await.unwrap().link, new);
}

#[tokio::test]
async fn the_python_sdk_receives_acks_and_replies() {
    receives_acks_and_replies(Sdk::Python).await;
}

#[tokio::test]
async fn the_node_sdk_receives_acks_and_replies() {
    receives_acks_and_replies(Sdk::Node).await;
}

#[tokio::test]
async fn the_python_sdk_answers_the_ping_and_acks_events() {
    answers_the_ping_and_acks_events(Sdk::Python).await;
}

#[tokio::test]
async fn the_node_sdk_answers_the_ping_and_acks_events() {
    answers_the_ping_and_acks_events(Sdk::Node).await;
}

#[tokio::test]
async fn the_python_sdk_is_redelivered_to_when_it_does_not_ack() {
    is_redelivered_to_when_it_does_not_ack(Sdk::Python).await;
}

#[tokio::test]
async fn the_node_sdk_is_redelivered_to_when_it_does_not_ack() {
    is_redelivered_to_when_it_does_not_ack(Sdk::Node).await;
}

#[tokio::test]
async fn the_python_sdk_comes_back_after_a_disconnect_frame() {
    comes_back_after_a_disconnect_frame(Sdk::Python).await;
}

#[tokio::test]
async fn the_node_sdk_comes_back_after_a_disconnect_frame() {
    comes_back_after_a_disconnect_frame(Sdk::Node).await;
}
