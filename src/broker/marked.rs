//! Inbound messages of late that carry a certain header: what a bridge that starts looks for, to finish
//! what an earlier life announced. It reads headers alone, and one body at a time when asked.

use async_nats::StatusCode;
use async_nats::client::Request;
use bytes::Bytes;
use serde_json::json;

use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use super::outgoing::{Headers, read_headers};
use super::replay::Shelf;
use super::sweep::{self, Pass, Scope};
use crate::message::Timestamp;

/// Messages asked for at a time.
const BATCH: usize = 1000;
/// A tenth of the time: a stream that filled fast holds a million messages of the last minutes.
const REST: u32 = 9;

/// Sequences of the inbound messages since `since` that carry `header`, in order.
pub(super) async fn since(
    hub: &Hub,
    header: &'static str,
    since: Timestamp,
) -> Result<Vec<u64>, BrokerError> {
    let scope = Scope {
        stream: hub.names.of(Shelf::Inbound.name()),
        from: sweep::from(since),
        subjects: Vec::new(),
        headers_only: true,
        batch: BATCH,
        rest: REST,
    };
    let mut found = Vec::new();
    sweep::sweep(hub, scope, |message| {
        let headers = message.headers.as_ref();
        if headers.is_some_and(|headers| headers.get(header).is_some()) {
            found.push(message.info().map_err(sweep::away)?.stream_sequence);
        }
        Ok(Pass::On)
    })
    .await?;
    Ok(found)
}

/// Headers and body of one inbound message; `None` when it is gone.
pub(super) async fn read(
    hub: &Hub,
    sequence: u64,
) -> Result<Option<(Headers, Bytes)>, BrokerError> {
    hub.ready().await?;
    let stream = hub.names.of(Shelf::Inbound.name());
    let question = json!({ "seq": sequence }).to_string();
    let request = Request::new()
        .payload(question.into())
        .timeout(Some(REQUEST_TIMEOUT));
    let api = format!("$JS.API.DIRECT.GET.{stream}");
    let reply = hub.client().send_request(api, request).await?;
    match reply.status {
        None => Ok(Some((read_headers(reply.headers.as_ref()), reply.payload))),
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(status) => Err(BrokerError::Away(format!("direct get answers {status}"))),
    }
}
