//! Messages on `<prefix>.status.<account>`, and the link changes among them.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use crate::broker::{Broker, Outgoing};
use crate::dingtalk::stream::{LinkChange, LinkEvent};
use crate::message::{AccountName, LinkStanding, LinkStatus, Status, Subjects, Timestamp, header};

/// How long a change that is published after the links have ended may take.
const FAREWELL: Duration = Duration::from_secs(1);

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
            LinkChange::Up => (LinkStanding::Up, None),
            LinkChange::Down(reason) => (LinkStanding::Down, Some(reason.clone())),
            LinkChange::Parked(reason) => (LinkStanding::Parked, Some(reason.clone())),
            LinkChange::Stopped => (LinkStanding::Stopped, None),
        };
        let status = Status::Link(LinkStatus {
            slot: event.slot,
            state,
            reason,
            at: Timestamp::now(),
        });
        let id = format!(
            "link:{}:{}:{:016x}",
            event.account,
            event.slot,
            fastrand::u64(..)
        );
        let message = message(&subjects, &event.account, id, &status);
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

/// A status as it is stored under `id`.
pub(super) fn message(
    subjects: &Subjects,
    account: &AccountName,
    id: String,
    status: &Status,
) -> Outgoing {
    Outgoing {
        subject: subjects.status(account),
        headers: vec![
            (header::MSG_ID.into(), id),
            (header::ACCOUNT.into(), account.to_string()),
            (header::CONTENT_TYPE.into(), "application/json".to_owned()),
        ],
        payload: serde_json::to_vec(status).unwrap_or_default().into(),
    }
}

/// How long one change may take: a store has its own limits, a farewell a shorter one.
fn patience(changes: &mpsc::Receiver<LinkEvent>) -> Duration {
    match changes.is_closed() {
        true => FAREWELL,
        false => Duration::MAX,
    }
}
