//! Where the requests of each card wait for its actor. It knows neither broker nor DingTalk.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::super::claim::Hold;
use super::super::receipt::Matter;
use super::super::resolve::Key;
use super::ask::{Ask, Step};
use super::grip::Grip;
use super::names::fingerprint;
use crate::message::{AccountName, Priority, Timestamp};

/// One request that concerns a card. Dropped before it has its end it is let go.
#[derive(Debug)]
pub(super) struct Piece {
    /// The request.
    pub(super) grip: Grip,
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
    pub(super) fn new(grip: Grip, key: Key, ask: Ask) -> (Self, oneshot::Receiver<()>) {
        let (lane, left) = oneshot::channel();
        let piece = Self {
            grip,
            key,
            ask: Box::new(ask),
            hold: None,
            lane: Some(lane),
        };
        (piece, left)
    }

    /// Stream sequence.
    pub(super) fn sequence(&self) -> u64 {
        self.grip.published().publication.seq
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
            published: self.grip.published(),
            subject: Some(&self.grip.published().subject),
        }
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        let at = self.ask.expires_at;
        at.is_some_and(|at| at <= Timestamp::now())
    }

    /// How urgent it is.
    pub(super) fn priority(&self) -> Priority {
        self.ask.plain.priority.unwrap_or_default()
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
struct Inbox {
    waiting: VecDeque<Piece>,
    mode: Mode,
    arrived: Arc<Notify>,
}

/// The requests that wait, by card. A card is here as long as it has an actor.
#[derive(Debug, Default)]
pub(super) struct Inboxes(Mutex<HashMap<String, Inbox>>);

impl Inboxes {
    /// Takes a request; whether its card needs an actor.
    pub(super) fn push(&self, mut piece: Piece) -> bool {
        let mut inboxes = self.lock();
        let is_new = !inboxes.contains_key(&piece.ask.track);
        let inbox = inboxes.entry(piece.ask.track.clone()).or_default();
        piece.leave(inbox.mode);
        inbox.waiting.push_back(piece);
        inbox.arrived.notify_one();
        is_new
    }

    /// Opens an inbox without a request; whether the card needs an actor.
    pub(super) fn wake(&self, track: &str) -> bool {
        let mut inboxes = self.lock();
        if inboxes.contains_key(track) {
            return false;
        }
        inboxes.insert(track.to_owned(), Inbox::default());
        true
    }

    /// What comes next.
    pub(super) fn front(&self, track: &str) -> Option<Front> {
        let inboxes = self.lock();
        let first = inboxes.get(track)?.waiting.front()?;
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
        let mut inboxes = self.lock();
        let Some(inbox) = inboxes.get_mut(track) else {
            return;
        };
        inbox.mode = mode;
        let all = inbox.waiting.iter_mut().chain(aboard);
        all.for_each(|piece| piece.leave(mode));
    }

    /// What is notified when something arrives.
    pub(super) fn arrivals(&self, track: &str) -> Arc<Notify> {
        let inboxes = self.lock();
        let arrived = inboxes.get(track).map(|inbox| Arc::clone(&inbox.arrived));
        arrived.unwrap_or_default()
    }

    /// Closes the inbox unless something waits there; whether it did.
    pub(super) fn retire(&self, track: &str) -> bool {
        let mut inboxes = self.lock();
        let idle = inboxes
            .get(track)
            .is_none_or(|inbox| inbox.waiting.is_empty());
        if idle {
            inboxes.remove(track);
        }
        idle
    }

    /// Closes the inbox; what waited there.
    pub(super) fn abandon(&self, track: &str) -> VecDeque<Piece> {
        let inbox = self.lock().remove(track);
        inbox.map(|inbox| inbox.waiting).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Inbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
