//! Everything that a key-value bucket holds now. It knows keys, revisions and markers, and not what
//! the values mean.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::jetstream::consumer::DeliverPolicy;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::BrokerError;
use super::hub::Hub;
use super::keyvalue::{Entry, MARKER_REASON, OPERATION};
use super::sweep::{Pass, Scope, away, sweep};

/// Entries asked for at a time.
const BATCH: usize = 500;

/// The entries of `bucket`.
pub(super) async fn entries(
    hub: &Arc<Hub>,
    bucket: &str,
) -> Result<Vec<(String, Entry)>, BrokerError> {
    let scope = Scope {
        stream: format!("KV_{bucket}"),
        from: DeliverPolicy::LastPerSubject,
        subjects: vec![format!("$KV.{bucket}.>")],
        headers_only: false,
        batch: BATCH,
        rest: 0,
    };
    // A value that changes meanwhile may come twice: the later one counts.
    let mut found = HashMap::new();
    sweep(hub, scope, |message| {
        let Some(key) = key(&message.subject, bucket) else {
            return Ok(Pass::On);
        };
        let revision = message.info().map_err(away)?.stream_sequence;
        let marker = message.headers.as_ref().is_some_and(|headers| {
            headers.get(MARKER_REASON).is_some()
                || headers
                    .get(OPERATION)
                    .is_some_and(|operation| operation.as_str() != "PUT")
        });
        if marker {
            found.remove(&key);
        } else {
            let value = message.payload.clone();
            found.insert(key, Entry { value, revision });
        }
        Ok(Pass::On)
    })
    .await?;
    Ok(found.into_iter().collect())
}

fn key(subject: &str, bucket: &str) -> Option<String> {
    let token = subject.strip_prefix("$KV.")?.strip_prefix(bucket)?;
    let token = token.strip_prefix('.')?;
    if token == "=" {
        return Some(String::new());
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}
