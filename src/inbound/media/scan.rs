//! What was announced and perhaps not fetched, found again in the inbound stream: after a start, and
//! after there was no room. It fetches nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tracing::{info, warn};

use super::errand::{Errand, announced};
use crate::broker::{Broker, BrokerError};
use crate::message::{AccountName, Inbound, Timestamp, header};

/// How far back is looked, in milliseconds: download codes live shortly, how long is not documented
/// (oapi.md, section 5.2).
const LOOK_BACK: i64 = 15 * 60 * 1000;
/// Pause between two scans.
const REST: Duration = Duration::from_secs(30);
/// Pause after the broker was away.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks through the stream when it is asked to.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) broker: Broker,
    /// Notified when something was left out.
    pub(super) wanted: Arc<Notify>,
    /// Takes what was found when there is room.
    pub(super) found: mpsc::Sender<Errand>,
}

impl Scan {
    /// Looks once, and again whenever it is asked to.
    pub(super) async fn run(self) -> Infallible {
        loop {
            let since = Timestamp::from_millis(Timestamp::now().as_millis() - LOOK_BACK);
            // The stream may not even be there yet.
            let sequences = loop {
                match self.broker.marked_since(header::MEDIA, since).await {
                    Ok(sequences) => break sequences,
                    Err(_) => sleep(PAUSE).await,
                }
            };
            let mut found = 0;
            for sequence in sequences {
                let errands = loop {
                    match self.read(sequence).await {
                        Ok(errands) => break errands,
                        Err(_) => sleep(PAUSE).await,
                    }
                };
                for errand in errands {
                    found += 1;
                    // The far end lives as long as this does.
                    let _ = self.found.send(errand).await;
                }
            }
            if found > 0 {
                info!(media.items = found, "announced media is looked at again");
            }
            sleep(REST).await;
            self.wanted.notified().await;
            warn!("media came faster than it could be fetched, the stream is looked through");
        }
    }

    async fn read(&self, sequence: u64) -> Result<Vec<Errand>, BrokerError> {
        let Some((headers, body)) = self.broker.read_inbound(sequence).await? else {
            return Ok(Vec::new());
        };
        let named = |wanted: &str| {
            let mut pairs = headers.iter();
            let found = pairs.find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        let Some(account) = named(header::ACCOUNT).and_then(|name| AccountName::parse(name).ok())
        else {
            return Ok(Vec::new());
        };
        let whole = match named(header::CLAIM) {
            Some(key) => self.broker.read_object(key).await?,
            None => Some(body),
        };
        Ok(read(&whole.unwrap_or_default(), &account))
    }
}

/// What a stored message announces; nothing when it is no message of the bridge.
pub(in crate::inbound) fn read(body: &[u8], account: &AccountName) -> Vec<Errand> {
    let view: Option<Inbound<'_>> = serde_json::from_slice(body).ok();
    view.map(|view| announced(&view, account))
        .unwrap_or_default()
}
