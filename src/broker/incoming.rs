//! One request as the broker delivered it, and the answers to that delivery. It knows no feed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::client::Request;
use async_nats::jetstream::{self, message::Info};
use bytes::Bytes;
use tokio::sync::Notify;
use tracing::debug;

use super::backlog;
use super::error::BrokerError;
use super::hub::{Hub, REQUEST_TIMEOUT};
use super::illegible::Raw;
use super::outgoing::{Headers, read_headers};
use super::strays::{self, Place};
use crate::message::Timestamp;

/// Header with the pin under which a message was delivered; no header of its publisher.
const PIN_ID: &str = "Nats-Pin-Id";
/// Longest reason that goes into the advisory, in characters.
const MAX_REASON: usize = 256;

/// Sequences that this process holds: a redelivery of one of them is no second request.
#[derive(Debug, Clone, Default)]
pub(super) struct Outstanding(Arc<Mutex<BTreeMap<u64, Standing>>>);

/// Whether the broker still counts a held sequence as unacknowledged.
#[derive(Debug, Clone)]
enum Standing {
    Unanswered,
    /// An answer is under way: it may have arrived. Told when the message is delivered again meanwhile.
    Answering(Arc<Notify>),
}

impl Outstanding {
    /// Takes `sequence` unless it is held. Who is answering it hears that it came again.
    pub(super) fn lease(&self, sequence: u64) -> Option<Lease> {
        let new = self.with(|held| match held.entry(sequence) {
            Entry::Vacant(place) => {
                place.insert(Standing::Unanswered);
                true
            }
            Entry::Occupied(place) => {
                if let Standing::Answering(again) = place.get() {
                    again.notify_one();
                }
                false
            }
        });
        new.then(|| Lease {
            sequence,
            outstanding: self.clone(),
        })
    }

    /// How many sequences up to and including `last` are held and unacknowledged for certain.
    pub(super) fn unanswered_up_to(&self, last: u64) -> usize {
        self.with(|held| {
            let unanswered = |standing: &&Standing| matches!(standing, Standing::Unanswered);
            let upto = held.range(..=last).map(|(_, standing)| standing);
            upto.filter(unanswered).count()
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<u64, Standing>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The claim of one [`Incoming`] on its sequence.
#[derive(Debug)]
pub(super) struct Lease {
    sequence: u64,
    outstanding: Outstanding,
}

impl Lease {
    /// An answer is under way from here on; told when the message is delivered again meanwhile.
    fn answering(&self) -> Arc<Notify> {
        let again = Arc::new(Notify::new());
        self.outstanding.with(|held| {
            if let Some(standing) = held.get_mut(&self.sequence) {
                *standing = Standing::Answering(Arc::clone(&again));
            }
        });
        again
    }

    fn end(&self) {
        self.outstanding.with(|held| held.remove(&self.sequence));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
    }
}

/// One request as the broker delivered it. Dropping it does nothing: it is delivered again once its
/// time is over (4 s after the delivery or the last [`Incoming::progress`]). While it is alive it is
/// not given out a second time in this process.
#[derive(Debug)]
pub struct Incoming {
    /// Subject.
    pub subject: String,
    /// Headers, by name.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    /// Sequence in the stream.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub delivered: u64,
    /// When it was published.
    pub published_at: Timestamp,
    hub: Arc<Hub>,
    answer_to: AnswerTo,
    lease: Option<Lease>,
}

/// How the end of a request is told to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AnswerTo {
    /// On the subject of the delivery.
    Delivery(String),
    /// By removing the message, which was fetched.
    Place(Place),
}

impl Incoming {
    /// Takes a delivery; `None` when this process holds the same message already.
    pub(super) fn take(
        hub: &Arc<Hub>,
        message: &jetstream::Message,
        details: &Info<'_>,
        outstanding: &Outstanding,
    ) -> Option<Self> {
        let lease = outstanding.lease(details.stream_sequence)?;
        let mut headers = read_headers(message.headers.as_ref());
        headers.retain(|(name, _)| name != PIN_ID);
        let millis = details.published.unix_timestamp_nanos() / 1_000_000;
        Some(Self {
            subject: message.subject.to_string(),
            headers,
            payload: message.payload.clone(),
            sequence: details.stream_sequence,
            delivered: u64::try_from(details.delivered).unwrap_or(1),
            published_at: Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)),
            hub: Arc::clone(hub),
            answer_to: AnswerTo::Delivery(message.reply.as_ref()?.to_string()),
            lease: Some(lease),
        })
    }

    /// Takes a message that was fetched because it cannot be delivered; `None` when this process
    /// holds it already.
    pub(super) fn fetched(hub: &Arc<Hub>, raw: Raw, outstanding: &Outstanding) -> Option<Self> {
        let lease = outstanding.lease(raw.sequence)?;
        let place = Place {
            stream: "OUTBOUND",
            sequence: raw.sequence,
        };
        Some(Self {
            lease: Some(lease),
            ..Self::lying(hub, raw, place)
        })
    }

    /// Takes a message that no consumer delivers; it lies at `place`.
    pub(super) fn lying(hub: &Arc<Hub>, raw: Raw, place: Place) -> Self {
        Self {
            subject: raw.subject,
            headers: raw.headers,
            payload: raw.payload,
            sequence: raw.sequence,
            delivered: 1,
            published_at: raw.published_at,
            hub: Arc::clone(hub),
            answer_to: AnswerTo::Place(place),
            lease: None,
        }
    }

    /// Whether another one is the same delivery, or a later one of the same message.
    pub fn succeeds(&self, other: &Self) -> bool {
        match (&self.answer_to, &other.answer_to) {
            (AnswerTo::Delivery(_), AnswerTo::Delivery(_)) => self.sequence == other.sequence,
            (AnswerTo::Place(mine), AnswerTo::Place(theirs)) => mine == theirs,
            _ => false,
        }
    }

    /// Where it lies in the backlog, when it was fetched from there.
    pub fn stowed_at(&self) -> Option<u64> {
        match &self.answer_to {
            AnswerTo::Place(place) if place.stream == backlog::STREAM => Some(place.sequence),
            AnswerTo::Place(_) | AnswerTo::Delivery(_) => None,
        }
    }

    /// Whether it is no request: it wakes a bridge for a backlog which nobody serves.
    pub fn is_wake(&self) -> bool {
        backlog::is_wake(&self.subject, &self.headers)
    }

    /// Says that it is still being worked on, which gives it another 4 s.
    pub async fn progress(&self) {
        if let AnswerTo::Delivery(reply) = &self.answer_to
            && self.hub.consuming_connected()
        {
            let client = self.hub.consuming().client();
            // Lost progress is a redelivery, which is not given out while this is alive.
            let _ = client.publish(reply.clone(), "+WPI".into()).await;
        }
    }

    /// Acknowledges it and waits until the broker has that.
    ///
    /// # Errors
    /// [`BrokerError::Away`]; it is then delivered again.
    pub async fn done(&self) -> Result<(), BrokerError> {
        self.answer("+ACK".into()).await
    }

    /// Terminates it with a reason, after its dead letter was stored.
    ///
    /// # Errors
    /// [`BrokerError::Away`]; it is then delivered again.
    pub async fn reject(&self, reason: &str) -> Result<(), BrokerError> {
        let printable = reason.chars().filter(|c| !c.is_control());
        let reason: String = printable.take(MAX_REASON).collect();
        self.answer(format!("+TERM {reason}").into()).await
    }

    /// Gives it back, to be delivered again at once. Nobody says whether the broker heard that: if
    /// not, it is delivered again once its time is over.
    pub async fn release(&self) {
        if let AnswerTo::Delivery(reply) = &self.answer_to
            && self.hub.consuming_connected()
        {
            let client = self.hub.consuming().client();
            let _ = client.publish(reply.clone(), "-NAK".into()).await;
        }
    }

    pub(super) fn reply(&self) -> Option<String> {
        match &self.answer_to {
            AnswerTo::Delivery(reply) => Some(reply.clone()),
            AnswerTo::Place(_) => None,
        }
    }

    fn end_lease(&self) {
        if let Some(lease) = &self.lease {
            lease.end();
        }
    }

    /// Answers with a reply subject of its own, on which the broker confirms.
    ///
    /// A server that was killed may have forgotten the delivery, and takes no notice of an answer to one that it does not know.
    /// It delivers the message again, and is answered again then.
    async fn answer(&self, answer: Bytes) -> Result<(), BrokerError> {
        let again = self.lease.as_ref().map(Lease::answering);
        let reply = match &self.answer_to {
            AnswerTo::Delivery(reply) => reply,
            AnswerTo::Place(place) => {
                strays::remove(&self.hub, *place).await?;
                self.end_lease();
                return Ok(());
            }
        };
        self.hub.consuming_ready().await?;
        let client = self.hub.consuming().client();
        loop {
            let request = Request::new()
                .payload(answer.clone())
                .timeout(Some(REQUEST_TIMEOUT));
            tokio::select! {
                confirmed = client.send_request(reply.clone(), request) => {
                    confirmed?;
                    break;
                }
                () = told(again.as_deref()) => {
                    debug!(nats.sequence = self.sequence, "delivered again while it is answered, answered again");
                }
            }
        }
        self.end_lease();
        Ok(())
    }
}

async fn told(again: Option<&Notify>) {
    match again {
        Some(again) => again.notified().await,
        None => std::future::pending().await,
    }
}

/// The pin that a delivery came under.
pub(super) fn pin_of(headers: Option<&HeaderMap>) -> Option<&str> {
    headers?.get_last(PIN_ID).map(|value| value.as_str())
}

/// How long a delivered message may go without an answer: below the priority timeout, so that what
/// a dead bridge held comes back before anything newer goes to its successor (nats.md, section 6).
pub(super) const ACK_WAIT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_sequence_is_held_once_until_its_lease_ends() {
        let outstanding = Outstanding::default();
        let lease = outstanding.lease(7).unwrap();
        assert!(outstanding.lease(7).is_none());
        let other = outstanding.lease(9).unwrap();
        assert_eq!(outstanding.unanswered_up_to(8), 1);
        assert_eq!(outstanding.unanswered_up_to(9), 2);
        drop(lease);
        other.end();
        assert_eq!(outstanding.unanswered_up_to(u64::MAX), 0);
        assert!(outstanding.lease(7).is_some());
    }

    #[test]
    fn a_sequence_whose_answer_is_under_way_is_held_and_does_not_count_as_unanswered() {
        let outstanding = Outstanding::default();
        let lease = outstanding.lease(7).unwrap();
        lease.answering();
        assert_eq!(outstanding.unanswered_up_to(7), 0);
        assert!(outstanding.lease(7).is_none());
    }

    #[test]
    fn who_answers_hears_of_a_delivery_from_then_on() {
        let outstanding = Outstanding::default();
        let lease = outstanding.lease(7).unwrap();
        assert!(outstanding.lease(7).is_none());
        let again = lease.answering();
        assert!(told(Some(&again)).now_or_never().is_none());
        assert!(outstanding.lease(7).is_none());
        assert!(told(Some(&again)).now_or_never().is_some());
    }
}
