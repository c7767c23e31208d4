//! Between the consumer of one account and the journeys of its requests: what may start, and when.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::broker::Incoming;
use crate::message::Subjects;

use super::card;
use super::held::{Held, Shelf};
use super::journey::{Sender, Served};
use super::lanes::{LaneKey, Lanes};
use super::resolve;

/// Most requests of one account that are held at a time. The consumer hands out 4096 before it waits
/// for acknowledgements, so this is the net under it: while the feed is not asked the pin may move.
const MAX_HELD: usize = 8192;
/// Most bytes of them. Requests are texts of some kilobytes; only a backlog of giants comes near.
const MAX_BYTES: usize = 64 << 20;

/// Something being worked on: a request, which says its sequence when it leaves its lane, or what
/// cards need; and who serves the account.
pub(super) type Running = BoxFuture<'static, (Option<u64>, Served)>;

/// The requests of one account between consumer and journeys.
#[derive(Debug)]
pub(super) struct Floor {
    sender: Arc<Sender>,
    shelf: Arc<Shelf>,
    lanes: Lanes,
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
        self.shelf.len() < MAX_HELD && self.shelf.weight() < MAX_BYTES
    }

    /// Puts a delivery into its lanes; returns it as a journey when it may start.
    pub(super) fn admit(&mut self, incoming: Incoming) -> Option<Running> {
        let held = self.shelf.put(incoming)?;
        failpoint!("request.pulled");
        let subject = &held.published.subject;
        let address = self.subjects.parse_outbound(subject).ok();
        let sequence = held.published.publication.seq;
        let keys = match resolve::is_illegible(&held.published.headers) {
            // Nothing of it is sent, and the consumer waits for its end: it waits for no chat.
            true => vec![LaneKey::Subject(format!("{subject}#{sequence}"))],
            false => LaneKey::of(subject, address.as_ref(), &held.published.payload),
        };
        self.lanes.admit(sequence, keys).then(|| self.journey(held))
    }

    /// Takes a request that ended, or went aboard its card, out of its lanes; returns what may start
    /// now.
    pub(super) fn finish(&mut self, (sequence, served): (Option<u64>, Served)) -> Vec<Running> {
        if served == Served::Elsewhere {
            // Whoever has it too keeps it: it is not given back.
            drop(self.let_go());
        }
        let mut next = self.sender.cards.hatched();
        let Some(sequence) = sequence else {
            return next;
        };
        if served != Served::Aboard {
            self.shelf.remove(sequence);
        }
        let free = self.lanes.finish(sequence).into_iter();
        let free = free.filter_map(|sequence| self.shelf.find(sequence));
        next.extend(free.map(|held| self.journey(held)));
        next
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
    /// Cancel-safe. What was let go on the way, as nothing of it had left, goes to `released`.
    pub(super) async fn drain(
        &mut self,
        running: &mut FuturesUnordered<Running>,
        released: &mut Vec<Arc<Held>>,
    ) {
        while let Some((sequence, served)) = running.next().await {
            running.extend(self.sender.cards.hatched());
            released.extend(self.sender.cards.released());
            let Some(sequence) = sequence else { continue };
            if served != Served::Aboard {
                released.extend(self.shelf.remove(sequence));
            }
            self.lanes.finish(sequence);
        }
    }
}
