//! The books of a row: what was promised and asked for on one side, what is there on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::Context;
use nats_dingtalk::message::Timestamp;
use nats_dingtalk::sim::{FrameState, FrameView, Sim};

use crate::load::{Requested, is_crowded};
use crate::support::world::read;

/// How long DingTalk waits for an ack.
const ACK_LIMIT: Duration = Duration::from_secs(3);

/// What a row came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    /// Messages that people wrote.
    pub(crate) sent: usize,
    /// Frames that carried them, redeliveries included.
    pub(crate) frames: usize,
    /// Messages for which the bridge gave its word, in time or not.
    pub(crate) acked: usize,
    /// Acks that came after DingTalk's deadline.
    pub(crate) late_acks: usize,
    /// Messages in the stream.
    pub(crate) stored: usize,
    /// Messages that are in the stream more than once.
    pub(crate) repeated: usize,
    /// Messages that were acked and are not in the stream.
    pub(crate) lost: usize,
    /// Messages that DingTalk gave up: neither acked nor stored, no connection when they came again.
    pub(crate) given_up: usize,
    /// Requests that the broker accepted.
    pub(crate) requests: usize,
    /// Receipts by outcome.
    pub(crate) receipts: BTreeMap<String, usize>,
    /// Requests without exactly one receipt.
    pub(crate) unsettled: usize,
    /// Requests that people saw more than once.
    pub(crate) double_sends: usize,
    /// Receipts that are not true: `sent` and never seen, or `failed` and seen.
    pub(crate) untrue: usize,
    /// Requests that people saw before an earlier one of the same chat.
    pub(crate) overtaken: usize,
    /// Whether every chat had a call under way when the fault ended, so that none could go on before that
    /// call's time was over.
    pub(crate) all_in_doubt: bool,
    /// From the end of the fault until frames are acked in time again.
    pub(crate) recovery_in: Option<Duration>,
    /// From the end of the fault until something is sent again.
    pub(crate) recovery_out: Option<Duration>,
}

impl Books {
    /// Reads both sides.
    pub(crate) async fn settle(
        sim: &Sim,
        jetstream: &Context,
        requested: &Requested,
        fault_ended: Timestamp,
    ) -> Self {
        let mut books = Self::default();
        books.inbound(sim, jetstream, fault_ended).await;
        books.outbound(sim, jetstream, requested, fault_ended).await;
        books.recovery_out = sends_again(sim, fault_ended);
        books
    }

    async fn inbound(&mut self, sim: &Sim, jetstream: &Context, fault_ended: Timestamp) {
        let frames = bot_frames(sim);
        let mut said = BTreeSet::new();
        let mut acked = BTreeSet::new();
        for frame in &frames {
            let id = frame.business_id.clone().unwrap();
            let given = frame.acks.iter().filter(|ack| ack.code == 200);
            if frame.acks.iter().any(|ack| ack.code == 200) {
                acked.insert(id.clone());
            }
            self.late_acks += given
                .filter(|ack| Duration::from_micros(ack.after_us) > ACK_LIMIT)
                .count();
            said.insert(id);
        }
        let mut stored: BTreeMap<String, usize> = BTreeMap::new();
        for message in read(jetstream, "DINGTALK_INBOUND").await.unwrap() {
            let id = message.header("Dingtalk-Msg-Id").to_owned();
            *stored.entry(id).or_default() += 1;
        }
        self.frames = frames.len();
        self.sent = said.len();
        self.acked = acked.len();
        self.stored = stored.len();
        self.repeated = stored.values().filter(|times| **times > 1).count();
        self.lost = acked.iter().filter(|id| !stored.contains_key(*id)).count();
        let nowhere = |id: &&String| !acked.contains(*id) && !stored.contains_key(*id);
        self.given_up = said.iter().filter(nowhere).count();
        self.recovery_in = acks_again(&frames, fault_ended);
    }

    async fn outbound(
        &mut self,
        sim: &Sim,
        jetstream: &Context,
        requested: &Requested,
        fault_ended: Timestamp,
    ) {
        let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut in_doubt = BTreeSet::new();
        for message in read(jetstream, "DINGTALK_RECEIPT").await.unwrap() {
            let text = |key: &str| message.body[key].as_str().unwrap().to_owned();
            *self.receipts.entry(text("outcome")).or_default() += 1;
            let late = Timestamp::parse(&text("finished_at")).unwrap() >= fault_ended;
            if let Some((_, chat)) = requested.get(&text("id"))
                && late
                && text("outcome") == "uncertain"
            {
                in_doubt.insert(chat);
            }
            outcomes
                .entry(text("id"))
                .or_default()
                .push(text("outcome"));
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for sent in sim.delivered() {
            let id = order_in(sent.text()).to_owned();
            if let Some((sequence, chat)) = requested.get(&id) {
                let before = newest.insert(chat.clone(), *sequence);
                let overtook = before.is_some_and(|before| before > *sequence);
                self.overtaken += usize::from(overtook);
            }
            *seen.entry(id).or_default() += 1;
        }
        let other_chats = requested.iter().filter(|(id, _)| !is_crowded(id));
        let mut other_chats = other_chats.map(|(_, (_, chat))| chat);
        self.all_in_doubt = !in_doubt.is_empty() && other_chats.all(|chat| in_doubt.contains(chat));
        self.requests = requested.len();
        self.double_sends = seen.values().filter(|times| **times > 1).count();
        for id in requested.keys() {
            let seen = seen.contains_key(id);
            match outcomes.get(id).map_or(&[][..], Vec::as_slice) {
                [outcome] => {
                    let untrue = match outcome.as_str() {
                        "sent" => !seen,
                        "failed" | "expired" => seen,
                        _ => false,
                    };
                    self.untrue += usize::from(untrue);
                }
                _ => self.unsettled += 1,
            }
        }
    }
}

/// The id of a request in what people see of it, mentions aside.
fn order_in(text: &str) -> &str {
    let mut words = text.split_whitespace();
    words
        .find(|word| word.starts_with("order-"))
        .unwrap_or(text)
}

/// The frames that carry messages.
pub(crate) fn bot_frames(sim: &Sim) -> Vec<FrameView> {
    let mut frames = sim.frames();
    frames.retain(|frame| frame.business_id.is_some());
    frames
}

/// Whether every message that was said is acked in one of its frames.
pub(crate) fn all_acked(sim: &Sim) -> bool {
    let mut open = BTreeSet::new();
    let mut acked = BTreeSet::new();
    for frame in bot_frames(sim) {
        let id = frame.business_id.unwrap();
        if frame.state == FrameState::Acked {
            open.remove(&id);
            acked.insert(id);
        } else if !acked.contains(&id) {
            open.insert(id);
        }
    }
    open.is_empty()
}

/// When frames are acked in time and requests sent again, both.
pub(crate) fn recovery(sim: &Sim, fault_ended: Timestamp) -> Option<Duration> {
    let out = sends_again(sim, fault_ended)?;
    Some(acks_again(&bot_frames(sim), fault_ended)?.max(out))
}

/// When something is sent again; a chat where thousands wait says nothing about the others.
fn sends_again(sim: &Sim, fault_ended: Timestamp) -> Option<Duration> {
    let sent = sim.delivered();
    let after = sent
        .iter()
        .filter(|sent| !is_crowded(order_in(sent.text())))
        .map(|sent| sent.at)
        .find(|at| *at >= fault_ended)?;
    Some(after.since(fault_ended))
}

/// Requests that people saw, those of the crowded chat aside.
pub(crate) fn served(sim: &Sim) -> usize {
    let sent = sim.delivered();
    let others = sent
        .iter()
        .filter(|sent| !is_crowded(order_in(sent.text())));
    others.count()
}

/// When frames are acked in time again: the first such ack, and no frame pushed first after that
/// moment missed its deadline.
fn acks_again(frames: &[FrameView], fault_ended: Timestamp) -> Option<Duration> {
    let after = || {
        let new = |frame: &&FrameView| frame.attempt == 0 && frame.pushed_at >= fault_ended;
        frames.iter().filter(new)
    };
    let in_time = |frame: &FrameView| {
        let counted = frame
            .acks
            .iter()
            .find(|ack| ack.counted && ack.code == 200)?;
        (Duration::from_micros(counted.after_us) <= ACK_LIMIT).then_some(counted.at)
    };
    let first = after().filter_map(in_time).min()?.since(fault_ended);
    let now = Timestamp::now();
    let is_over = |frame: &&FrameView| now.since(frame.pushed_at) > ACK_LIMIT;
    let missed = after().filter(|frame| is_over(frame) && in_time(frame).is_none());
    let last = missed.map(|frame| frame.pushed_at.since(fault_ended)).max();
    Some(last.map_or(first, |last| last.max(first)))
}
