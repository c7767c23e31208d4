//! The floor: tokio-tungstenite in, envelope parse, windowed publish, ack out, nothing else. With a
//! sample it publishes messages of the bridge's shape instead, which makes it the control.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

use super::shape::Shape;

/// Publishes without a PubAck at a time; the same as the bridge's.
pub(super) const WINDOW: usize = 128;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    headers: Headers<'a>,
    data: String,
}

#[derive(Deserialize)]
struct Headers<'a> {
    #[serde(rename = "messageId")]
    message_id: &'a str,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "msgId")]
    msg_id: &'a str,
    #[serde(rename = "conversationId")]
    conversation_id: &'a str,
}

/// Connects to the gateway and to the broker and moves frames until the socket closes; `sample` is the
/// path of a [`super::shape::Sample`], or `-`.
pub(super) async fn run(gateway: &str, nats: &str, sample: &str) {
    let shape = Shape::read(sample);
    let client = async_nats::connect(nats).await.unwrap();
    let jetstream = ContextBuilder::new()
        .timeout(Duration::from_secs(5))
        .max_ack_inflight(WINDOW * 2)
        .build(client);
    let url = format!("{}/connect?ticket=bare", gateway.replace("http", "ws"));
    let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let (mut sink, mut source) = socket.split();
    let mut acks = FuturesOrdered::new();
    let mut ids: VecDeque<String> = VecDeque::with_capacity(WINDOW);
    loop {
        tokio::select! {
            biased;
            Some(ack) = acks.next(), if !acks.is_empty() => {
                let mut ack = Some(ack);
                // Everything that is answered already shares one flush.
                while let Some(answered) = ack {
                    let answered: Result<_, async_nats::jetstream::context::PublishError> = answered;
                    answered.unwrap();
                    let id = ids.pop_front().unwrap();
                    sink.feed(Message::text(answer(&id))).await.unwrap();
                    ack = acks.next().now_or_never().flatten();
                }
                sink.flush().await.unwrap();
            }
            frame = source.next(), if acks.len() < WINDOW => {
                let Some(Ok(message)) = frame else { return };
                let Message::Text(text) = message else { continue };
                let envelope: Envelope<'_> = serde_json::from_str(&text).unwrap();
                let data: Data<'_> = serde_json::from_str(&envelope.data).unwrap();
                ids.push_back(envelope.headers.message_id.to_owned());
                let (subject, headers, body) = shape.message(data.msg_id, data.conversation_id);
                let body = body.unwrap_or_else(|| envelope.data.into());
                let ack = jetstream
                    .publish_with_headers(subject, headers, body)
                    .await
                    .unwrap();
                acks.push_back(ack.into_future());
            }
        }
    }
}

fn answer(id: &str) -> String {
    format!(
        r#"{{"code":200,"headers":{{"contentType":"application/json","messageId":"{id}"}},"message":"OK","data":"{{\"response\": null}}"}}"#
    )
}
