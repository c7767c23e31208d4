//! Requests that no consumer would ever take. It knows subjects and filters, and decides nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

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
    /// Sequence in the stream.
    pub sequence: u64,
    /// When it was published.
    pub published_at: Timestamp,
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

/// At most `limit` requests on subjects that no consumer of the outbound stream takes. The bare
/// subjects are left alone: whichever bridge comes next takes them.
pub(super) async fn unserved(hub: &Hub, limit: usize) -> Result<Vec<Stray>, BrokerError> {
    let mut filters = filters(hub).await?;
    let branch = hub.names.subjects.branch("outbound");
    filters.push(format!("{branch}.*"));
    filters.push(branch);
    let mut strays = Vec::new();
    let mut offset = 0;
    loop {
        let question = json!({ "subjects_filter": ">", "offset": offset });
        let subject = format!("STREAM.INFO.{}", hub.names.of("OUTBOUND"));
        let page: SubjectPage = hub.ask(subject, &question).await?;
        let subjects = page.state.subjects.unwrap_or_default();
        offset += subjects.len();
        for subject in subjects.keys() {
            if !filters.iter().any(|filter| covers(filter, subject)) {
                read(hub, subject, limit, &mut strays).await?;
            }
            if strays.len() >= limit {
                return Ok(strays);
            }
        }
        if subjects.is_empty() || offset >= page.total {
            return Ok(strays);
        }
    }
}

/// Removes one message of the outbound stream.
pub(super) async fn remove(hub: &Hub, sequence: u64) -> Result<(), BrokerError> {
    let subject = format!("STREAM.MSG.DELETE.{}", hub.names.of("OUTBOUND"));
    let question = json!({ "seq": sequence, "no_erase": true });
    match hub
        .ask::<_, serde::de::IgnoredAny>(subject, &question)
        .await
    {
        Err(error) if error.is_code(NO_MESSAGE) || error.is_code(SEQUENCE_GONE) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
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
    subject: &str,
    limit: usize,
    strays: &mut Vec<Stray>,
) -> Result<(), BrokerError> {
    let mut from = 1;
    while strays.len() < limit {
        let Some(message) = illegible::next(hub, subject, from).await? else {
            return Ok(());
        };
        from = message.sequence + 1;
        strays.push(Stray {
            subject: message.subject,
            headers: message.headers,
            payload: message.payload,
            sequence: message.sequence,
            published_at: message.published_at,
        });
    }
    Ok(())
}
