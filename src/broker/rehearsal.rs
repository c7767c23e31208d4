//! What goes to the broker and what comes back, done without one: for whoever tries what it bears or
//! measures what it takes. It sends nothing.

use async_nats::{Message, StatusCode};
use bytes::Bytes;

use super::error::BrokerError;
use super::outgoing::{Headers, Outgoing, Stored, read_headers, read_puback};

/// Line end of a header block.
const LINE_END: &str = "\r\n";

/// Brings `message` into its wire form and reads `answer`, a payload, as the PubAck to it.
///
/// # Errors
/// What publishing it would settle with: it cannot be sent, or the answer is a refusal.
pub fn rehearse(message: &Outgoing, answer: Bytes) -> Result<Stored, BrokerError> {
    std::hint::black_box(message.wire_headers()?);
    acknowledgement(None, answer)
}

/// The headers as a reader gets them back.
///
/// # Errors
/// [`BrokerError::Refused`] where one of them cannot be sent.
pub fn echo(headers: &Headers) -> Result<Headers, BrokerError> {
    let message = Outgoing {
        subject: String::new(),
        headers: headers.clone(),
        payload: Bytes::new(),
    };
    let mut echoed = Headers::new();
    for (name, lines) in read_headers(Some(&message.wire_headers()?)) {
        let mut lines = lines.split(LINE_END);
        let value = lines.next().unwrap_or_default().to_owned();
        echoed.push((name, value));
        let others = lines.filter_map(|line| line.split_once(": "));
        echoed.extend(others.map(|(name, value)| (name.to_owned().into(), value.to_owned())));
    }
    echoed.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(echoed)
}

/// What an answer to a publish says.
///
/// # Errors
/// As for a publish.
pub fn acknowledgement(status: Option<u16>, payload: Bytes) -> Result<Stored, BrokerError> {
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    read_puback(&Message {
        subject: "_INBOX.x".into(),
        reply: None,
        length: payload.len(),
        payload,
        headers: None,
        status,
        description: None,
    })
}
