//! From the spool to the broker, in order, under the ids that the frames were admitted with.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::claim::Claims;
use super::known::Known;
use super::media::{self, Errand, Errands};
use super::record::{self, Record};
use crate::broker::{Broker, BrokerError, Outgoing, Publisher, Settled};
use crate::message::{AccountName, header};
use crate::spool::{Spool, SpoolError};
use crate::telemetry::Metrics;

/// Records read and published at a time.
const PAGE: usize = 512;
/// Publishes without a PubAck at a time.
const WINDOW: usize = 128;
/// How often an idle drain looks whether there is something to do, besides being woken.
const IDLE: Duration = Duration::from_millis(250);
/// Pause after the broker or the disk refused.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a drain that stands still says so.
const COMPLAINT: Duration = Duration::from_secs(15);

/// Moves the spool to the broker.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    pub(super) broker: Broker,
    pub(super) claims: Claims,
    pub(super) spool: Spool,
    pub(super) wake: Arc<Notify>,
    pub(super) dedup_window: Duration,
    pub(super) errands: Errands,
    pub(super) metrics: Metrics,
}

/// Why a page could not be moved whole.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// How far a page has come.
#[derive(Debug)]
struct Progress {
    /// Most that are outstanding at a time.
    window: usize,
    /// Published and not stored yet, ascending.
    outstanding: VecDeque<u64>,
    /// The last record that was published or left out.
    passed: u64,
    /// Media that the records announce, by position.
    media: Vec<(u64, Vec<Errand>)>,
}

impl Progress {
    fn stored(&mut self, position: u64) {
        if let Ok(at) = self.outstanding.binary_search(&position) {
            self.outstanding.remove(at);
        }
    }

    /// Up to where everything is stored. Answers of two streams come in any order, so the newest
    /// that is stored says nothing about those before it.
    fn safe(&self) -> u64 {
        let first = self.outstanding.front();
        first.map_or(self.passed, |first| first.saturating_sub(1))
    }
}

impl Drain {
    /// Moves for ever.
    pub(super) async fn run(self) -> Infallible {
        let mut publisher = self.broker.publisher(WINDOW);
        let mut known = Known::new(self.dedup_window);
        let mut complained: Option<Instant> = None;
        let mut window = WINDOW;
        loop {
            let depth = self.spool.depth();
            self.metrics.spool_depth(depth.records, depth.bytes);
            if depth.records == 0 || !self.broker.connected() {
                known.forget();
                // The notification only shortens the wait.
                let _ = timeout(IDLE, self.wake.notified()).await;
                continue;
            }
            match self.move_page(&mut publisher, window, &mut known).await {
                Ok(moved) => {
                    complained = None;
                    window = WINDOW;
                    let left = self.spool.depth().records;
                    if left == 0 && moved > 1 {
                        info!(spool.moved = moved, "the spool is empty");
                    }
                }
                Err(stuck) => {
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAINT) {
                        complained = Some(Instant::now());
                        warn!(error = %stuck, spool.records = depth.records, "the spool cannot be drained now");
                    }
                    if matches!(stuck, Stuck::Broker(_)) {
                        // Room that comes while a window is refused would let a later one in before;
                        // and what is refused for good is replaced alone, in its place.
                        window = 1;
                        // What is in flight is published again, under the same ids and in order.
                        publisher = self.broker.publisher(WINDOW);
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Moves the oldest records; how many. What the broker refuses stops the page there, since
    /// what stands behind it must not overtake it.
    async fn move_page(
        &self,
        publisher: &mut Publisher,
        window: usize,
        known: &mut Known,
    ) -> Result<u64, Stuck> {
        let page = self.spool.read(0, PAGE).await?;
        let records: Vec<(u64, Option<Record>)> = page
            .into_iter()
            .map(|(position, bytes)| (position, record::decode(bytes)))
            .collect();
        let Some((first, _)) = records.first() else {
            return Ok(0);
        };
        let before = first.saturating_sub(1);
        known.ask(&self.broker, &records).await?;
        let mut progress = Progress {
            window,
            outstanding: VecDeque::new(),
            passed: before,
            media: Vec::new(),
        };
        let moved = self
            .publish_all(publisher, records, known, &mut progress)
            .await;
        let safe = progress.safe();
        if safe > before {
            failpoint!("spool.drained");
            self.spool.remove_through(safe).await?;
            failpoint!("spool.removed");
            self.metrics.spool_drained(safe - before);
            let stored = progress.media.into_iter();
            for (_, errands) in stored.filter(|(position, _)| *position <= safe) {
                self.errands.send(errands);
            }
        }
        moved?;
        Ok(safe.saturating_sub(before))
    }

    /// Publishes records in order and waits for every PubAck.
    async fn publish_all(
        &self,
        publisher: &mut Publisher,
        records: Vec<(u64, Option<Record>)>,
        known: &Known,
        progress: &mut Progress,
    ) -> Result<(), BrokerError> {
        for (position, record) in records {
            let announced = record.as_ref().map(|record| announced(&record.message));
            let announced = announced.filter(|errands| !errands.is_empty());
            progress
                .media
                .extend(announced.map(|errands| (position, errands)));
            match record {
                None => error!(
                    spool.position = position,
                    "a spooled record cannot be read, it is left out"
                ),
                Some(record) if known.contains(record.message.message_id()) => {}
                Some(record) => {
                    let message = self.claims.fitting(record.message).await?;
                    while progress.outstanding.len() >= progress.window {
                        self.settle_one(publisher, progress).await?;
                    }
                    progress.outstanding.push_back(position);
                    publisher.publish(position, message).await;
                    failpoint!("spool.published");
                }
            }
            progress.passed = position;
        }
        while !progress.outstanding.is_empty() {
            self.settle_one(publisher, progress).await?;
        }
        Ok(())
    }

    /// Waits for one PubAck. A record that the broker would never take goes out again in a smaller
    /// form, once it is the only one under way: so it keeps its place, and holds up nobody.
    async fn settle_one(
        &self,
        publisher: &mut Publisher,
        progress: &mut Progress,
    ) -> Result<(), BrokerError> {
        let Settled {
            token,
            result,
            message,
        } = publisher.settled().await;
        let Err(refusal) = result else {
            progress.stored(token);
            return Ok(());
        };
        if progress.window > 1 || !self.claims.is_final(&refusal, &message) {
            return Err(refusal);
        }
        let other = self.claims.instead_of(message, refusal).await?;
        publisher.publish(token, other).await;
        Ok(())
    }
}

/// The media that a message announces; its body is read only when its header says that there is some.
fn announced(message: &Outgoing) -> Vec<Errand> {
    let named = |wanted: &str| {
        let mut headers = message.headers.iter();
        let found = headers.find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let account = named(header::MEDIA).and(named(header::ACCOUNT));
    let account = account.and_then(|name| AccountName::parse(name).ok());
    account.map_or_else(Vec::new, |account| media::read(&message.payload, &account))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_stream_stored_sooner_takes_nothing_unstored_with_it() {
        let mut progress = Progress {
            window: 3,
            passed: 6,
            outstanding: VecDeque::new(),
            media: Vec::new(),
        };
        assert_eq!(progress.safe(), 6);
        progress.outstanding.extend([7, 8, 10]);
        progress.passed = 11;
        progress.stored(8);
        assert_eq!(progress.safe(), 6);
        progress.stored(7);
        assert_eq!(progress.safe(), 9);
        progress.stored(10);
        assert_eq!(progress.safe(), 11);
    }
}
