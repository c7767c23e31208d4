//! A broker with the documented users, a bridge among them, and plain clients that are told what they may not.

use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use async_nats::{Client, Event};
use futures_util::StreamExt;
use nats_dingtalk::sim::Sim;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::PASSWORD;
use crate::support::bridge::{Bridge, CLIENT_ID, PROGRAM, Setup};
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{Stored, messages, options};

/// The block that the command prints, with passwords, and an administrator beside it.
pub(super) fn block(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .arg("permissions")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let admin = format!("users: [\n    {{ user: admin, password: {PASSWORD:?} }}\n");
    let mut lines = Vec::new();
    for line in text.replacen("users: [\n", &admin, 1).lines() {
        match line.split_once("password: $") {
            Some((before, _)) => lines.push(format!("{before}password: {PASSWORD:?}")),
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// A broker with these users and a bridge that runs as the bridge among them.
pub(super) struct Guarded {
    /// Where the broker logs what it refuses.
    log: TempDir,
    pub(super) nats: Nats,
    pub(super) sim: Sim,
    pub(super) bridge: Bridge,
}

impl Guarded {
    pub(super) async fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--role", "bridge"];
        all.extend(arguments);
        let log = TempDir::new().unwrap();
        let log_file = log.path().join("log");
        let extra = format!("log_file: {log_file:?}\n{}", block(&all));
        let nats = Nats::start_with_users(&extra, "admin", PASSWORD).await;
        let sim = Sim::start(options()).await.unwrap();
        let bridge = Setup::new(&nats.url(), sim.api_url())
            .nats(&format!("user = \"bridge\"\npassword = {PASSWORD:?}"))
            .account("events = true")
            .start()
            .await
            .ready()
            .await;
        sim.connected(CLIENT_ID, 1).await.unwrap();
        Self {
            log,
            nats,
            sim,
            bridge,
        }
    }

    /// What the broker refused to anybody so far.
    pub(super) fn violations(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log.path().join("log")).unwrap_or_default();
        let refused = log.lines().filter(|line| line.contains("Violation"));
        refused.map(str::to_owned).collect()
    }

    /// Everything of a stream, as the administrator sees it.
    pub(super) async fn all(&self, stream: &str, count: usize) -> Vec<Stored> {
        wait::until(stream, async || {
            let all = messages(&self.nats, stream).await?;
            (all.len() >= count).then_some(all)
        })
        .await
    }

    pub(super) async fn user(&self, name: &str) -> User {
        let (refusals, heard) = mpsc::channel(64);
        let client = async_nats::ConnectOptions::with_user_and_password(
            name.to_owned(),
            PASSWORD.to_owned(),
        )
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .request_timeout(Some(Duration::from_secs(2)))
        .event_callback(move |event| {
            let refusals = refusals.clone();
            async move {
                if let Event::ServerError(error) = event {
                    let _ = refusals.try_send(error.to_string().to_lowercase());
                }
            }
        })
        .connect(self.nats.url())
        .await
        .unwrap();
        User { client, heard }
    }
}

/// A plain client, and what the broker refused it.
pub(super) struct User {
    pub(super) client: Client,
    heard: mpsc::Receiver<String>,
}

impl User {
    pub(super) fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    /// Stores a message.
    pub(super) async fn store(&self, subject: &str, body: &Value) {
        let stored = self
            .jetstream()
            .publish(subject.to_owned(), body.to_string().into())
            .await;
        stored.unwrap().await.unwrap();
    }

    /// The broker refuses a publication on `subject`, whatever is in it.
    pub(super) async fn may_not_publish(&mut self, subject: &str, payload: &str) {
        self.client
            .publish(subject.to_owned(), payload.to_owned().into())
            .await
            .unwrap();
        self.refused("publish", subject).await;
    }

    pub(super) async fn may_not_subscribe(&mut self, subject: &str) {
        let _refused = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.refused("subscription", subject).await;
    }

    pub(super) async fn refused(&mut self, what: &str, subject: &str) {
        self.client.flush().await.unwrap();
        let heard = tokio::time::timeout(wait::PATIENCE, self.heard.recv());
        let words = heard.await.ok().flatten().unwrap_or_default();
        let expected = format!("permissions violation for {what} to \"{subject}\"").to_lowercase();
        assert!(words.contains(&expected), "{subject}: {words}");
    }

    /// A durable consumer with one filter, as its own user makes it.
    pub(super) async fn consumer(
        &self,
        stream: &str,
        name: &str,
        filter: &str,
    ) -> consumer::PullConsumer {
        let config = consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: filter.to_owned(),
            ..Default::default()
        };
        let jetstream = self.jetstream();
        jetstream
            .create_consumer_on_stream(config, stream)
            .await
            .unwrap()
    }

    /// The bytes of an object.
    pub(super) async fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let store = self.jetstream().get_object_store(bucket).await.ok()?;
        let mut object = store.get(key).await.ok()?;
        let mut bytes = Vec::new();
        object.read_to_end(&mut bytes).await.ok()?;
        Some(bytes)
    }

    /// The next message of a consumer, acknowledged.
    pub(super) async fn next(&self, consumer: &consumer::PullConsumer) -> Value {
        let message = wait::until("a message", async || {
            let mut batch = consumer.fetch().max_messages(1).messages().await.unwrap();
            batch.next().await
        })
        .await
        .unwrap();
        message.double_ack().await.unwrap();
        serde_json::from_slice(&message.payload).unwrap()
    }
}
