//! Link changes as messages on `<prefix>.status.<account>`.

use serde::Serialize;
use tokio::sync::mpsc;
use tracing::warn;

use crate::broker::{Broker, Outgoing};
use crate::dingtalk::stream::{LinkChange, LinkEvent};
use crate::message::{Subjects, Timestamp, header};

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

/// Publishes every change until the senders are gone. A change that the broker does not take is
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
        if let Err(error) = broker.store(&message).await {
            warn!(%error, dingtalk.account = %event.account, "status not published");
        }
    }
}
