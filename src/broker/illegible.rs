//! Messages of a stream read through JetStream's API, whose answers are JSON: the only way to a
//! message whose header block the client library cannot read.
//!
//! A message that is delivered with such a block breaks the connection that it comes on, or kills its
//! task, before the bridge sees it; it would be delivered again for ever.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{BrokerError, NO_MESSAGE};
use super::hub::Hub;
use super::outgoing::Headers;
use crate::message::{Timestamp, header};

/// First line of a header block.
const VERSION: &str = "NATS/1.0";
/// What stands in [`header::ILLEGIBLE`].
const DETAIL: &str = "the header block of the message is not one of NATS headers";

/// A message as it lies in the stream.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) subject: String,
    /// The headers; [`header::ILLEGIBLE`] alone when they cannot be read.
    pub(super) headers: Headers,
    pub(super) payload: Bytes,
    pub(super) sequence: u64,
    pub(super) published_at: Timestamp,
}

impl Raw {
    /// Whether its headers cannot be read.
    pub(super) fn is_illegible(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, _)| name == header::ILLEGIBLE)
    }
}

#[derive(Deserialize)]
struct Answer {
    message: Lying,
}

#[derive(Deserialize)]
struct Lying {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

/// The first message of a stream from `sequence` on whose subject `filter` matches.
pub(super) async fn next(
    hub: &Hub,
    (stream, filter): (&str, &str),
    sequence: u64,
) -> Result<Option<Raw>, BrokerError> {
    let question = json!({ "seq": sequence.max(1), "next_by_subj": filter });
    lying(hub, stream, &question).await
}

/// The last message of a stream whose subject `filter` matches.
pub(super) async fn last(
    hub: &Hub,
    (stream, filter): (&str, &str),
) -> Result<Option<Raw>, BrokerError> {
    lying(hub, stream, &json!({ "last_by_subj": filter })).await
}

async fn lying(hub: &Hub, stream: &str, question: &Value) -> Result<Option<Raw>, BrokerError> {
    let subject = format!("STREAM.MSG.GET.{}", hub.names.of(stream));
    match hub.ask::<_, Answer>(subject, question).await {
        Ok(answer) => raw(answer.message).map(Some),
        Err(error) if error.is_code(NO_MESSAGE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The messages with illegible headers among those that `filters` match from `first` to `last`.
pub(super) async fn among(
    hub: Arc<Hub>,
    filters: &[String],
    (first, last): (u64, u64),
) -> Result<Vec<Raw>, BrokerError> {
    let mut found = Vec::new();
    for filter in filters {
        let mut from = first;
        while let Some(message) = next(&hub, ("OUTBOUND", filter), from).await? {
            if message.sequence > last {
                break;
            }
            from = message.sequence + 1;
            if message.is_illegible() {
                found.push(message);
            }
        }
    }
    found.sort_by_key(|message| message.sequence);
    Ok(found)
}

fn raw(lying: Lying) -> Result<Raw, BrokerError> {
    let broken = |_| BrokerError::Away("a stored message that is not base64".to_owned());
    let block = STANDARD.decode(&lying.hdrs).map_err(broken)?;
    let payload = STANDARD.decode(&lying.data).map_err(broken)?;
    let published_at = Timestamp::parse(&lying.time)
        .map_err(|_| BrokerError::Away("a stored message without a time".to_owned()))?;
    Ok(Raw {
        subject: lying.subject,
        headers: headers(&block),
        payload: payload.into(),
        sequence: lying.seq,
        published_at,
    })
}

/// The headers of a block, sorted by name.
fn headers(block: &[u8]) -> Headers {
    if block.is_empty() {
        return Headers::new();
    }
    match read(block) {
        Some(mut headers) => {
            headers.sort_by(|left, right| left.0.cmp(&right.0));
            headers
        }
        None => vec![(header::ILLEGIBLE.into(), DETAIL.to_owned())],
    }
}

/// Reads a block at least as strictly as the client library does.
fn read(block: &[u8]) -> Option<Headers> {
    let text = std::str::from_utf8(block).ok()?;
    let mut lines = text.lines();
    let status = lines.next()?.strip_prefix(VERSION)?.trim();
    if !status.is_empty() {
        return None;
    }
    let mut headers = Headers::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if line.contains('\r') {
            return None;
        }
        if line.starts_with(char::is_whitespace) {
            headers.last_mut()?.1.push_str(line.trim_end());
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let legal = |c: char| c.is_ascii_graphic();
        if name.is_empty() || !name.chars().all(legal) {
            return None;
        }
        headers.push((name.to_owned().into(), value.trim().to_owned()));
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_as_clients_write_it() {
        let block = b"NATS/1.0\r\nNats-Msg-Id: a\r\nX:  b c \r\n folded\r\nX:\r\n\r\n";
        let pair = |name: &'static str, value: &str| (name.into(), value.to_owned());
        let expected: Headers = vec![
            pair("Nats-Msg-Id", "a"),
            pair("X", "b c folded"),
            pair("X", ""),
        ];
        assert_eq!(headers(block), expected);
        assert!(headers(b"").is_empty());
    }

    #[test]
    fn what_the_library_cannot_take_is_illegible() {
        for block in [
            &b"NATS/1.0\r\nX: a\rb\r\n\r\n"[..],
            b"NATS/1.0\r\nX: \xff\r\n\r\n",
            b"NATS/1.0\r\nnothing\r\n\r\n",
            b"NATS/1.0 abc\r\n\r\n",
            b"NATS/1.0\r\nX y: a\r\n\r\n",
            b"NATS/1.0\r\n: a\r\n\r\n",
            b"NATS/1.0\r\n folded\r\n\r\n",
            b"\r\n",
            b"x",
        ] {
            assert_eq!(
                headers(block).len(),
                1,
                "{}",
                String::from_utf8_lossy(block)
            );
            assert_eq!(headers(block)[0].0, header::ILLEGIBLE);
        }
    }
}
