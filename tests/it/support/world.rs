//! Broker, simulated DingTalk and bridge together.

use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use nats_dingtalk::sim::{Sim, SimApp, SimOptions};
use serde_json::Value;

use super::bridge::{Bridge, CLIENT_ID, CLIENT_SECRET, Setup};
use super::nats::Nats;
use super::wait;

/// A group that every test may speak in.
pub(crate) const GROUP: &str = "cid6KeBBLoveMJOGXoYKF5x7EeiodoA==";

/// A broker, a simulated DingTalk with one app, and the bridge between them.
pub(crate) struct World {
    pub(crate) nats: Nats,
    pub(crate) sim: Sim,
    pub(crate) bridge: Bridge,
}

/// Options of the simulator for tests: no rate limit, one second until a bot message comes again.
pub(crate) fn options() -> SimOptions {
    SimOptions {
        apps: vec![SimApp::new(CLIENT_ID, CLIENT_SECRET)],
        calls_per_second: None,
        bot_retries: vec![Duration::from_secs(4)],
        event_retries: vec![Duration::from_secs(4), Duration::from_secs(4)],
        patience: wait::PATIENCE,
        ..SimOptions::default()
    }
}

/// One message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) body: Value,
    pub(crate) headers: async_nats::HeaderMap,
}

impl Stored {
    /// The value of a header; empty when missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }
}

impl World {
    /// Everything up and ready, with defaults.
    pub(crate) async fn start() -> Self {
        Self::start_with(options(), |setup| setup).await
    }

    /// Everything up and ready.
    pub(crate) async fn start_with(
        options: SimOptions,
        setup: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        let nats = Nats::start().await;
        let sim = Sim::start(options).await.unwrap();
        let bridge = setup(Setup::new(&nats.url(), sim.api_url()))
            .start()
            .await
            .ready()
            .await;
        sim.connected(CLIENT_ID, 1).await.unwrap();
        Self { nats, sim, bridge }
    }

    /// The setup of another bridge between the same broker and DingTalk.
    pub(crate) fn setup(&self) -> Setup {
        Setup::new(&self.nats.url(), self.sim.api_url())
    }

    /// Publishes a request as JSON through JetStream.
    pub(crate) async fn request(&self, subject: &str, body: &Value) {
        self.publish(subject, body.to_string().into()).await;
    }

    /// Publishes any payload through JetStream.
    pub(crate) async fn publish(&self, subject: &str, payload: bytes::Bytes) {
        let jetstream = self.nats.jetstream().await;
        jetstream
            .publish(subject.to_owned(), payload)
            .await
            .unwrap()
            .await
            .unwrap();
    }

    /// Everything that a stream holds, once it holds at least `count` messages.
    pub(crate) async fn stored(&self, stream: &str, count: usize) -> Vec<Stored> {
        let what = format!("{count} messages in {stream}");
        wait::until(&what, async || {
            let all = messages(&self.nats, stream).await?;
            (all.len() >= count).then_some(all)
        })
        .await
    }

    /// The receipt of a request of account `sales`.
    pub(crate) async fn receipt(&self, id: &str) -> Value {
        let what = format!("the receipt of {id}");
        wait::until(&what, async || {
            let all = messages(&self.nats, "DINGTALK_RECEIPT").await?;
            let found = all.into_iter().find(|stored| stored.body["id"] == id)?;
            Some(found.body)
        })
        .await
    }
}

/// Everything that a stream holds now; `None` when there is no such stream.
pub(crate) async fn messages(nats: &Nats, stream: &str) -> Option<Vec<Stored>> {
    read(&jetstream::new(nats.try_client().await?), stream).await
}

/// The same through a client that is there already.
pub(crate) async fn read(jetstream: &jetstream::Context, stream: &str) -> Option<Vec<Stored>> {
    let mut stream = jetstream.get_stream(stream).await.ok()?;
    let count = stream.info().await.ok()?.state.messages;
    let consumer = stream
        .create_consumer(jetstream::consumer::pull::OrderedConfig::default())
        .await
        .ok()?;
    let mut found = Vec::new();
    if count == 0 {
        return Some(found);
    }
    let mut messages = consumer.messages().await.ok()?;
    while let Ok(Some(Ok(message))) =
        tokio::time::timeout(Duration::from_secs(5), messages.next()).await
    {
        let meta = message.info().ok()?;
        let pending = meta.pending;
        found.push(Stored {
            subject: message.subject.to_string(),
            body: serde_json::from_slice(&message.payload).unwrap_or(Value::Null),
            headers: message.headers.clone().unwrap_or_default(),
        });
        if pending == 0 {
            break;
        }
    }
    Some(found)
}
