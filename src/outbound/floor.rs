//! Between the consumer of one account and the journeys of its requests: what may start, and when.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::broker::Incoming;
use crate::message::Subjects;

use super::backlog::Backlog;
use super::card;
use super::desk::Desk;
use super::held::{Held, Shelf};
use super::journey::{Sender, Served};
use super::lanes::{LaneKey, Lanes};
use super::resolve;

/// Most requests of one account that are held at a time: the net under the shares of the chats
/// (`backlog/share.rs`), as what a predecessor held comes all at once, and while the feed is not asked
/// the pin may move.
const MAX_HELD: usize = 8192;
/// Most bytes of them, the same net.
const MAX_BYTES: usize = 128 << 20;

/// Something being worked on: a request, which says its sequence when it leaves its lane, or what
/// cards need; and who serves the account.
pub(super) type Running = BoxFuture<'static, (Option<u64>, Served)>;

/// The requests of one account between consumer and journeys.
#[derive(Debug)]
pub(super) struct Floor {
    sender: Arc<Sender>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) lanes: Lanes,
    pub(super) backlog: Backlog,
    subjects: Subjects,
    stop: CancellationToken,
}

impl Floor {
    pub(super) fn new(
        sender: Arc<Sender>,
        shelf: Arc<Shelf>,
        subjects: Subjects,
        stop: CancellationToken,
    ) -> Self {
        Self {
            backlog: Backlog::new(sender.account.clone(), sender.desk.clone()),
            sender,
            shelf,
            lanes: Lanes::default(),
            subjects,
            stop,
        }
    }

    /// Requests that are held, in lanes and aboard cards.
    pub(super) fn len(&self) -> usize {
        self.shelf.len()
    }

    /// What has to run from the beginning: the look for cards that an earlier life left open.
    pub(super) fn begin(&self) -> Running {
        card::sweep(Arc::clone(&self.sender), Duration::ZERO, self.stop.clone())
    }

    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        let has_places = self.shelf.len() < MAX_HELD && self.shelf.weight() < MAX_BYTES;
        has_places && self.backlog.has_room()
    }

    /// The lanes of a request.
    pub(super) fn keys(&self, request: &Incoming) -> Vec<LaneKey> {
        let subject = &request.subject;
        match resolve::is_illegible(&request.headers) {
            // Nothing of it is sent, and the consumer waits for its end: it waits for no chat.
            true => vec![LaneKey::Subject(format!("{subject}#{}", request.sequence))],
            false => {
                let address = self.subjects.parse_outbound(subject).ok();
                LaneKey::of(subject, address.as_ref(), &request.payload)
            }
        }
    }

    /// Puts a request into its lanes; returns it as a journey when it may start.
    pub(super) fn hold(&mut self, request: Incoming, keys: Vec<LaneKey>) -> Option<Running> {
        let held = self.shelf.put(request)?;
        failpoint!("request.pulled");
        let sequence = held.published.publication.seq;
        self.lanes.admit(sequence, keys).then(|| self.journey(held))
    }

    /// What every request of the account needs.
    pub(super) fn desk(&self) -> &Desk {
        &self.sender.desk
    }

    /// Takes a request that ended, or went aboard its card, out of its lanes; returns what may start
    /// now.
    pub(super) fn finish(&mut self, (sequence, served): (Option<u64>, Served)) -> Vec<Running> {
        if served == Served::Elsewhere {
            // Whoever has it too keeps it: it is not given back.
            drop(self.let_go());
            drop(self.backlog.forget());
        }
        let mut next = self.sender.cards.hatched();
        let Some(sequence) = sequence else {
            return next;
        };
        if served != Served::Aboard {
            self.shelf.remove(sequence);
        }
        let free = self.lanes.finish(sequence);
        next.extend(self.journeys(free));
        self.refill();
        next
    }

    /// Requests that may start.
    pub(super) fn journeys(&self, sequences: Vec<u64>) -> Vec<Running> {
        let held = sequences
            .into_iter()
            .filter_map(|sequence| self.shelf.find(sequence));
        held.map(|held| self.journey(held)).collect()
    }

    fn journey(&self, held: Arc<Held>) -> Running {
        let sender = Arc::clone(&self.sender);
        let stop = self.stop.clone();
        Box::pin(async move {
            let served = Box::pin(sender.carry(&held, &stop)).await;
            (Some(held.published.publication.seq), served)
        })
    }

    /// Lets go of all that waits: another bridge was pinned meanwhile and has it too, and what it
    /// holds back for the sake of order must not be sent from here. What nobody has comes again.
    pub(super) fn let_go(&mut self) -> Vec<Arc<Held>> {
        let mut gone = Vec::new();
        for sequence in self.lanes.clear() {
            gone.extend(self.shelf.remove(sequence));
        }
        gone
    }

    /// Waits for what is being worked on; nothing new starts when [`Floor::let_go`] came before.
    /// Cancel-safe. What was let go on the way, as nothing of it had left, goes to `released`; `at_once`
    /// gives it and what is there already back as it comes.
    pub(super) async fn drain(
        &mut self,
        running: &mut FuturesUnordered<Running>,
        released: &mut Vec<Arc<Held>>,
        at_once: bool,
    ) {
        loop {
            while at_once && let Some(held) = released.pop() {
                held.release().await;
            }
            let Some((sequence, served)) = running.next().await else {
                break;
            };
            running.extend(self.sender.cards.hatched());
            released.extend(self.sender.cards.released());
            let Some(sequence) = sequence else { continue };
            if served != Served::Aboard {
                released.extend(self.shelf.remove(sequence));
            }
            self.lanes.finish(sequence);
        }
        self.backlog.settle(released).await;
    }
}
