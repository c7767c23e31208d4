//! What goes to the broker and what comes back, told without one: for whoever tries what it bears. It
//! sends nothing.

use async_nats::{Message, StatusCode};
use bytes::Bytes;

use super::error::BrokerError;
use super::outgoing::{Headers, Outgoing, Stored, read_headers, read_puback};

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
    Ok(read_headers(Some(&message.wire_headers()?)))
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
