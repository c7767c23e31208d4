//! Interactive cards and streamed answers: one card is one ordered lane, worked on by one actor.
//!
//! A request that concerns a card waits for its turn in the lane of its subject, then goes aboard the
//! card and leaves the lane as soon as people see the card; its actor merges what waits, calls
//! DingTalk at the card's pace, and writes the receipts. What is known of a card is kept at the
//! broker, so that another bridge goes on with it and nothing spins for ever.

mod actor;
mod ask;
mod calls;
mod closing;
mod frames;
mod grip;
mod inbox;
mod names;
mod opening;
mod plain;
mod prose;
mod record;
mod tell;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Parts;
use super::floor::Running;
use super::held::{Held, Shelf};
use super::journey::{Sender, Served};
use super::resolve::Key;
use crate::message::{AccountName, Timestamp};
use crate::telemetry::CardChats;
use actor::Actor;
use grip::{Grip, Released};
use inbox::{Inboxes, Piece};
use record::{Album, Record};

pub(super) use ask::Ask;

/// The cards that one account works on.
#[derive(Debug)]
pub(super) struct Cards {
    account: AccountName,
    album: Album,
    chats: CardChats,
    inboxes: Inboxes,
    shelf: Arc<Shelf>,
    released: Arc<Released>,
    /// Actors and sweeps that the run loop has not taken over yet.
    hatched: Hatched,
}

/// Futures on their way to the run loop.
#[derive(Default)]
struct Hatched(Mutex<Vec<Running>>);

impl std::fmt::Debug for Hatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hatched")
    }
}

impl Cards {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            account: parts.account.clone(),
            album: Album::new(&parts.broker, parts.account.clone()),
            chats: parts.card_chats.clone(),
            inboxes: Inboxes::default(),
            shelf: Arc::default(),
            released: Arc::default(),
            hatched: Hatched::default(),
        }
    }

    /// What is to be run beside the journeys since the last time.
    pub(super) fn hatched(&self) -> Vec<Running> {
        let mut hatched = self
            .hatched
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *hatched)
    }

    fn hatch(&self, running: Running) {
        let mut hatched = self
            .hatched
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        hatched.push(running);
    }

    /// Tells the inbound side where a card stands.
    fn place(&self, track: &str, record: &Record) {
        if let Some(chat) = &record.chat {
            let (kind, id) = (chat.kind(), chat.id.as_str());
            self.chats.set(&self.account, track, kind, id);
        }
    }

    /// Takes hold of a request for its card.
    fn grip(&self, held: &Arc<Held>, stop: &CancellationToken) -> Grip {
        let places = (Arc::clone(&self.shelf), Arc::clone(&self.released));
        Grip::new(Arc::clone(held), places, stop.clone())
    }

    /// What the account holds, in lanes and aboard cards.
    pub(super) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// What was let go since the last time because the bridge stops.
    pub(super) fn released(&self) -> Vec<Arc<Held>> {
        self.released.take()
    }
}

/// Takes a request aboard its card; ready when it leaves its lane. The card tells its end.
pub(super) async fn board(
    sender: &Arc<Sender>,
    (held, key, ask): (&Arc<Held>, Key, Ask),
    stop: &CancellationToken,
) -> Served {
    let track = ask.track.clone();
    let (piece, left) = Piece::new(sender.cards.grip(held, stop), key, ask);
    if !sender.cards.inboxes.push(piece) {
        // An error says the same: the piece left its card, and so its lane.
        let _ = left.await;
        return Served::Aboard;
    }
    let actor = act(sender, track, stop);
    match select(actor, left).await {
        Either::Left(((_, Served::Elsewhere), _)) => Served::Elsewhere,
        Either::Left(((_, Served::Here | Served::Aboard), _)) => Served::Aboard,
        Either::Right((_, actor)) => {
            sender.cards.hatch(actor);
            Served::Aboard
        }
    }
}

fn act(sender: &Arc<Sender>, track: String, stop: &CancellationToken) -> Running {
    Box::pin(Actor::new(Arc::clone(sender), track, stop.clone()).run())
}

/// Looks, after `wait` and from then on for ever, for cards that nobody finishes any more, and has
/// each closed.
pub(super) fn sweep(sender: Arc<Sender>, wait: Duration, stop: CancellationToken) -> Running {
    Box::pin(async move {
        if stop.run_until_cancelled(sleep(wait)).await.is_none() {
            return (None, Served::Here);
        }
        match stop.run_until_cancelled(sender.cards.album.all()).await {
            None => return (None, Served::Here),
            Some(Err(error)) => {
                debug!(dingtalk.account = %sender.account, %error, "open cards not listed");
            }
            Some(Ok(cards)) => {
                let now = Timestamp::now();
                // The bridge that has a card closes it at its deadline; one that is gone does not.
                let grace = sender.desk.timings.card_sweep;
                for (track, record) in cards {
                    sender.cards.place(&track, &record);
                    let late = record.is_unfinished() && record.deadline.after(grace) <= now;
                    if late && sender.cards.inboxes.wake(&track) {
                        sender.cards.hatch(act(&sender, track, &stop));
                    }
                }
            }
        }
        let period = sender.desk.timings.card_sweep;
        let next = sweep(Arc::clone(&sender), period, stop);
        sender.cards.hatch(next);
        (None, Served::Here)
    })
}
