//! The commands as a person runs them: the real program, a real broker, the simulated DingTalk.

use std::path::Path;
use std::process::{Output, Stdio};

use nats_dingtalk::sim::{Fault, Message, Sim, SimOptions};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::bridge::{Bridge, CLIENT_ID, CLIENT_SECRET, Setup};
use crate::support::nats::Nats;
use crate::support::wait;

const GROUP: &str = "cid6KeB+/oA==";

async fn simulated() -> Sim {
    let options = SimOptions {
        any_app: true,
        ..SimOptions::default()
    };
    Sim::start(options).await.unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nats-dingtalk"));
    command
        .args(arguments)
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command with the configuration in `dir`.
async fn run(dir: &Path, arguments: &[&str]) -> Output {
    let config = dir.join("config.toml");
    let mut all = arguments.to_vec();
    all.extend(["--config", config.to_str().unwrap()]);
    command(&all).output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Stage {
    nats: Nats,
    sim: Sim,
    bridge: Bridge,
}

impl Stage {
    async fn set() -> Self {
        let nats = Nats::start().await;
        let sim = simulated().await;
        let setup = Setup::new(&nats.url(), sim.api_url());
        let bridge = setup.start().await.ready().await;
        Self { nats, sim, bridge }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        run(self.bridge.dir(), arguments).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_waits_for_the_receipt_and_one_key_sends_once() {
    let stage = Stage::set().await;
    let order = ["send", "sales", "user:manager1", "paid", "--id", "order-42"];
    let first = stage.run(&order).await;
    assert!(first.status.success(), "{first:?}");
    let said = text(&first.stdout);
    assert!(
        said.starts_with("sent after ") && said.contains("(id order-42)"),
        "{said}"
    );

    let mut again = order.to_vec();
    again.push("--json");
    let again = stage.run(&again).await;
    let receipt: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(receipt["outcome"], "sent");
    assert_eq!(receipt["id"], "order-42");
    assert!(again.status.success());
    assert_eq!(stage.sim.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn send_reads_markdown_from_standard_input() {
    let stage = Stage::set().await;
    let input = stage.bridge.dir().join("build.md");
    std::fs::write(&input, "# Build\n\ngreen\n").unwrap();
    let config = stage.bridge.dir().join("config.toml");
    let sent = command(&[
        "send",
        "sales",
        "group:cid6KeB+/oA==",
        "-",
        "--markdown",
        "--config",
    ])
    .arg(config)
    .stdin(std::fs::File::open(input).unwrap())
    .output()
    .await
    .unwrap();
    assert!(sent.status.success(), "{sent:?}");
    let sent = format!("{:?}", stage.sim.sent());
    assert!(sent.contains("# Build") && sent.contains("green"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_without_a_receipt_says_where_the_request_is_and_fails() {
    let nats = Nats::start().await;
    let sim = simulated().await;
    let bridge = Setup::new(&nats.url(), sim.api_url())
        .start()
        .await
        .ready()
        .await;
    let dir = bridge.kill();
    let late = [
        "send",
        "sales",
        "user:manager1",
        "later",
        "--timeout",
        "300ms",
    ];
    let late = run(dir.path(), &late).await;
    assert_eq!(late.status.code(), Some(1));
    let said = text(&late.stderr);
    assert!(
        said.contains("is stored") && said.contains("dingtalk.receipt.sales."),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_replays_follows_and_filters() {
    let stage = Stage::set().await;
    stage
        .sim
        .say(CLIENT_ID, Message::in_group(GROUP, "manager1", "one"))
        .await
        .unwrap();
    stage
        .sim
        .say(CLIENT_ID, Message::to_bot("manager2", "two"))
        .await
        .unwrap();
    let all = wait::until("both messages in the stream", async || {
        let all = stage.run(&["tail", "--no-follow"]).await;
        (text(&all.stdout).lines().count() == 2).then_some(all)
    })
    .await;
    let all = text(&all.stdout);
    assert!(
        all.contains(" sales [模拟群] ") && all.contains("(manager1): one"),
        "{all}"
    );
    assert!(
        all.contains(" sales [user] ") && all.contains("(manager2): two"),
        "{all}"
    );

    let chat = [
        "tail",
        "--no-follow",
        "--since",
        "1h",
        "--chat",
        GROUP,
        "--json",
    ];
    let chat = text(&stage.run(&chat).await.stdout);
    assert_eq!(chat.lines().count(), 1, "{chat}");
    let body: Value = serde_json::from_str(&chat).unwrap();
    assert_eq!(body["message"]["text"], "one");

    let config = stage.bridge.dir().join("config.toml");
    let arguments = [
        "tail",
        "--from-seq",
        "2",
        "-n",
        "2",
        "--config",
        config.to_str().unwrap(),
    ];
    let mut following = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let second = lines.next_line().await.unwrap().unwrap();
    assert!(
        second.ends_with(": two") || second.ends_with(": one"),
        "{second}"
    );
    stage
        .sim
        .say(CLIENT_ID, Message::to_bot("manager2", "three"))
        .await
        .unwrap();
    let third = lines.next_line().await.unwrap().unwrap();
    assert!(third.ends_with(": three"), "{third}");
    assert!(following.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_goes_on_after_a_restart_of_the_broker() {
    let mut stage = Stage::set().await;
    let config = stage.bridge.dir().join("config.toml");
    let arguments = [
        "tail",
        "-n",
        "2",
        "--from-seq",
        "1",
        "--config",
        config.to_str().unwrap(),
    ];
    let mut following = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    stage
        .sim
        .say(CLIENT_ID, Message::to_bot("manager2", "before"))
        .await
        .unwrap();
    assert!(
        lines
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .ends_with(": before")
    );
    stage.nats.restart().await;
    stage
        .sim
        .say(CLIENT_ID, Message::to_bot("manager2", "after"))
        .await
        .unwrap();
    let after = tokio::time::timeout(wait::PATIENCE * 2, lines.next_line()).await;
    assert!(after.unwrap().unwrap().unwrap().ends_with(": after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_nothing_wrong_with_a_working_set_up() {
    let stage = Stage::set().await;
    let check = stage.run(&["check"]).await;
    let said = text(&check.stdout);
    assert!(check.status.success(), "{said}{}", text(&check.stderr));
    for line in [
        "ok     broker",
        "ok     DINGTALK_INBOUND",
        "ok     account sales",
        "note   admin",
    ] {
        assert!(said.contains(line), "{line} in\n{said}");
    }
    assert!(!said.contains(CLIENT_SECRET));
}

/// A folder whose configuration names no broker that answers, and an app that `sim` may not know.
fn wrong_in_everything(sim: &Sim) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[nats]\nurl = \"nats://127.0.0.1:{}\"\n[dingtalk]\napi_url = \"{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [accounts.sales]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\n",
        crate::support::free_port(),
        sim.api_url(),
    );
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_everything_that_is_wrong_and_what_to_do() {
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let dir = wrong_in_everything(&sim);
    let check = run(dir.path(), &["check"]).await;
    let said = text(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{said}");
    for part in [
        "WRONG  broker",
        "nats.url",
        "WRONG  account sales",
        "Client Secret",
        "ok     admin",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    assert!(!said.contains(CLIENT_SECRET));
}

/// The exit code of a command whose reader has gone before its first line.
async fn unread(dir: &Path, arguments: &[&str]) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(arguments);
    command
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stdout(writer)
        .stderr(Stdio::null());
    command.status().await.unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn send_and_check_tell_their_verdict_even_when_nobody_reads_their_words() {
    let stage = Stage::set().await;
    let ghost = Fault::UnknownUser {
        user: "ghost".into(),
    };
    stage.sim.inject(ghost).await.unwrap();
    let wrong = wrong_in_everything(&stage.sim);
    let sound = stage.bridge.dir();
    for (dir, arguments, code) in [
        (sound, &["send", "sales", "user:manager1", "hello"][..], 0),
        (sound, &["send", "sales", "user:ghost", "hello"], 1),
        (sound, &["send", "sales", "user:ghost", "hi", "--json"], 1),
        (sound, &["check"], 0),
        (wrong.path(), &["check"], 1),
    ] {
        assert_eq!(unread(dir, arguments).await, Some(code), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_usage_from_failure() {
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["run", "--help"], 0),
        (&["send", "sales"], 64),
        (&["sned"], 64),
        (&["run", "--config", "/nowhere/config.toml"], 64),
        (&["tail", "--nats-url", "http://x"], 64),
        (&["schema", "outbound.schema.json"], 0),
        (&["schema", "nothing"], 64),
        (&["completions", "bash"], 0),
    ] {
        let output = command(arguments).output().await.unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sim_serves_until_it_is_told_to_stop() {
    let arguments = [
        "sim",
        "--listen",
        "127.0.0.1:0",
        "--gateway-listen",
        "127.0.0.1:0",
    ];
    let mut sim = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(sim.stdout.take().unwrap()).lines();
    let api = lines.next_line().await.unwrap().unwrap();
    let api = api.strip_prefix("api").unwrap().trim();
    let http = crate::support::bridge::client();
    let state = http.get(format!("{api}/sim/state")).send().await.unwrap();
    assert!(state.status().is_success());
    let pid = sim.id().unwrap().to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    assert!(sim.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_its_story_and_ends_by_itself() {
    let program = crate::support::nats::program();
    let demo = command(&["demo", "--nats-server"])
        .arg(program)
        .output()
        .await
        .unwrap();
    let said = text(&demo.stdout);
    assert!(demo.status.success(), "{said}{}", text(&demo.stderr));
    let mut rest = said.as_str();
    for step in [
        "演示群",
        "frame in",
        "stored",
        "acked",
        "agent",
        "sent",
        "receipt",
        "alone",
        "receipt   sent",
        "Next:",
    ] {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("no {step} in order in\n{said}"));
        rest = &rest[at..];
    }
    assert!(said.contains("you said: deploy it") && said.contains("you said: is it done?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_stays_ends_with_a_signal_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let program = crate::support::nats::program();
    let mut demo = command(&["demo", "--stay", "--nats-server"])
        .arg(program)
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("Ctrl-C") {
            break;
        }
    }
    let pid = demo.id().unwrap().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(demo.wait().await.unwrap().success());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
