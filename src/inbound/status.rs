//! Link changes as messages on `<prefix>.status.<account>`.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use crate::broker::{Broker, Outgoing};
use crate::dingtalk::stream::{LinkChange, LinkEvent};
use crate::message::{Subjects, Timestamp, header};

/// How long a change that is published after the links have ended may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Body of a status message.
#[derive(Debug, Serialize)]
struct LinkStatus<'a> {
    #[serde(rename = "type")]
    status: &'static str,
    slot: usize,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    at: Timestamp,
}

/// Publishes every change until the senders are gone, after that only as long as the broker takes
/// them at once: a stop does not wait for one that is away. A change that the broker does not take is
/// left out: `/ready` and the metrics say the same.
pub async fn report_links(
    broker: Broker,
    subjects: Subjects,
    mut changes: mpsc::Receiver<LinkEvent>,
) {
    while let Some(event) = changes.recv().await {
        let (state, reason) = match &event.change {
            LinkChange::Up => ("up", None),
            LinkChange::Down(reason) => ("down", Some(reason.as_str())),
            LinkChange::Parked(reason) => ("parked", Some(reason.as_str())),
            LinkChange::Stopped => ("stopped", None),
        };
        let at = Timestamp::now();
        let status = LinkStatus {
            status: "link",
            slot: event.slot,
            state,
            reason,
            at,
        };
        let id = format!(
            "link:{}:{}:{:016x}",
            event.account,
            event.slot,
            fastrand::u64(..)
        );
        let message = Outgoing {
            subject: subjects.status(&event.account),
            headers: vec![
                (header::MSG_ID.into(), id),
                (header::ACCOUNT.into(), event.account.to_string()),
                (header::CONTENT_TYPE.into(), "application/json".to_owned()),
            ],
            payload: serde_json::to_vec(&status).unwrap_or_default().into(),
        };
        if !broker.connected() {
            continue;
        }
        let stored = match timeout(patience(&changes), broker.store(&message)).await {
            Ok(stored) => stored.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err("the bridge stops".to_owned()),
        };
        if let Err(error) = stored {
            warn!(error, dingtalk.account = %event.account, "status not published");
            if changes.is_closed() {
                return;
            }
        }
    }
}

/// How long one change may take: a store has its own limits, a farewell a shorter one.
fn patience(changes: &mpsc::Receiver<LinkEvent>) -> Duration {
    match changes.is_closed() {
        true => FAREWELL,
        false => Duration::MAX,
    }
}
