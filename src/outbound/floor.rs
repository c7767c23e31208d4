//! Between the consumer of one account and the journeys of its requests: what may start, and when.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::broker::Incoming;
use crate::message::Subjects;

use super::held::{Held, Shelf};
use super::journey::{Sender, Served};
use super::lanes::{LaneKey, Lanes};
use super::resolve;

/// Most requests of one account that are held at a time. The consumer hands out 4096 before it waits
/// for acknowledgements, so this is the net under it: while the feed is not asked the pin may move.
const MAX_HELD: usize = 8192;
/// Most bytes of them. Requests are texts of some kilobytes; only a backlog of giants comes near.
const MAX_BYTES: usize = 64 << 20;

/// One request being worked on; it says its sequence when it ends, and who serves the account.
pub(super) type Running = BoxFuture<'static, (u64, Served)>;

/// The requests of one account between consumer and journeys.
#[derive(Debug)]
pub(super) struct Floor {
    sender: Arc<Sender>,
    shelf: Arc<Shelf>,
    lanes: Lanes,
    /// Bytes of what is held.
    bytes: usize,
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
            bytes: 0,
            subjects,
            stop,
        }
    }

    /// Requests in the lanes.
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.lanes.len() < MAX_HELD && self.bytes < MAX_BYTES
    }

    /// Puts a delivery into its lanes; returns it as a journey when it may start.
    pub(super) fn admit(&mut self, incoming: Incoming) -> Option<Running> {
        let held = self.shelf.put(incoming)?;
        self.bytes = self.bytes.saturating_add(held.published.weight());
        let subject = &held.published.subject;
        let address = self.subjects.parse_outbound(subject).ok();
        let sequence = held.published.publication.seq;
        let keys = match resolve::is_illegible(&held.published.headers) {
            // Nothing of it is sent, and the consumer waits for its end: it waits for no chat.
            true => vec![LaneKey::Subject(format!("{subject}#{sequence}"))],
            false => LaneKey::of(subject, address.as_ref()),
        };
        self.lanes.admit(sequence, keys).then(|| self.journey(held))
    }

    /// Takes a request that ended out of its lanes; returns the journeys that may start now.
    pub(super) fn finish(&mut self, (sequence, served): (u64, Served)) -> Vec<Running> {
        if served == Served::Elsewhere {
            self.let_go();
        }
        if let Some(held) = self.shelf.remove(sequence) {
            self.bytes = self.bytes.saturating_sub(held.published.weight());
        }
        let next = self.lanes.finish(sequence);
        next.into_iter()
            .filter_map(|sequence| self.shelf.find(sequence))
            .map(|held| self.journey(held))
            .collect()
    }

    fn journey(&self, held: Arc<Held>) -> Running {
        let sender = Arc::clone(&self.sender);
        let stop = self.stop.clone();
        Box::pin(async move {
            let served = sender.carry(&held, &stop).await;
            (held.published.publication.seq, served)
        })
    }

    /// Lets go of all that waits: another bridge was pinned meanwhile and has it too, and what it
    /// holds back for the sake of order must not be sent from here. What nobody has comes again.
    fn let_go(&mut self) {
        for sequence in self.lanes.clear() {
            if let Some(held) = self.shelf.remove(sequence) {
                self.bytes = self.bytes.saturating_sub(held.published.weight());
            }
        }
    }

    /// Waits for what is being worked on; nothing new starts.
    pub(super) async fn drain(&mut self, running: &mut FuturesUnordered<Running>) {
        self.let_go();
        while let Some((sequence, _)) = running.next().await {
            self.shelf.remove(sequence);
        }
    }
}
