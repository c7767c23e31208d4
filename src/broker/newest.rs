//! The newest message on a subject, without a consumer. It knows no message's meaning.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;

use super::Broker;
use super::error::BrokerError;
use super::hub::Hub;
use super::outgoing::read_headers;
use super::replay::{Recorded, Shelf};
use crate::message::Timestamp;

impl Broker {
    /// The newest message of `shelf` on `subject`, which may hold wildcards.
    ///
    /// # Errors
    /// [`BrokerError::Away`], also when no bridge has made the stream yet.
    pub async fn newest(
        &self,
        shelf: Shelf,
        subject: &str,
    ) -> Result<Option<Recorded>, BrokerError> {
        newest(&self.hub, &self.hub.names.of(shelf.name()), subject).await
    }
}

/// The newest message of a stream on `subject`.
pub(super) async fn newest(
    hub: &Hub,
    stream: &str,
    subject: &str,
) -> Result<Option<Recorded>, BrokerError> {
    hub.ready().await?;
    let away = |error: String| BrokerError::Away(error);
    let stream = hub.jetstream().get_stream_no_info(stream).await;
    let stream = stream.map_err(|error| away(error.to_string()))?;
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(recorded(message))),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(away(error.to_string())),
    }
}

fn recorded(message: StreamMessage) -> Recorded {
    let millis = message.time.unix_timestamp_nanos() / 1_000_000;
    Recorded {
        subject: message.subject.to_string(),
        headers: read_headers(Some(&message.headers)),
        payload: message.payload,
        sequence: message.sequence,
        stored_at: Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)),
    }
}
