//! A broker and a simulated DingTalk of one's own, and bridges between them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::Context;
use futures_util::StreamExt;
use futures_util::stream;
use nats_dingtalk::sim::{CardTemplate, Sim, SimApp, SimOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::path::process::Process;
use crate::support::{Broker, bridge};

pub(crate) const CLIENT_ID: &str = "dingbench00000000";
pub(crate) const SECRET: &str = "secret";
/// Template of the cards.
pub(crate) const TEMPLATE: &str = "bench.schema";

/// Broker, DingTalk and a folder.
pub(crate) struct Scene {
    pub(crate) sim: Sim,
    pub(crate) rate: u32,
    server: Broker,
    dir: TempDir,
}

impl Scene {
    /// Both, with no limit on calls; the simulator remembers `keep` of them.
    pub(crate) async fn start(keep: usize) -> Self {
        Self::limited(keep, None).await
    }

    /// Both, with a limit on calls a second that the bridge knows.
    pub(crate) async fn limited(keep: usize, limit: Option<u32>) -> Self {
        let sim = Sim::start(SimOptions {
            apps: vec![SimApp::new(CLIENT_ID, SECRET)],
            calls_per_second: limit,
            card_templates: Some(vec![CardTemplate::new(TEMPLATE).with_markdown("content")]),
            keep,
            ..SimOptions::default()
        })
        .await
        .unwrap();
        let dir = TempDir::new().unwrap();
        let server = Broker::start(dir.path());
        Self {
            sim,
            rate: limit.unwrap_or(100_000),
            server,
            dir,
        }
    }

    /// Lets a bridge make the streams, and go.
    pub(crate) async fn prepare(&self) {
        let bridge = self.bridge();
        let jetstream = self.jetstream().await;
        while jetstream.get_stream("DINGTALK_OUTBOUND").await.is_err()
            || jetstream.get_object_store("DINGTALK_MEDIA").await.is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(bridge);
    }

    /// A bridge between the two; killed when dropped.
    pub(crate) fn bridge(&self) -> Process {
        let mut command = Command::new(bridge());
        command.arg("run").arg("--config").arg(self.config());
        command.env_remove("HTTPS_PROXY");
        Process::start(command)
    }

    /// Process id of the broker.
    pub(crate) fn broker_pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) async fn jetstream(&self) -> Context {
        self.server.jetstream().await
    }

    /// Publishes texts to 1000 people.
    pub(crate) async fn publish_texts(&self, count: usize) {
        let texts = (0..count).map(|n| {
            let body = json!({"id": format!("r{n}"), "text": format!("text {n}")});
            (format!("user.u{}", n % 1000), body)
        });
        self.publish(texts).await;
    }

    /// Publishes requests of the one account, by the end of their subject.
    pub(crate) async fn publish(&self, requests: impl Iterator<Item = (String, Value)>) {
        let jetstream = self.jetstream().await;
        stream::iter(requests)
            .map(|(subject, body)| {
                let jetstream = jetstream.clone();
                async move {
                    let subject = format!("dingtalk.outbound.bench.{subject}");
                    let body = body.to_string();
                    let stored = jetstream.publish(subject, body.into()).await.unwrap();
                    stored.await.unwrap();
                }
            })
            .buffered(256)
            .for_each(|()| std::future::ready(()))
            .await;
    }

    fn config(&self) -> PathBuf {
        let spool = TempDir::new_in(self.dir.path()).unwrap().keep();
        let text = format!(
            "[nats]\nurl = \"{url}\"\n[dingtalk]\napi_url = \"{api}\"\noapi_url = \"{api}\"\n\
             [spool]\ndir = {spool:?}\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nfilter = \"warn\"\n\
             [accounts.bench]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{SECRET}\"\nrate = {rate}\n\
             card_template = \"{TEMPLATE}\"\ncard_key = \"content\"\n",
            url = self.server.url(),
            api = self.sim.api_url(),
            rate = self.rate,
        );
        let path = spool.join("bridge.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}
