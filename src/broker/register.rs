//! A subject as a register: its newest message, and one that takes its place only while it is still the
//! newest. It knows neither keys nor objects.

use async_nats::client::Request;
use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::EXPECTED_SUBJECT_SEQUENCE;
use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use super::outgoing::Outgoing;

/// Header with the revision of what was read.
const SEQUENCE: &str = "Nats-Sequence";

/// The newest message on a subject.
pub(super) struct Newest {
    headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
    /// Its sequence.
    pub(super) revision: u64,
}

impl Newest {
    /// The value of a header.
    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        header(self.headers.as_ref(), name)
    }
}

/// The newest message on `subject`, from whichever server has it at hand; `None` when there is none.
pub(super) async fn read(
    hub: &Hub,
    stream: &str,
    subject: &str,
) -> Result<Option<Newest>, BrokerError> {
    hub.ready().await?;
    let api = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
    let request = Request::new().timeout(Some(REQUEST_TIMEOUT));
    let reply = hub.client().send_request(api, request).await?;
    match reply.status {
        Some(StatusCode::NOT_FOUND) => return Ok(None),
        Some(status) => {
            return Err(BrokerError::Away(format!("direct get answers {status}")));
        }
        None => {}
    }
    let revision = header(reply.headers.as_ref(), SEQUENCE)
        .and_then(|sequence| sequence.parse().ok())
        .ok_or_else(|| BrokerError::Away("an entry without revision".to_owned()))?;
    Ok(Some(Newest {
        headers: reply.headers,
        payload: reply.payload,
        revision,
    }))
}

/// Stores `message` while the newest one on its subject has `revision` (0: there is none); the new
/// revision. [`BrokerError::Conflict`] when it has another; after [`BrokerError::Away`] it may be stored
/// all the same.
pub(super) async fn replace(
    hub: &Hub,
    message: &Outgoing,
    revision: u64,
    mut extra: Vec<(&'static str, String)>,
) -> Result<u64, BrokerError> {
    extra.push((EXPECTED_SUBJECT_SEQUENCE, revision.to_string()));
    match hub.store(message, &extra).await {
        Err(error) if error.is_wrong_sequence() => Err(BrokerError::Conflict),
        Err(error) => Err(error),
        Ok(stored) => Ok(stored.sequence),
    }
}

fn header<'a>(headers: Option<&'a HeaderMap>, name: &'static str) -> Option<&'a str> {
    headers?.get(name).map(|value| value.as_str())
}
