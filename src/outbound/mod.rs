//! One request from stream to receipt: resolve, order, pace, send. The peer of inbound, which it
//! never meets; DingTalk and NATS are reached through their adapters only.
//!
//! [`Outbound`] is the pipeline of one account. [`Mover`] brings requests on bare subjects to their
//! canonical one, [`Strays`] ends those that nobody serves: one of each per bridge.

mod backlog;
mod batch;
mod berth;
mod bound;
mod card;
mod claim;
mod desk;
mod destination;
mod ending;
mod examine;
mod floor;
mod gate;
mod held;
mod journey;
mod lanes;
mod ledger;
mod loading;
mod media;
mod mover;
mod notify;
mod places;
mod plan;
mod receipt;
mod recipients;
mod resolve;
mod robot;
mod route;
mod scheduled;
mod served;
mod settings;
mod strays;
mod timings;
mod toll;
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
use crate::telemetry::{CardChats, Health, Metrics, Seats, Standings};

use berth::Berth;
use floor::Floor;
use held::Held;
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
    /// In which chats cards stand.
    pub card_chats: CardChats,
    /// Which accounts belong to other replicas.
    pub seats: Seats,
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
    /// [`Timings::drain`]; what waits is left to be delivered again. An account that belongs to
    /// another replica is left to it when it takes it. Dropping the future loses nothing either:
    /// calls under way end as `uncertain` in the next life.
    pub async fn run(self, stop: CancellationToken) -> Drain {
        let account = &self.parts.account;
        let sender = Arc::new(Sender::new(&self.parts));
        let mut berth = Berth::new(account.clone(), self.parts.seats.clone());
        // A pipeline that was built anew, with another secret perhaps, holds nothing yet.
        self.parts
            .health
            .account(account, |health| health.sends_parked = None);
        info!(dingtalk.account = %account, "outbound started");
        let drained = loop {
            match self.shift(&sender, &mut berth, &stop).await {
                Shift::Stopped(drained) => break drained,
                Shift::Left => {
                    info!(dingtalk.account = %account, "account left to the replica that it belongs to");
                    // A stop ends the next shift at once.
                    let _ = stop.run_until_cancelled(berth.stand_aside()).await;
                }
                Shift::Overtaken => {
                    info!(dingtalk.account = %account, "another bridge was pinned, what waited here is left to it");
                }
            }
        };
        match drained {
            Drain::Clean => info!(dingtalk.account = %account, "outbound stopped"),
            Drain::CutShort => warn!(
                dingtalk.account = %account,
                "outbound stopped with requests under way, they are taken up again"
            ),
        }
        drained
    }

    /// Serves the account until it is to stop or to be left, and hands it over.
    async fn shift(
        &self,
        sender: &Arc<Sender>,
        berth: &mut Berth,
        stop: &CancellationToken,
    ) -> Shift {
        let Parts {
            account,
            broker,
            metrics,
            timings,
            ..
        } = &self.parts;
        let mut feed = broker.requests(account);
        let mut watch = broker.pin_watch(account);
        let shelf = sender.cards.shelf();
        let over = stop.child_token();
        let mut floor = Floor::new(
            Arc::clone(sender),
            Arc::clone(&shelf),
            self.parts.subjects.clone(),
            over.clone(),
        );
        let mut beats = pin!(shelf.report(timings.progress));
        let mut running = FuturesUnordered::new();
        running.push(floor.begin());
        let end = loop {
            metrics.requests_held(account, floor.len());
            metrics.requests_backlog(account, floor.backlog.total());
            let pinned = feed.pin().is_some();
            watch.follow(feed.pin());
            let mut overtaken = false;
            tokio::select! {
                incoming = feed.next(), if floor.has_room() => {
                    floor.backlog.expect_more(feed.has_more());
                    running.extend(floor.place(incoming, feed.pin()));
                }
                happened = floor.backlog.happened() => running.extend(floor.happened(happened)),
                Some(ended) = running.next() => {
                    overtaken = ended.1 == journey::Served::Elsewhere;
                    running.extend(floor.finish(ended));
                }
                () = &mut beats => {}
                () = watch.moved(), if floor.len() > 0 => break End::Overtaken,
                () = stop.cancelled() => break End::Stop,
                () = berth.leave(pinned) => break End::Leave,
            }
            if overtaken {
                // What was let go comes again in any order; a feed that is opened anew sorts it.
                let stale = std::mem::replace(&mut feed, broker.requests(account));
                hand_over(stale, Vec::new(), account).await;
            }
        };
        over.cancel();
        let mut released = floor.let_go();
        // Who overtook waits for it, but not for long.
        let at_once = end == End::Overtaken;
        let patience = async {
            stop.cancelled().await;
            tokio::time::sleep(timings.drain).await;
        };
        let drained = tokio::select! {
            () = floor.drain(&mut running, &mut released, at_once) => Drain::Clean,
            () = &mut beats => Drain::CutShort,
            () = patience => Drain::CutShort,
        };
        metrics.requests_held(account, 0);
        metrics.requests_backlog(account, 0);
        // Last: while the consumer is ours no other bridge overtakes what is being sent.
        hand_over(feed, released, account).await;
        match (end, drained) {
            (End::Leave, Drain::Clean) => Shift::Left,
            (End::Overtaken, Drain::Clean) => Shift::Overtaken,
            _ => Shift::Stopped(drained),
        }
    }
}

/// Why a shift ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The pipeline is to stop.
    Stop,
    /// The account belongs to another replica.
    Leave,
    /// Another bridge was pinned, as after a moment without a connection.
    Overtaken,
}

/// How a shift ended.
enum Shift {
    /// As the whole pipeline does.
    Stopped(Drain),
    /// The account was left to the replica that it belongs to.
    Left,
    /// The account was left to the bridge that was pinned.
    Overtaken,
}

/// Lets another bridge take over at once, `released` included: given back only then, as it would
/// come back here before, and its successor sorts what comes again.
async fn hand_over(feed: Feed, released: Vec<Arc<Held>>, account: &AccountName) {
    let over = async {
        feed.close().await;
        for held in released {
            held.release().await;
        }
    };
    if timeout(HANDOVER, over).await.is_err() {
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
