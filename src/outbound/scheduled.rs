//! Requests that are not to be sent yet: which ones have to wait, how they wait, and how they come
//! back to the subject of their chat.
//!
//! A request waits before any claim in the ledger: the key is claimed by the publication that comes
//! back, so that neither a second publication under the same key nor a redelivery makes a second
//! message.

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::broker::{Appointment, Booked, Headers, Incoming, Outgoing};
use crate::message::{
    AccountName, DeadReason, OutboundAddress, Request, RequestId, Timestamp, header,
};

use super::desk::{Desk, LetGo, Patience};
use super::held::{acknowledge, published};
use super::ledger::Ledger;
use super::mover::refuse;
use super::receipt::{Matter, Published};
use super::resolve::{self, Form, Key, Refusal, header_value};
use super::settings::Settings;

/// Longest time that a request may wait.
pub(super) const LONGEST_WAIT: std::time::Duration =
    std::time::Duration::from_secs(366 * 24 * 3600);
/// Acknowledgements of moved requests under way at once.
const ACKS: usize = 64;

/// Why the instants of a request contradict each other, if they do.
pub(super) fn check(request: &Request) -> Result<(), Refusal> {
    let Some(at) = request.not_before else {
        return Ok(());
    };
    let refused = |detail: &str| Err(Refusal::new(DeadReason::Malformed, detail));
    if request.expires_at.is_some_and(|end| end <= at) {
        return refused(
            "`expires_at` is not after `not_before`: it could never be sent; correct one of them",
        );
    }
    if at.since(Timestamp::now()) > LONGEST_WAIT {
        return refused("`not_before` is more than 366 days away; publish it later");
    }
    Ok(())
}

/// When a request on `address` is to be sent, if that is later. One that would be refused anyway, or
/// that has waited already, does not wait.
pub(super) fn wanted(
    address: &OutboundAddress,
    request: &Request,
    headers: &Headers,
) -> Option<Timestamp> {
    let at = request.not_before?;
    // The clock of the broker decides that the time has come, not this one's.
    let waited = header_value(headers, header::NOT_BEFORE).is_some();
    let later = at > Timestamp::now() && !waited;
    // What the account allows may change meanwhile: it decides when the time has come.
    (later && legal(address, request)).then_some(at)
}

/// What became of a request that may be early.
#[derive(Debug)]
pub(super) enum Early {
    /// It waits, or another one under its key does.
    Waits,
    /// It is not early.
    GoesOn,
    /// It cannot wait.
    Refused(Refusal),
}

fn legal(address: &OutboundAddress, request: &Request) -> bool {
    // What a card is asked is looked at when it is asked.
    let card = request.card.is_some() || request.stream.is_some();
    card || resolve::check(address, request, &Settings::lenient()).is_ok()
}

/// A request that is to wait, and where it belongs.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    /// The publication.
    pub(super) published: &'a Published,
    /// Account.
    pub(super) account: &'a AccountName,
    /// Idempotency key.
    pub(super) id: &'a RequestId,
    /// Canonical subject of its chat.
    pub(super) subject: String,
    /// When it is to be sent.
    pub(super) at: Timestamp,
}

impl Waiting<'_> {
    fn appointment(&self) -> Appointment {
        let publication = self.published.publication;
        let mut headers = kept(&self.published.headers);
        let mut add = |name: &'static str, value: String| headers.push((name.into(), value));
        let key = format!("nats-dingtalk.later:{}:{}", publication.seq, publication.at);
        add(header::MSG_ID, key);
        add(header::REQUEST_ID, self.id.as_str().to_owned());
        add(header::ACCOUNT, self.account.as_str().to_owned());
        add(header::DUE_SUBJECT, self.subject.clone());
        // A bare one that was moved says where it was published first.
        let first = |name| header_value(&self.published.headers, name).map(str::to_owned);
        let subject = first(header::SOURCE_SUBJECT);
        add(
            header::SOURCE_SUBJECT,
            subject.unwrap_or_else(|| self.published.subject.clone()),
        );
        let sequence = first(header::SOURCE_SEQUENCE);
        add(
            header::SOURCE_SEQUENCE,
            sequence.unwrap_or_else(|| publication.seq.to_string()),
        );
        add(
            header::SOURCE_TIME,
            self.published.requested_at().to_string(),
        );
        Appointment {
            account: self.account.clone(),
            id: self.id.clone(),
            at: self.at,
            headers,
            payload: self.published.payload.clone(),
        }
    }
}

/// Headers of the publisher that go on with a request.
fn kept(headers: &Headers) -> Headers {
    let own = [
        header::REQUEST_ID,
        header::ACCOUNT,
        header::CHAT,
        header::SOURCE_SUBJECT,
        header::SOURCE_SEQUENCE,
        header::SOURCE_TIME,
        header::DUE_SUBJECT,
        header::NOT_BEFORE,
        header::CANCELLED,
    ];
    let kept = |name: &str| {
        !own.iter().any(|own| own.eq_ignore_ascii_case(name))
            && !name.to_ascii_lowercase().starts_with("nats-")
    };
    let pairs = headers.iter().filter(|(name, _)| kept(name));
    pairs.cloned().collect()
}

impl Desk {
    /// Hands a request that is early over to wait; afterwards it may be acknowledged. One whose key
    /// was used already goes on, to be found out as a duplicate.
    pub(super) async fn postpone(
        &self,
        waiting: &Waiting<'_>,
        stop: &CancellationToken,
    ) -> Result<Early, LetGo> {
        let key = Ledger::key(waiting.account, waiting.id);
        let read = || self.ledger.read(&key);
        let used = self.insist(Patience::Until(stop), "ledger read", read);
        if used.await?.is_some() {
            return Ok(Early::GoesOn);
        }
        let appointment = waiting.appointment();
        if appointment.size() > self.broker.max_payload() {
            return Ok(Early::Refused(Refusal::new(
                DeadReason::TooLarge,
                "with its headers the request is larger than the broker takes; make it smaller, or leave `not_before` out",
            )));
        }
        let step = || self.broker.book(&appointment);
        let patience = Patience::Until(stop);
        let (account, id) = (waiting.account, waiting.id);
        match self.insist(patience, "postponed request", step).await? {
            Booked::Waits => {
                info!(dingtalk.account = %account, request.id = %id, request.not_before = %waiting.at, "request waits for its time");
            }
            Booked::Taken => {
                info!(dingtalk.account = %account, request.id = %id, "request waits already");
            }
        }
        Ok(Early::Waits)
    }

    /// Moves requests whose time has come to the subject of their chat, one after the other, until
    /// `stop`.
    pub(super) async fn move_due(&self, stop: &CancellationToken) {
        let mut feed = self.broker.due_requests();
        let held = self.broker.bring_out_held(stop.clone());
        let mut held = std::pin::pin!(held.fuse());
        let mut acks = FuturesUnordered::new();
        loop {
            let incoming = tokio::select! {
                incoming = feed.next(), if acks.len() < ACKS => incoming,
                Some(()) = acks.next() => continue,
                () = &mut held => continue,
                () = stop.cancelled() => break,
            };
            let Ok(dead) = self.end_wait(&incoming, stop).await else {
                debug!(
                    nats.sequence = incoming.sequence,
                    "due request let go, it is delivered again"
                );
                continue;
            };
            acks.push(async move { acknowledge(&incoming, dead).await });
        }
        while acks.next().await.is_some() {}
        feed.close().await;
    }

    async fn end_wait(
        &self,
        incoming: &Incoming,
        stop: &CancellationToken,
    ) -> Result<Option<DeadReason>, LetGo> {
        let published = published(incoming);
        let named = |name| header_value(&published.headers, name);
        let address = named(header::DUE_SUBJECT).and_then(|subject| {
            let address = self.subjects.parse_outbound(subject).ok()?;
            Some((subject, address))
        });
        let Some((subject, OutboundAddress::Canonical { account, .. })) = address else {
            // Nothing of ours: only the bridge writes there.
            debug!(nats.subject = %published.subject, "a due message names no chat, it is removed");
            self.broker_forgets(incoming.sequence, stop).await?;
            return Ok(None);
        };
        let reading = resolve::read(&published.headers, &published.payload, 0, Form::Canonical);
        let dead = if named(header::CANCELLED).is_some() {
            self.call_off(&published, (&account, subject), &reading.key, stop)
                .await?
        } else {
            let due = due(&published, subject, &reading.key);
            let step = || self.broker.store(&due);
            let patience = Patience::Until(stop);
            self.insist(patience, "due request", step).await?;
            debug!(nats.subject = subject, request.id = %reading.key.id, "request is due");
            None
        };
        self.broker_forgets(incoming.sequence, stop).await?;
        Ok(dead)
    }

    async fn call_off(
        &self,
        published: &Published,
        (account, subject): (&AccountName, &str),
        key: &Key,
        stop: &CancellationToken,
    ) -> Result<Option<DeadReason>, LetGo> {
        let matter = Matter {
            account,
            id: &key.id,
            published,
            subject: Some(subject),
        };
        let refusal = Refusal::new(DeadReason::Cancelled, "it was called off before its time");
        refuse(self, &matter, (key, &refusal), stop).await
    }

    async fn broker_forgets(&self, sequence: u64, stop: &CancellationToken) -> Result<(), LetGo> {
        let step = || self.broker.remove_due(sequence);
        let patience = Patience::Until(stop);
        self.insist(patience, "due request removal", step).await
    }
}

/// The message that goes on to the chat.
fn due(published: &Published, subject: &str, key: &Key) -> Outgoing {
    let own = [header::MSG_ID, header::DUE_SUBJECT];
    let mut headers: Headers = published.headers.clone();
    headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !name.starts_with("nats-") && !own.iter().any(|own| own.eq_ignore_ascii_case(&name))
    });
    let publication = published.publication;
    let message_id = format!("nats-dingtalk.due:{}:{}", publication.seq, publication.at);
    headers.push((header::MSG_ID.into(), message_id));
    if header_value(&headers, header::REQUEST_ID).is_none() {
        headers.push((header::REQUEST_ID.into(), key.id.as_str().to_owned()));
    }
    Outgoing {
        subject: subject.to_owned(),
        headers,
        payload: published.payload.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::ledger::Publication;
    use super::*;
    use crate::message::Kind;

    fn later(seconds: u64) -> Timestamp {
        Timestamp::now().after(Duration::from_secs(seconds))
    }

    fn address() -> OutboundAddress {
        OutboundAddress::Canonical {
            account: AccountName::parse("sales").unwrap(),
            kind: Kind::User,
            id: "u1".to_owned(),
        }
    }

    fn request(not_before: Timestamp) -> Request {
        Request {
            not_before: Some(not_before),
            ..Request::plain("a")
        }
    }

    #[test]
    fn only_what_is_early_and_could_be_sent_waits() {
        let none = Headers::new();
        let early = request(later(60));
        assert_eq!(wanted(&address(), &early, &none), early.not_before);
        assert_eq!(wanted(&address(), &Request::plain("a"), &none), None);
        let past = request(Timestamp::from_millis(0));
        assert_eq!(wanted(&address(), &past, &none), None);
        let waited = vec![(header::NOT_BEFORE.into(), "x".to_owned())];
        assert_eq!(wanted(&address(), &early, &waited), None);
        let empty = Request {
            text: None,
            ..early
        };
        assert_eq!(wanted(&address(), &empty, &none), None);
    }

    #[test]
    fn a_wait_that_makes_no_sense_is_refused() {
        let mut request = request(later(60));
        assert!(check(&request).is_ok());
        request.expires_at = request.not_before;
        assert_eq!(check(&request).unwrap_err().reason, DeadReason::Malformed);
        request.expires_at = None;
        request.not_before = Some(later(367 * 24 * 3600));
        assert!(check(&request).unwrap_err().detail.contains("366 days"));
    }

    #[test]
    fn what_waits_keeps_its_key_its_first_publication_and_the_publishers_headers() {
        let pair = |name: &'static str, value: &str| (name.into(), value.to_owned());
        let first = Timestamp::from_millis(250);
        let published = Published {
            subject: "dingtalk.outbound.sales.user.u1".into(),
            headers: vec![
                pair("Nats-Msg-Id", "theirs"),
                pair("traceparent", "00-1"),
                pair("dingtalk-source-time", &first.to_string()),
                pair("Dingtalk-Source-Subject", "dingtalk.outbound"),
            ],
            payload: Bytes::from_static(b"{}"),
            publication: Publication {
                seq: 4,
                at: Timestamp::from_millis(1000),
            },
        };
        let id = RequestId::parse("order 1").unwrap();
        let waiting = Waiting {
            published: &published,
            account: &AccountName::parse("sales").unwrap(),
            id: &id,
            subject: published.subject.clone(),
            at: later(5),
        };
        let out = Published {
            headers: waiting.appointment().headers,
            subject: "dingtalk.schedule.due.sales.x".into(),
            ..published.clone()
        };
        let key = Key { id, derived: true };
        let moved = due(&out, &published.subject, &key);
        let value = |name| header_value(&moved.headers, name);
        assert_eq!(value(header::REQUEST_ID), Some("order 1"));
        assert_eq!(value("traceparent"), Some("00-1"));
        assert_eq!(value(header::SOURCE_TIME), Some(first.to_string().as_str()));
        assert_eq!(value(header::SOURCE_SUBJECT), Some("dingtalk.outbound"));
        assert!(moved.message_id().starts_with("nats-dingtalk.due:4:"));
        let key = resolve::read(&moved.headers, b"a", 9, Form::Canonical).key;
        assert_eq!((key.id.as_str(), key.derived), ("order 1", false));
    }
}
