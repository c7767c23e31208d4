//! Where the requests of each card wait for its actor. It knows neither broker nor DingTalk.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::super::claim::Hold;
use super::super::held::Held;
use super::super::receipt::Matter;
use super::super::resolve::Key;
use super::ask::{Ask, Step, fingerprint};
use crate::message::{AccountName, Timestamp};

/// One request that concerns a card.
#[derive(Debug)]
pub(super) struct Piece {
    /// The request.
    pub(super) held: Arc<Held>,
    /// Its idempotency key.
    pub(super) key: Key,
    /// What it asks.
    pub(super) ask: Box<Ask>,
    /// Its place in the ledger, when it opened the card.
    pub(super) hold: Option<Hold>,
    /// Dropped when it may leave its lane.
    lane: Option<oneshot::Sender<()>>,
}

impl Piece {
    /// A request, and what is ready when it may leave its lane.
    pub(super) fn new(held: Arc<Held>, key: Key, ask: Ask) -> (Self, oneshot::Receiver<()>) {
        let (lane, left) = oneshot::channel();
        let piece = Self {
            held,
            key,
            ask: Box::new(ask),
            hold: None,
            lane: Some(lane),
        };
        (piece, left)
    }

    /// Stream sequence.
    pub(super) fn sequence(&self) -> u64 {
        self.held.published.publication.seq
    }

    /// What stands for the key that its caller gave it; a key made from the sequence has no copies.
    pub(super) fn fingerprint(&self) -> Option<u64> {
        (!self.key.derived).then(|| fingerprint(&self.key.id))
    }

    /// Whom its receipt is about.
    pub(super) fn matter<'a>(&'a self, account: &'a AccountName) -> Matter<'a> {
        Matter {
            account,
            id: &self.key.id,
            published: &self.held.published,
            subject: Some(&self.held.published.subject),
        }
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        let at = self.ask.expires_at;
        at.is_some_and(|at| at <= Timestamp::now())
    }

    fn leave(&mut self, mode: Mode) {
        let leaves = match mode {
            Mode::Hidden => false,
            Mode::Card => true,
            // The last piece becomes a message, which has its place in the order of the chat.
            Mode::Plain => !self.ask.ends(),
        };
        if leaves {
            self.lane = None;
        }
    }
}

/// What people see of a card, as far as the lanes need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    /// Nothing yet: what comes after it in the chat waits.
    #[default]
    Hidden,
    /// The card.
    Card,
    /// Nothing, until a plain message says it all.
    Plain,
}

/// What comes next for a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// Something to merge.
    Feed,
    /// A call of its own.
    Step,
}

#[derive(Debug, Default)]
struct Berth {
    waiting: VecDeque<Piece>,
    mode: Mode,
    arrived: Arc<Notify>,
}

/// The requests that wait, by card. A card is here as long as it has an actor.
#[derive(Debug, Default)]
pub(super) struct Berths(Mutex<HashMap<String, Berth>>);

impl Berths {
    /// Takes a request; whether its card needs an actor.
    pub(super) fn push(&self, mut piece: Piece) -> bool {
        let mut berths = self.lock();
        let is_new = !berths.contains_key(&piece.ask.track);
        let berth = berths.entry(piece.ask.track.clone()).or_default();
        piece.leave(berth.mode);
        berth.waiting.push_back(piece);
        berth.arrived.notify_one();
        is_new
    }

    /// Opens a berth without a request; whether the card needs an actor.
    pub(super) fn wake(&self, track: &str) -> bool {
        let mut berths = self.lock();
        if berths.contains_key(track) {
            return false;
        }
        berths.insert(track.to_owned(), Berth::default());
        true
    }

    /// What comes next.
    pub(super) fn front(&self, track: &str) -> Option<Front> {
        let berths = self.lock();
        let first = berths.get(track)?.waiting.front()?;
        Some(match first.ask.step {
            Step::Feed(_) => Front::Feed,
            Step::Create(_) | Step::Update(_) => Front::Step,
        })
    }

    /// Takes the next request.
    pub(super) fn pop(&self, track: &str) -> Option<Piece> {
        self.lock().get_mut(track)?.waiting.pop_front()
    }

    /// Says what people see now, and lets those leave their lanes who may: of what waits and of
    /// what is aboard.
    pub(super) fn show(&self, track: &str, mode: Mode, aboard: &mut [Piece]) {
        let mut berths = self.lock();
        let Some(berth) = berths.get_mut(track) else {
            return;
        };
        berth.mode = mode;
        let all = berth.waiting.iter_mut().chain(aboard);
        all.for_each(|piece| piece.leave(mode));
    }

    /// What is notified when something arrives.
    pub(super) fn arrivals(&self, track: &str) -> Arc<Notify> {
        let berths = self.lock();
        let arrived = berths.get(track).map(|berth| Arc::clone(&berth.arrived));
        arrived.unwrap_or_default()
    }

    /// Closes the berth unless something waits there; whether it did.
    pub(super) fn retire(&self, track: &str) -> bool {
        let mut berths = self.lock();
        let idle = berths
            .get(track)
            .is_none_or(|berth| berth.waiting.is_empty());
        if idle {
            berths.remove(track);
        }
        idle
    }

    /// Closes the berth; what waited there.
    pub(super) fn abandon(&self, track: &str) -> VecDeque<Piece> {
        let berth = self.lock().remove(track);
        berth.map(|berth| berth.waiting).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Berth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
