//! The backlog: requests of chats that have more waiting than a bridge holds, kept in a stream of
//! their own until their turn comes. It knows subjects and places, and decides nothing.
//!
//! ```text
//! <prefix>.outbound.<account>.<kind>.<id>   where a request was published
//! <prefix>.backlog.<account>.<kind>.<id>    where it waits, in the order of publishing
//! ```

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::consumer::{Plan, info_of, pin_in};
use super::error::{BrokerError, NO_CONSUMER};
use super::hub::Hub;
use super::illegible::{self, Raw};
use super::newest::newest;
use super::outgoing::{Headers, Outgoing};
use super::strays::{Place, subjects};
use super::streams::find;
use super::{Broker, Incoming};
use crate::message::{AccountName, Kind, Timestamp, header};

/// What the stream is called without the prefix.
pub(super) const STREAM: &str = "BACKLOG";
/// Token of its branch of subjects.
const BRANCH: &str = "backlog";
/// Bytes after which a fetch brings no more.
const FETCH_BYTES: usize = 1 << 20;
/// How long it is believed that there is no backlog at all; every account of a bridge asks.
const BELIEVED: Duration = Duration::from_secs(1);
/// Id on whose subject a bridge is woken; no request stands on kind `other`.
const WAKE_ID: &str = "backlog";

/// Headers that only the bridge writes.
const OWN: [&str; 3] = [
    header::STOWED_SEQUENCE,
    header::STOWED_TIME,
    header::STOWED_MSG_ID,
];

/// What a fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// Requests in the order of publishing.
    pub requests: Vec<Incoming>,
    /// Whether there were no more of them.
    pub end: bool,
}

/// The two ends of the backlog of one subject.
#[derive(Debug)]
pub struct Ends {
    /// The request whose turn comes first.
    pub first: Incoming,
    /// The request that was stowed last.
    pub last: Incoming,
}

/// Who serves the backlog of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServedBy {
    /// There is no backlog, or no bridge yet.
    Nobody,
    /// Whoever is pinned by the message that was sent.
    Woken,
    /// The bridge with this pin.
    Pinned(String),
}

impl Broker {
    /// What is stored in the backlog for a request; `None` when it cannot stand there: it is too large
    /// with what is added to it.
    pub fn stowed(&self, request: &Incoming) -> Option<Outgoing> {
        let subjects = &self.hub.names.subjects;
        let rest = request.subject.strip_prefix(&subjects.branch("outbound"))?;
        let message = Outgoing {
            subject: format!("{}{rest}", subjects.branch(BRANCH)),
            headers: packed(request),
            payload: request.payload.clone(),
        };
        (message.size() <= self.max_payload()).then_some(message)
    }

    /// The subjects of an account with a backlog, as requests name them, and how many wait on each.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn backlogs(&self, account: &AccountName) -> Result<Vec<(String, u64)>, BrokerError> {
        let filter = filter(&self.hub, account);
        let found = subjects(&self.hub, STREAM, &filter).await?.into_iter();
        let named =
            |(subject, count): (String, u64)| Some((outbound_subject(&self.hub, &subject)?, count));
        Ok(found.filter_map(named).collect())
    }

    /// The first and the last request in the backlog of `subject`; `None` when it has none.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn backlog_ends(&self, subject: &str) -> Result<Option<Ends>, BrokerError> {
        let Some(subject) = backlog_subject(&self.hub, subject) else {
            return Ok(None);
        };
        let place = (STREAM, subject.as_str());
        let Some(first) = illegible::next(&self.hub, place, 1).await? else {
            return Ok(None);
        };
        let Some(last) = illegible::last(&self.hub, place).await? else {
            return Ok(None);
        };
        let [first, last] = [first, last].map(|raw| self.taken(raw));
        Ok(Some(Ends { first, last }))
    }

    /// The next requests in the backlog of `subject`, at most `most`, from a place on. Each stays there
    /// until it is answered.
    ///
    /// # Errors
    /// [`BrokerError::Away`].
    pub async fn fetch_stowed(
        &self,
        subject: &str,
        mut from: u64,
        most: usize,
    ) -> Result<Fetched, BrokerError> {
        let mut fetched = Fetched {
            requests: Vec::new(),
            end: true,
        };
        let Some(subject) = backlog_subject(&self.hub, subject) else {
            return Ok(fetched);
        };
        let mut bytes = 0;
        while let Some(raw) = illegible::next(&self.hub, (STREAM, &subject), from).await? {
            from = raw.sequence + 1;
            bytes += raw.payload.len();
            fetched.requests.push(self.taken(raw));
            if fetched.requests.len() >= most || bytes >= FETCH_BYTES {
                fetched.end = false;
                break;
            }
        }
        Ok(fetched)
    }

    /// Sees to it that some bridge serves the backlog of an account. A bridge is pinned by a delivery
    /// alone, so where nothing new comes a message is sent that does nothing else.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::Refused`].
    pub async fn wake_for_backlog(&self, account: &AccountName) -> Result<ServedBy, BrokerError> {
        let hub = &self.hub;
        if !has_any(hub).await? {
            return Ok(ServedBy::Nobody);
        }
        let info = match info_of(hub, &Plan::account(&hub.names, account)).await {
            // Not opened yet.
            Err(error) if error.is_code(NO_CONSUMER) => return Ok(ServedBy::Nobody),
            info => info?,
        };
        let stream = hub.names.of(STREAM);
        if newest(hub, &stream, &filter(hub, account)).await?.is_none() {
            return Ok(ServedBy::Nobody);
        }
        if let Some(pin) = pin_in(&info) {
            return Ok(ServedBy::Pinned(pin.to_owned()));
        }
        let id = format!("nats-dingtalk.wake:{:032x}", fastrand::u128(..));
        let wake = Outgoing {
            subject: hub.names.subjects.outbound(account, Kind::Other, WAKE_ID),
            headers: vec![
                (header::MSG_ID.into(), id),
                (header::WAKE.into(), "backlog".to_owned()),
            ],
            payload: bytes::Bytes::new(),
        };
        hub.store(&wake, &[]).await?;
        Ok(ServedBy::Woken)
    }

    fn taken(&self, raw: Raw) -> Incoming {
        let place = Place {
            stream: STREAM,
            sequence: raw.sequence,
        };
        Incoming::lying(&self.hub, unpacked(&self.hub, raw), place)
    }
}

/// Whether any account has a backlog.
async fn has_any(hub: &Hub) -> Result<bool, BrokerError> {
    let seen = *hub
        .no_backlog
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if seen.is_some_and(|at: Instant| at.elapsed() < BELIEVED) {
        return Ok(false);
    }
    let stream = find(hub, &hub.names.of(STREAM)).await?;
    let any = stream.is_some_and(|found| found.state.messages > 0);
    let seen = (!any).then(Instant::now);
    *hub.no_backlog
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = seen;
    Ok(any)
}

fn filter(hub: &Hub, account: &AccountName) -> String {
    format!("{}.{account}.>", hub.names.subjects.branch(BRANCH))
}

fn backlog_subject(hub: &Hub, outbound: &str) -> Option<String> {
    moved(hub, outbound, ["outbound", BRANCH])
}

/// The subject that requests in the backlog of `subject` were published on.
pub(super) fn outbound_subject(hub: &Hub, subject: &str) -> Option<String> {
    moved(hub, subject, [BRANCH, "outbound"])
}

fn moved(hub: &Hub, subject: &str, branches: [&str; 2]) -> Option<String> {
    let [from, to] = branches.map(|branch| format!("{}.", hub.names.subjects.branch(branch)));
    let rest = subject.strip_prefix(&from)?;
    Some(format!("{to}{rest}"))
}

/// Whether a message is one that wakes a bridge.
pub(super) fn is_wake(subject: &str, headers: &Headers) -> bool {
    let mut tokens = subject.rsplit('.');
    let there = tokens.next() == Some(WAKE_ID) && tokens.next() == Some(Kind::Other.as_str());
    there && headers.iter().any(|(name, _)| name == header::WAKE)
}

/// The headers of a request in the backlog: its publisher's, but for what speaks to the broker about
/// the first stream, and what brings it back as it was.
fn packed(request: &Incoming) -> Headers {
    let theirs = |name: &str| {
        !name.to_ascii_lowercase().starts_with("nats-")
            && !OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
    };
    let pairs = request.headers.iter().filter(|(name, _)| theirs(name));
    let mut headers: Headers = pairs.cloned().collect();
    let (sequence, at) = (request.sequence, request.published_at);
    let mut add = |name: &'static str, value: String| headers.push((name.into(), value));
    add(
        header::MSG_ID,
        format!("nats-dingtalk.stow:{sequence}:{at}"),
    );
    add(header::STOWED_SEQUENCE, sequence.to_string());
    add(header::STOWED_TIME, at.to_string());
    let mut own = request.headers.iter();
    if let Some((_, id)) = own.find(|(name, _)| name.eq_ignore_ascii_case(header::MSG_ID)) {
        add(header::STOWED_MSG_ID, id.clone());
    }
    headers
}

/// A request of the backlog as it was published.
pub(super) fn unpacked(hub: &Hub, raw: Raw) -> Raw {
    let value = |name: &str| {
        let mut headers = raw.headers.iter();
        let found = headers.find(|(named, _)| named == name);
        found.map(|(_, value)| value.clone())
    };
    let sequence = value(header::STOWED_SEQUENCE).and_then(|text| text.parse().ok());
    let published_at = value(header::STOWED_TIME).and_then(|text| Timestamp::parse(&text).ok());
    let id = value(header::STOWED_MSG_ID);
    let mut headers = raw.headers;
    headers.retain(|(name, _)| name != header::MSG_ID && !OWN.contains(&name.as_ref()));
    if let Some(id) = id {
        headers.push((header::MSG_ID.into(), id));
        headers.sort_by(|left, right| left.0.cmp(&right.0));
    }
    Raw {
        subject: outbound_subject(hub, &raw.subject).unwrap_or(raw.subject),
        headers,
        payload: raw.payload,
        sequence: sequence.unwrap_or(raw.sequence),
        published_at: published_at.unwrap_or(raw.published_at),
    }
}
