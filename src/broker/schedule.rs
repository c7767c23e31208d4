//! Messages that wait for their time. The broker itself brings them out (2.12: `Nats-Schedule`);
//! where its stream has no schedules, a consumer that gives each one back until it is due. Either
//! way they come out once, on `<prefix>.schedule.due.>`. It knows no message's meaning.
//!
//! ```text
//! <prefix>.schedule.wait.<account>.<id>   until the broker brings it out
//! <prefix>.schedule.held.<account>.<id>   until this module does
//! <prefix>.schedule.due.<account>.<id>    its time has come
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::error::{BrokerError, NO_MESSAGE, SEQUENCE_GONE};
use super::hub::Hub;
use super::newest::newest;
use super::outgoing::{Headers, Outgoing, read_headers};
use super::streams::find;
use super::{Broker, EXPECTED_SUBJECT_SEQUENCE, Feed};
use crate::message::{AccountName, RequestId, Timestamp, encode_token, header};

/// Header with the time of a message (nats.md, section 2).
const SCHEDULE: &str = "Nats-Schedule";
/// Header with the subject that it comes out on.
const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
/// What the broker writes about a schedule.
const SCHEDULE_HEADERS: &str = "nats-schedule";
/// Bytes around name and value of a header.
const LINE: usize = 4;
/// Room for time, target and expectation, and for what the broker adds, in bytes.
const FRAMING: usize = 2048;
/// Name of the stream.
const STREAM: &str = "SCHEDULE";
/// How long a message that is brought out may take.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages that may be given back at a time: each waits under the consumer.
const PENDING: i64 = 1_000_000;
/// Messages asked for at a time.
const BATCH: usize = 64;
/// How long one pull waits at the broker.
const PULL_EXPIRY: Duration = Duration::from_secs(5);
/// Pause after the broker did not answer.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A message and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appointment {
    /// Account that it belongs to.
    pub account: AccountName,
    /// Its key within the account: one waits under each.
    pub id: RequestId,
    /// When it comes out.
    pub at: Timestamp,
    /// Headers that it comes out with; `Nats-Msg-Id` always among them.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
}

impl Appointment {
    /// Bytes of the message as the server counts them, with room for what is added.
    pub fn size(&self) -> usize {
        let header = |(name, value): &(Cow<'_, str>, String)| name.len() + value.len() + LINE;
        let headers: usize = self.headers.iter().map(header).sum();
        self.payload.len() + headers + FRAMING
    }
}

/// What became of an appointment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    /// It waits.
    Waits,
    /// Another one waits under the same key, and keeps its place.
    Taken,
}

/// Where a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Wait,
    Held,
}

impl Room {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Held => "held",
        }
    }
}

impl Broker {
    /// Keeps a message until its time, whatever happens to the bridge or the broker, unless one
    /// waits under the same key.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn book(&self, appointment: &Appointment) -> Result<Booked, BrokerError> {
        let hub = &self.hub;
        for room in [Room::Wait, Room::Held] {
            let subject = subject(hub, room.as_str(), &appointment.account, &appointment.id);
            if newest(hub, &hub.names.of(STREAM), &subject)
                .await?
                .is_some()
            {
                return Ok(Booked::Taken);
            }
        }
        match put(hub, room(hub).await?, appointment, 0).await {
            Ok(()) => Ok(Booked::Waits),
            Err(error) if error.is_wrong_sequence() => Ok(Booked::Taken),
            Err(error) => Err(error),
        }
    }

    /// Lets the message that waits under a key come out now, with one more header; false when none
    /// waits any more.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn call_out(
        &self,
        account: &AccountName,
        id: &RequestId,
        mark: (&'static str, String),
    ) -> Result<bool, BrokerError> {
        let hub = &self.hub;
        for room in [Room::Wait, Room::Held] {
            let subject = subject(hub, room.as_str(), account, id);
            let Some(found) = newest(hub, &hub.names.of(STREAM), &subject).await? else {
                continue;
            };
            let mut headers = plain(found.headers);
            headers.retain(|(name, _)| name != header::MSG_ID);
            let key = format!(
                "nats-dingtalk.call-out:{}:{}",
                found.sequence, found.stored_at
            );
            headers.push((header::MSG_ID.into(), key));
            headers.push((mark.0.into(), mark.1));
            let appointment = Appointment {
                account: account.clone(),
                id: id.clone(),
                at: Timestamp::now(),
                headers,
                payload: found.payload,
            };
            return match put(hub, room, &appointment, found.sequence).await {
                Ok(()) => Ok(true),
                // It came out, or was called out, in between.
                Err(error) if error.is_wrong_sequence() => Ok(false),
                Err(error) => Err(error),
            };
        }
        Ok(false)
    }

    /// The messages whose time has come. Each is to be removed with [`Broker::remove_due`].
    pub fn due_requests(&self) -> Feed {
        Feed::due(Arc::clone(&self.hub))
    }

    /// Removes a message whose time had come; one that is gone already is no error.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn remove_due(&self, sequence: u64) -> Result<(), BrokerError> {
        remove(&self.hub, sequence).await
    }

    /// Brings out what the broker does not bring out by itself, until `stop`.
    pub async fn bring_out_held(&self, stop: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = bring_out(&self.hub).await {
                    debug!(%error, "looking for messages that wait failed");
                }
                sleep(RETRY_DELAY).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }
}

/// Where a new message waits: with the broker, if its stream has schedules.
async fn room(hub: &Hub) -> Result<Room, BrokerError> {
    let stream = find(hub, &hub.names.of(STREAM)).await?;
    let schedules = stream.is_some_and(|stream| stream.config.allow_message_schedules);
    Ok(if schedules { Room::Wait } else { Room::Held })
}

/// Stores an appointment in place of the message with sequence `over`, or as the first.
async fn put(
    hub: &Hub,
    room: Room,
    appointment: &Appointment,
    over: u64,
) -> Result<(), BrokerError> {
    let Appointment {
        account, id, at, ..
    } = appointment;
    let mut headers = appointment.headers.clone();
    headers.retain(|(name, _)| name != header::NOT_BEFORE);
    headers.push((header::NOT_BEFORE.into(), at.to_string()));
    let mut extra = vec![(EXPECTED_SUBJECT_SEQUENCE, over.to_string())];
    if room == Room::Wait {
        extra.push((SCHEDULE, format!("@at {at}")));
        extra.push((SCHEDULE_TARGET, subject(hub, "due", account, id)));
    }
    let message = Outgoing {
        subject: subject(hub, room.as_str(), account, id),
        headers,
        payload: appointment.payload.clone(),
    };
    hub.store(&message, &extra).await?;
    Ok(())
}

fn subject(hub: &Hub, room: &str, account: &AccountName, id: &RequestId) -> String {
    let branch = hub.names.subjects.branch("schedule");
    format!("{branch}.{room}.{account}.{}", encode_token(id.as_str()))
}

/// Headers without what speaks to the broker about a schedule or an expectation.
fn plain(mut headers: Headers) -> Headers {
    headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !name.starts_with(SCHEDULE_HEADERS) && !name.starts_with("nats-expected-")
    });
    headers
}

async fn remove(hub: &Hub, sequence: u64) -> Result<(), BrokerError> {
    let subject = format!("STREAM.MSG.DELETE.{}", hub.names.of(STREAM));
    let question = json!({ "seq": sequence, "no_erase": true });
    match hub.ask::<_, IgnoredAny>(subject, &question).await {
        Err(error) if error.is_code(NO_MESSAGE) || error.is_code(SEQUENCE_GONE) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// Gives messages back until their time, and brings out those whose time has come.
async fn bring_out(hub: &Arc<Hub>) -> Result<(), BrokerError> {
    let away = |error: &dyn std::fmt::Display| BrokerError::Away(error.to_string());
    hub.consuming_ready().await?;
    let config = pull::Config {
        durable_name: Some("held".to_owned()),
        filter_subject: format!("{}.held.>", hub.names.subjects.branch("schedule")),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: PENDING,
        ..pull::Config::default()
    };
    let stream = hub.names.of(STREAM);
    let jetstream = hub.consuming();
    let creating = jetstream.create_consumer_on_stream(config, stream);
    let consumer = creating.await.map_err(|error| away(&error))?;
    loop {
        let pulling = consumer.batch().max_messages(BATCH).expires(PULL_EXPIRY);
        let mut batch = pulling.messages().await.map_err(|error| away(&error))?;
        while let Some(message) = batch.next().await {
            advance(hub, &message.map_err(|error| away(&error))?).await?;
        }
    }
}

/// Gives one message back for the time that is left, or brings it out.
async fn advance(hub: &Hub, message: &Message) -> Result<(), BrokerError> {
    let away = |error: &dyn std::fmt::Display| BrokerError::Away(error.to_string());
    let sequence = message
        .info()
        .map_err(|error| away(&error))?
        .stream_sequence;
    let headers = plain(read_headers(message.headers.as_ref()));
    let named = |(name, _): &&(_, String)| name == header::NOT_BEFORE;
    let at = headers.iter().find(named);
    let at = at.and_then(|(_, at)| Timestamp::parse(at).ok());
    if at.is_none() {
        warn!(nats.subject = %message.subject, "a message that waits names no time, it comes out now");
    }
    let left = at.map_or(Duration::ZERO, |at| at.since(Timestamp::now()));
    if !left.is_zero() {
        let back = message.ack_with(AckKind::Nak(Some(left))).await;
        return back.map_err(|error| away(&error));
    }
    let branch = hub.names.subjects.branch("schedule");
    let [held, out] = ["held", "due"].map(|room| format!("{branch}.{room}."));
    let mut headers = headers;
    // Its own stands for the message that waits, in the same stream.
    headers.retain(|(name, _)| name != header::MSG_ID);
    let key = format!("nats-dingtalk.due:{sequence}");
    headers.push((header::MSG_ID.into(), key));
    let due = Outgoing {
        subject: message.subject.replacen(&held, &out, 1),
        headers,
        payload: message.payload.clone(),
    };
    hub.store(&due, &[]).await?;
    remove(hub, sequence).await?;
    message.ack().await.map_err(|error| away(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_to_the_broker_does_not_come_out() {
        let pair = |name: &'static str| (name.into(), "x".to_owned());
        let headers = plain(vec![
            pair("Nats-Schedule"),
            pair("Nats-Schedule-Target"),
            pair("Nats-Scheduler"),
            pair("Nats-Expected-Last-Subject-Sequence"),
            pair("Nats-Msg-Id"),
            pair("Dingtalk-Account"),
        ]);
        assert_eq!(headers, vec![pair("Nats-Msg-Id"), pair("Dingtalk-Account")]);
    }
}
