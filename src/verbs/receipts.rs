//! Waiting for the receipt of a request: as it is published, and in the stream for what was published
//! before or while the broker was away.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::denial::Denial;
use super::desk::Desk;
use crate::broker::{BrokerError, Ear, Shelf};
use crate::message::{AccountName, Receipt, RequestId, encode_token};

/// When the stream is looked into first; the pause doubles with every look.
const LOOK: Duration = Duration::from_secs(1);
/// Longest pause between two looks: many may wait for long, and receipts are heard anyway.
const LOOK_CAP: Duration = Duration::from_secs(8);

/// A receipt that is waited for.
#[derive(Debug)]
pub(super) struct Awaited {
    /// Subject that it comes on; `*` where the account is not known.
    pub(super) subject: String,
    ear: Ear,
}

impl Desk {
    /// The subject of a receipt, of any account when none is named.
    pub(super) fn receipt_subject(&self, account: Option<&AccountName>, id: &RequestId) -> String {
        match account {
            Some(account) => self.subjects.receipt(account, id),
            None => {
                let branch = self.subjects.branch("receipt");
                format!("{branch}.*.{}", encode_token(id.as_str()))
            }
        }
    }

    /// Begins to wait; nothing that is published from now on is missed.
    pub(super) async fn await_receipt(&self, subject: String) -> Result<Awaited, BrokerError> {
        let ear = self.broker.listen(subject.clone()).await?;
        Ok(Awaited { subject, ear })
    }

    /// The receipt that is kept.
    pub(super) async fn receipt(&self, subject: &str) -> Result<Option<Receipt>, BrokerError> {
        let found = self.broker.newest(Shelf::Receipts, subject).await?;
        Ok(found.and_then(|found| serde_json::from_slice(&found.payload).ok()))
    }

    /// The receipt once it is there.
    pub(super) async fn hear(
        &self,
        mut awaited: Awaited,
        patience: Duration,
        stop: &CancellationToken,
    ) -> Result<Receipt, Denial> {
        let until = Instant::now() + patience;
        let mut pause = LOOK;
        let mut look = Instant::now() + pause;
        loop {
            tokio::select! {
                heard = awaited.ear.next() => {
                    if let Ok(receipt) = serde_json::from_slice(&heard) {
                        return Ok(receipt);
                    }
                }
                () = sleep_until(look.min(until)) => {
                    pause = (pause * 2).min(LOOK_CAP);
                    look = Instant::now() + pause;
                    let kept = timeout_at(until + LOOK, self.receipt(&awaited.subject)).await;
                    if let Ok(Ok(Some(receipt))) = kept {
                        return Ok(receipt);
                    }
                    if Instant::now() >= until {
                        let waited = format!("no receipt within {} ms", patience.as_millis());
                        return Err(pending(504, waited, &awaited.subject));
                    }
                }
                () = stop.cancelled() => {
                    let stopping = "the bridge stops before the receipt came".to_owned();
                    return Err(pending(503, stopping, &awaited.subject));
                }
            }
        }
    }
}

fn pending(status: u16, message: String, subject: &str) -> Denial {
    Denial::new(status, "receipt-pending", message).cure(format!(
        "the request stands: its receipt will come on {subject}; do not send it again under another id"
    ))
}
