//! The media helpers of DingTalk's official SDK clients on the simulated DingTalk.
//!
//! The programs are `tests/sdk/python/media.py` and `tests/sdk/node/upload.cjs`; where the clients are installed,
//! and what happens when they are not, is said in the neighbour that tests messages.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nats_dingtalk::sim::{Attachment, MEDIA_DOWNLOAD_PATH, Message, Sim, SimApp, SimOptions};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const APP: &str = "dingsdk0000000000001";
/// Starting an interpreter on a busy machine, and the waits inside the clients.
const PATIENCE: Duration = Duration::from_secs(60);

/// `program`, if what it needs is there; said aloud when it is not, and an error with `CI` set.
fn installed(program: &Path, script: &str, needed: &Path) -> Option<Command> {
    if needed.exists() {
        let mut command = Command::new(program);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
        return Some(command);
    }
    let missing = format!("NOT RUN: {script}, {} is not there", needed.display());
    assert!(std::env::var("CI").is_err(), "{missing}");
    eprintln!("{missing}");
    None
}

fn configured(name: &str, default: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var(name).map_or_else(|_| root.join(default), PathBuf::from)
}

/// A running program and what it prints.
struct Program {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Program {
    fn start(mut command: Command, sim: &Sim) -> Self {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
            command.env_remove(name.to_lowercase());
        }
        let mut child = command
            .env("DINGTALK_OPENAPI_ENDPOINT", sim.api_url())
            .env("BOT_API_URL", sim.api_url())
            .env("BOT_CLIENT_ID", APP)
            .env("BOT_CLIENT_SECRET", "secret")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            lines,
            _child: child,
        }
    }

    async fn told(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("the client told nothing").unwrap();
        serde_json::from_str(&line.expect("the client ended")).unwrap()
    }
}

async fn start() -> Sim {
    Sim::start(SimOptions {
        apps: vec![SimApp::new(APP, "secret")],
        keep_uploads: true,
        patience: PATIENCE,
        ..SimOptions::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn the_python_sdk_fetches_the_pictures_of_a_message_and_uploads_them() {
    let python = configured("BRIDGE_TEST_PYTHON", ".cache/sdk-python/bin/python");
    let Some(command) = installed(&python, "tests/sdk/python/media.py", &python) else {
        return;
    };
    let sim = start().await;
    let mut program = Program::start(command, &sim);
    sim.connected(APP, 1).await.unwrap();
    let (first, second) = (vec![1; 200_000], vec![2; 300_000]);
    let picture = Attachment::picture(first.clone());
    let alone = Message::to_bot("u1", "").carrying(picture.clone());
    let both = Message::to_bot("u1", "两张图")
        .carrying(picture)
        .carrying(Attachment::picture(second.clone()));
    for (message, pictures) in [(alone, vec![&first]), (both, vec![&first, &second])] {
        let msg_id = sim.say(APP, message).await.unwrap();
        let told = program.told().await;
        assert_eq!(told["msg_id"], msg_id.as_str());
        let media_ids = told["media_ids"].as_array().unwrap();
        assert_eq!(media_ids.len(), pictures.len());
        for (id, bytes) in media_ids.iter().zip(pictures) {
            let upload = sim.upload(id.as_str().unwrap()).unwrap();
            assert_eq!(
                (upload.kind.as_str(), upload.file_name.as_str()),
                ("image", "image.png")
            );
            assert_eq!(upload.content_type, "image/png");
            assert_eq!(upload.body.unwrap(), *bytes);
        }
        sim.acked(&msg_id).await.unwrap();
    }
    assert_eq!(sim.calls_of(MEDIA_DOWNLOAD_PATH).len(), 3);
}

#[tokio::test]
async fn the_node_sdk_gets_a_token_that_an_upload_is_taken_with() {
    let modules = configured("BRIDGE_TEST_NODE_MODULES", ".cache/sdk-node/node_modules");
    let needed = modules.join("dingtalk-stream");
    let node = Path::new("node");
    let Some(mut command) = installed(node, "tests/sdk/node/upload.cjs", &needed) else {
        return;
    };
    let sim = start().await;
    command.env("NODE_PATH", &modules);
    let answer = Program::start(command, &sim).told().await["answer"].clone();
    assert_eq!(
        (&answer["errcode"], &answer["type"]),
        (&0.into(), &"file".into())
    );
    let upload = sim.upload(answer["media_id"].as_str().unwrap()).unwrap();
    assert_eq!(
        (upload.file_name.as_str(), upload.size),
        ("报告.pdf", 300_000)
    );
    assert_eq!(upload.body.unwrap(), vec![7; 300_000]);
}
