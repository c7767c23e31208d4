//! What the streams of the inbound side stored lately, by id: the question that the spool asks before
//! it sends what may have been stored before an outage. It knows no body.

use std::collections::HashSet;

use tracing::warn;

use super::error::BrokerError;
use super::hub::Hub;
use super::sweep::{self, Pass, Scope};
use crate::message::{Timestamp, header};

/// What stands after the prefix in the subjects of a stream, and its name: a consumer sees only what
/// its own stream holds.
const STREAMS: [(&str, &str); 3] = [("inbound", "INBOUND"), ("gated", "GATED"), ("dead", "DEAD")];
/// Subjects that one consumer is asked for: a request must stay well under the largest payload.
const SUBJECTS_PER_CONSUMER: usize = 500;
/// Most ids that are collected, some 100 MiB. Beyond them a message may be stored twice.
const MAX_IDS: usize = 1_000_000;
/// Messages asked for at a time.
const BATCH: usize = 1000;

/// The `Nats-Msg-Id`s of the messages on `subjects` since `since`; of inbound messages, of those that
/// a policy kept out, and of dead letters.
pub(super) async fn ids_since(
    hub: &Hub,
    subjects: &HashSet<String>,
    since: Timestamp,
) -> Result<HashSet<String>, BrokerError> {
    let mut ids = HashSet::new();
    for (branch, name) in STREAMS {
        let branch = format!("{}.", hub.names.subjects.branch(branch));
        let stream = hub.names.of(name);
        let of_stream = subjects.iter().filter(|name| name.starts_with(&branch));
        let of_stream: Vec<&String> = of_stream.collect();
        for chunk in of_stream.chunks(SUBJECTS_PER_CONSUMER) {
            let scope = Scope {
                stream: stream.clone(),
                from: sweep::from(since),
                subjects: chunk.iter().map(|&subject| subject.clone()).collect(),
                headers_only: true,
                batch: BATCH,
                rest: 0,
            };
            sweep::sweep(hub, scope, |message| {
                let headers = message.headers.as_ref();
                let id = headers.and_then(|map| map.get(header::MSG_ID));
                ids.extend(id.map(|id| id.as_str().to_owned()));
                Ok(match ids.len() {
                    MAX_IDS.. => Pass::Enough,
                    _ => Pass::On,
                })
            })
            .await?;
            if ids.len() >= MAX_IDS {
                warn!(
                    ids = ids.len(),
                    "too many recent messages; some may be stored twice"
                );
                return Ok(ids);
            }
        }
    }
    Ok(ids)
}
