//! Requests that no consumer would ever take. It knows subjects and filters, and decides nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::backlog;
use super::error::{BrokerError, NO_MESSAGE, SEQUENCE_GONE};
use super::fitness::covers;
use super::hub::Hub;
use super::illegible;
use super::outgoing::Headers;
use crate::message::Timestamp;

/// A request that nobody would ever take.
#[derive(Debug, Clone)]
pub struct Stray {
    /// Subject.
    pub subject: String,
    /// Headers, by name.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
    /// Sequence in the outbound stream.
    pub sequence: u64,
    /// When it was published.
    pub published_at: Timestamp,
    /// Where it lies.
    place: Place,
}

/// Where a message lies: what its stream is called without the prefix, and its sequence there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stream: &'static str,
    pub(super) sequence: u64,
}

#[derive(Deserialize)]
struct ConsumerPage {
    #[serde(default)]
    total: usize,
    #[serde(default)]
    consumers: Vec<ConsumerEntry>,
}

#[derive(Deserialize)]
struct ConsumerEntry {
    config: Filters,
}

#[derive(Deserialize)]
struct Filters {
    #[serde(default)]
    filter_subject: String,
    #[serde(default)]
    filter_subjects: Vec<String>,
}

#[derive(Deserialize)]
struct SubjectPage {
    #[serde(default)]
    total: usize,
    state: Subjects,
}

#[derive(Deserialize)]
struct Subjects {
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

/// At most `limit` requests on subjects that no consumer of the outbound stream takes, the backlog
/// included. The bare subjects are left alone: whichever bridge comes next takes them.
pub(super) async fn unserved(hub: &Hub, limit: usize) -> Result<Vec<Stray>, BrokerError> {
    let mut filters = filters(hub).await?;
    let branch = hub.names.subjects.branch("outbound");
    filters.push(format!("{branch}.*"));
    filters.push(branch);
    let is_served = |subject: &str| filters.iter().any(|filter| covers(filter, subject));
    let mut strays = Vec::new();
    for subject in subjects(hub, "OUTBOUND", ">").await?.into_keys() {
        if strays.len() < limit && !is_served(&subject) {
            read(hub, ("OUTBOUND", &subject), limit, &mut strays).await?;
        }
    }
    for subject in subjects(hub, backlog::STREAM, ">").await?.into_keys() {
        let asked = backlog::outbound_subject(hub, &subject);
        if strays.len() < limit && !asked.is_some_and(|asked| is_served(&asked)) {
            read(hub, (backlog::STREAM, &subject), limit, &mut strays).await?;
        }
    }
    Ok(strays)
}

/// The subjects of a stream that `filter` matches, and how many messages each has.
pub(super) async fn subjects(
    hub: &Hub,
    stream: &str,
    filter: &str,
) -> Result<BTreeMap<String, u64>, BrokerError> {
    let mut all = BTreeMap::new();
    let mut offset = 0;
    loop {
        let question = json!({ "subjects_filter": filter, "offset": offset });
        let subject = format!("STREAM.INFO.{}", hub.names.of(stream));
        let page: SubjectPage = hub.ask(subject, &question).await?;
        let subjects = page.state.subjects.unwrap_or_default();
        let found = subjects.len();
        offset += found;
        all.extend(subjects);
        if found == 0 || offset >= page.total {
            return Ok(all);
        }
    }
}

/// Removes one message; one that is gone already is no error.
pub(super) async fn remove(hub: &Hub, place: Place) -> Result<(), BrokerError> {
    let subject = format!("STREAM.MSG.DELETE.{}", hub.names.of(place.stream));
    let question = json!({ "seq": place.sequence, "no_erase": true });
    match hub
        .ask::<_, serde::de::IgnoredAny>(subject, &question)
        .await
    {
        Err(error) if error.is_code(NO_MESSAGE) || error.is_code(SEQUENCE_GONE) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

impl Stray {
    /// Whether it is no request: it was to wake a bridge for a backlog.
    pub fn is_wake(&self) -> bool {
        backlog::is_wake(&self.subject, &self.headers)
    }

    /// Where it lies.
    pub(super) fn place(&self) -> Place {
        self.place
    }
}

async fn filters(hub: &Hub) -> Result<Vec<String>, BrokerError> {
    let subject = format!("CONSUMER.LIST.{}", hub.names.of("OUTBOUND"));
    let mut filters = Vec::new();
    let mut offset = 0;
    loop {
        let question = json!({ "offset": offset });
        let page: ConsumerPage = hub.ask(subject.clone(), &question).await?;
        let found = page.consumers.len();
        offset += found;
        for entry in page.consumers {
            let Filters {
                filter_subject,
                filter_subjects,
            } = entry.config;
            // A consumer without a filter takes everything.
            match (filter_subject.is_empty(), filter_subjects.is_empty()) {
                (true, true) => filters.push(">".to_owned()),
                (false, _) => filters.push(filter_subject),
                (true, false) => filters.extend(filter_subjects),
            }
        }
        if found == 0 || offset >= page.total {
            return Ok(filters);
        }
    }
}

async fn read(
    hub: &Hub,
    (stream, subject): (&'static str, &str),
    limit: usize,
    strays: &mut Vec<Stray>,
) -> Result<(), BrokerError> {
    let mut from = 1;
    while strays.len() < limit {
        let Some(message) = illegible::next(hub, (stream, subject), from).await? else {
            return Ok(());
        };
        let place = Place {
            stream,
            sequence: message.sequence,
        };
        from = message.sequence + 1;
        let message = match stream {
            backlog::STREAM => backlog::unpacked(hub, message),
            _ => message,
        };
        strays.push(Stray {
            subject: message.subject,
            headers: message.headers,
            payload: message.payload,
            sequence: message.sequence,
            published_at: message.published_at,
            place,
        });
    }
    Ok(())
}
