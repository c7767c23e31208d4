//! `media` and `send --file` as a person runs them: the real program and a real broker.

use std::path::Path;
use std::process::{Output, Stdio};

use nats_dingtalk::broker::Description;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::bridge::PROGRAM;
use crate::support::nats::Nats;

const PDF: &[u8] = b"%PDF-1.7 of a report";

async fn run(nats: &Nats, dir: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .args(["--nats-url", &nats.url()])
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_into_the_store_and_comes_out_again() {
    let nats = Nats::start().await;
    let broker = nats.broker().await;
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("年报.pdf"), PDF).unwrap();
    let key = said(&run(&nats, dir.path(), &["media", "put", "年报.pdf"]).await);
    let key = key.trim();
    assert!(key.starts_with("sha256/") && key.len() == 7 + 64, "{key}");
    let again = said(&run(&nats, dir.path(), &["media", "put", "年报.pdf"]).await);
    assert_eq!(again.trim(), key);
    let object = broker.media().find(key).await.unwrap().unwrap();
    assert_eq!(object.description.name.as_deref(), Some("年报.pdf"));
    assert_eq!(object.description.mime.as_deref(), Some("application/pdf"));

    let named = [
        "media",
        "put",
        "年报.pdf",
        "--key",
        "k/1",
        "--name",
        "shown.pdf",
    ];
    assert_eq!(said(&run(&nats, dir.path(), &named).await).trim(), "k/1");
    let listed = said(&run(&nats, dir.path(), &["media", "ls", "k/", "--json"]).await);
    let line: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&line["key"], &line["name"]),
        (&"k/1".into(), &"shown.pdf".into())
    );
    assert_eq!(line["size"], PDF.len());
    let listed = said(&run(&nats, dir.path(), &["media", "ls"]).await);
    assert!(
        listed.lines().count() == 2 && listed.contains("年报.pdf"),
        "{listed}"
    );

    run(&nats, dir.path(), &["media", "get", "k/1"]).await;
    assert_eq!(std::fs::read(dir.path().join("shown.pdf")).unwrap(), PDF);
    let there = run(&nats, dir.path(), &["media", "get", "k/1"]).await;
    assert!(complaint(&there, 64).contains("--output"));
    said(&run(&nats, dir.path(), &["media", "get", "k/1", "-o", "out.bin"]).await);
    assert_eq!(std::fs::read(dir.path().join("out.bin")).unwrap(), PDF);
    let piped = run(&nats, dir.path(), &["media", "get", "k/1", "-o", "-"]).await;
    assert_eq!(piped.stdout, PDF);
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 3, "nothing half-written stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_with_media_is_said_with_the_cure() {
    let nats = Nats::start().await;
    let broker = nats.broker().await;
    let dir = TempDir::new().unwrap();
    let missing = run(&nats, dir.path(), &["media", "get", "no/such"]).await;
    assert!(complaint(&missing, 1).contains("media ls"));
    let unreadable = run(&nats, dir.path(), &["media", "put", "no-such.pdf"]).await;
    assert!(complaint(&unreadable, 64).contains("no-such.pdf"));
    let folder = run(&nats, dir.path(), &["media", "put", "."]).await;
    assert!(complaint(&folder, 64).contains("is no file"));
    std::fs::write(dir.path().join("a.pdf"), PDF).unwrap();
    let named = ["media", "put", "a.pdf", "--name", "../a.pdf"];
    let hostile = run(&nats, dir.path(), &named).await;
    assert!(complaint(&hostile, 64).contains("is no file name"));
    // Whoever wrote the name, it leads nowhere.
    let evil = Description {
        name: Some("../../evil.sh".into()),
        mime: None,
    };
    broker.media().put("evil", evil, PDF).await.unwrap();
    said(&run(&nats, dir.path(), &["media", "get", "evil"]).await);
    assert_eq!(std::fs::read(dir.path().join("evil.sh")).unwrap(), PDF);
}

#[tokio::test(flavor = "multi_thread")]
async fn send_puts_the_file_into_the_store_and_names_it_there() {
    let nats = Nats::start().await;
    let broker = nats.broker().await;
    let dir = TempDir::new().unwrap();
    let rows: [(&str, &[&str], &str); 5] = [
        ("a.pdf", &[], "file"),
        ("b.PNG", &[], "image"),
        ("c.mp3", &[], "audio"),
        ("d.mp4", &[], "video"),
        ("e.png", &["--as", "file", "--name", "shown.png"], "file"),
    ];
    for (at, (file, flags, kind)) in rows.into_iter().enumerate() {
        let bytes = [PDF, file.as_bytes()].concat();
        std::fs::write(dir.path().join(file), &bytes).unwrap();
        let mut line = vec![
            "send",
            "sales",
            "user:manager1",
            "--timeout",
            "1ms",
            "--file",
            file,
        ];
        line.extend(flags);
        // Nobody serves the account here.
        let sent = run(&nats, dir.path(), &line).await;
        assert!(complaint(&sent, 1).contains("the request is stored"));
        let (subject, request) = requested(&nats, at as u64 + 1).await;
        assert_eq!(subject, "dingtalk.outbound.sales.user.manager1");
        let attachment = &request[kind];
        let name = flags.last().copied().unwrap_or(file);
        assert_eq!(attachment["name"], name, "{}", request);
        assert!(!request.to_string().contains(dir.path().to_str().unwrap()));
        let key = attachment["object"].as_str().unwrap();
        let object = broker.media().find(key).await.unwrap().unwrap();
        assert_eq!(object.size, bytes.len() as u64);
    }
    std::fs::write(dir.path().join("empty.pdf"), b"").unwrap();
    let line = ["send", "sales", "user:manager1", "--file", "empty.pdf"];
    let empty = run(&nats, dir.path(), &line).await;
    assert!(complaint(&empty, 64).contains("is empty"));
    let jetstream = nats.jetstream().await;
    let queue = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    assert_eq!(queue.get_info().await.unwrap().state.messages, 5);
}

/// Subject and body of a request in the queue.
async fn requested(nats: &Nats, sequence: u64) -> (String, Value) {
    let jetstream = nats.jetstream().await;
    let queue = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    let message = queue.get_raw_message(sequence).await.unwrap();
    let body = serde_json::from_slice(&message.payload).unwrap();
    (message.subject.to_string(), body)
}
