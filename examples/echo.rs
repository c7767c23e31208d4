//! Answers every message with its own text. The broker's address is `NATS_URL`.

#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own reads its environment"
)]

use anyhow::Result;
use async_nats::jetstream::{self, consumer};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    let broker = jetstream::new(async_nats::connect(url).await?);
    // Durable: it goes on where it stopped. New: the first start does not answer old messages.
    let wanted = consumer::pull::Config {
        durable_name: Some("echo".to_owned()),
        filter_subjects: ["group", "user"]
            .map(|kind| format!("dingtalk.inbound.*.{kind}.>"))
            .into(),
        deliver_policy: consumer::DeliverPolicy::New,
        ..Default::default()
    };
    let inbound = broker
        .create_consumer_on_stream(wanted, "DINGTALK_INBOUND")
        .await?;
    let mut messages = inbound.messages().await?;
    while let Some(message) = messages.try_next().await? {
        let said: Value = serde_json::from_slice(&message.payload)?;
        let field = |path| said.pointer(path)?.as_str().filter(|text| !text.is_empty());
        if let (Some(id), Some(text), Some(subject)) = (
            field("/id"),
            field("/message/text"),
            field("/reply/subject"),
        ) {
            // The same id on every redelivery: DingTalk gets the answer once.
            let answer = json!({ "id": format!("echo-{id}"), "text": text }).to_string();
            let stored = broker.publish(subject.to_owned(), answer.into()).await?;
            stored.await?;
        }
        message.ack().await.map_err(anyhow::Error::from_boxed)?;
    }
    Ok(())
}
