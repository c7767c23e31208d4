//! One request from stream to receipt: resolve, order, pace, send. The peer of inbound, which it
//! never meets; DingTalk and NATS are reached through their adapters only.
//!
//! [`Outbound`] is the pipeline of one account. [`Mover`] brings requests on bare subjects to their
//! canonical one, [`Strays`] ends those that nobody serves: one of each per bridge.

mod claim;
mod desk;
mod examine;
mod floor;
mod gate;
mod held;
mod journey;
mod lanes;
mod ledger;
mod mover;
mod plan;
mod receipt;
mod resolve;
mod route;
mod served;
mod settings;
mod strays;
mod timings;
mod trip;
mod verdict;
mod webhooks;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::broker::{Broker, Feed};
use crate::dingtalk::api::{Api, Fetcher};
use crate::message::{AccountName, Subjects};
use crate::telemetry::{Health, Metrics, Standings};

use floor::Floor;
use held::Shelf;
use journey::Sender;

pub use examine::examine;
pub use mover::{Mover, MoverParts};
pub use served::Served;
pub use settings::Settings;
pub use strays::Strays;
pub use timings::Timings;

/// Longest time that handing the consumer to another bridge may take; it goes there by itself too.
const HANDOVER: Duration = Duration::from_secs(1);

/// What the pipeline of one account is made of.
#[derive(Debug)]
pub struct Parts {
    /// Account.
    pub account: AccountName,
    /// The Open API as this account.
    pub api: Arc<Api>,
    /// Fetches media that a request names by address.
    pub fetcher: Fetcher,
    /// What the configuration says about the account.
    pub settings: Settings,
    /// Broker.
    pub broker: Broker,
    /// Subjects of the installation.
    pub subjects: Subjects,
    /// How the account stands against its quota.
    pub standings: Standings,
    /// Metrics.
    pub metrics: Metrics,
    /// Health board.
    pub health: Health,
    /// Waits.
    pub timings: Timings,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Everything that had left was finished.
    Clean,
    /// Something was still under way when the time was over; its receipt will say `uncertain`.
    CutShort,
}

/// The outbound pipeline of one account: every request that it takes ends in exactly one receipt,
/// in order per chat, and no chat delays another.
#[derive(Debug)]
pub struct Outbound {
    parts: Parts,
}

impl Outbound {
    /// Puts the pipeline together; nothing happens before [`Outbound::run`].
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Takes requests until `stop`, then finishes what is being sent, for at most
    /// [`Timings::drain`]; what waits is left to be delivered again. Dropping the future loses
    /// nothing either: calls under way end as `uncertain` in the next life.
    pub async fn run(self, stop: CancellationToken) -> Drain {
        let sender = Arc::new(Sender::new(&self.parts));
        let Parts {
            account,
            broker,
            subjects,
            metrics,
            health,
            timings,
            ..
        } = self.parts;
        let mut feed = broker.requests(&account);
        let shelf = Arc::new(Shelf::default());
        // A pipeline that was built anew, with another secret perhaps, holds nothing yet.
        health.account(&account, |health| health.sends_parked = None);
        let mut floor = Floor::new(sender, Arc::clone(&shelf), subjects, stop.clone());
        info!(dingtalk.account = %account, "outbound started");
        let mut beats = pin!(shelf.report(timings.progress));
        let mut running = FuturesUnordered::new();
        loop {
            metrics.requests_held(&account, floor.len());
            let mut overtaken = false;
            tokio::select! {
                incoming = feed.next(), if floor.has_room() => {
                    running.extend(floor.admit(incoming));
                }
                Some(ended) = running.next() => {
                    overtaken = ended.1 == journey::Served::Elsewhere;
                    running.extend(floor.finish(ended));
                }
                () = &mut beats => {}
                () = stop.cancelled() => break,
            }
            if overtaken {
                // What was let go comes again in any order; a feed that is opened anew sorts it.
                let stale = std::mem::replace(&mut feed, broker.requests(&account));
                hand_over(stale, &account).await;
            }
        }
        let drained = tokio::select! {
            () = floor.drain(&mut running) => Drain::Clean,
            () = &mut beats => Drain::CutShort,
            () = tokio::time::sleep(timings.drain) => Drain::CutShort,
        };
        metrics.requests_held(&account, 0);
        // Last: while the consumer is ours no other bridge overtakes what is being sent.
        hand_over(feed, &account).await;
        match drained {
            Drain::Clean => info!(dingtalk.account = %account, "outbound stopped"),
            Drain::CutShort => warn!(
                dingtalk.account = %account,
                requests = running.len(),
                "outbound stopped with requests under way, they are taken up again"
            ),
        }
        drained
    }
}

async fn hand_over(feed: Feed, account: &AccountName) {
    if timeout(HANDOVER, feed.close()).await.is_err() {
        debug!(dingtalk.account = %account, "consumer not handed over, it goes on by itself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pipeline_can_be_spawned() {
        fn spawnable<F: Future + Send + 'static>(_: fn() -> Option<F>) {}
        fn nothing<A, F>(_: impl FnOnce(A, CancellationToken) -> F) -> fn() -> Option<F> {
            || None
        }
        spawnable(nothing(Outbound::run));
        spawnable(nothing(Mover::run));
        spawnable(nothing(Strays::run));
    }
}
