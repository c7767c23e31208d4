//! Every frame that was pushed and every ack that came for it, found in constant time: the
//! counter inside a messageId is the position in the ledger. It knows no socket.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::gateway::Payload;
use crate::message::Timestamp;

/// How far the delivery of one pushed frame has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameState {
    /// Pushed, nothing came back yet.
    Open,
    /// Acknowledged in time on a socket that counts.
    Acked,
    /// Refused: code 400 or above, or `LATER`.
    Refused,
    /// No ack within the deadline.
    TimedOut,
}

/// One answer to a frame.
#[derive(Debug, Clone, Serialize)]
pub struct Ack {
    /// When it came.
    pub at: Timestamp,
    /// How long after the push, in microseconds.
    pub after_us: u64,
    /// The connection it came on.
    pub link: u64,
    /// `code` of the ack.
    pub code: i64,
    /// `data` of the ack as it came; absent when texts are not recorded.
    pub data: Option<Box<str>>,
    /// Whether it counted: right socket, in time.
    pub counted: bool,
}

/// A pushed frame as an observer sees it.
#[derive(Debug, Clone, Serialize)]
pub struct FrameView {
    /// Position in the order of pushes.
    pub seq: u64,
    /// `headers.messageId`.
    pub message_id: String,
    /// The app it was for.
    pub app: String,
    /// The connection it was pushed on.
    pub link: u64,
    /// `type`.
    pub frame_type: String,
    /// `headers.topic`.
    pub topic: String,
    /// `msgId` of a bot message, `eventId` of an event.
    pub business_id: Option<String>,
    /// 0 for the first push, then one more for each redelivery.
    pub attempt: u32,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// How far it has come.
    pub state: FrameState,
    /// Every ack, in order.
    pub acks: Vec<Ack>,
    /// The frame as it was written; absent when texts are not recorded.
    pub text: Option<String>,
}

pub(super) struct Entry {
    /// Absent for a text that the caller made himself.
    pub(super) payload: Option<Payload>,
    pub(super) app: Arc<str>,
    pub(super) link: u64,
    pub(super) attempt: u32,
    pub(super) pushed: Instant,
    pub(super) pushed_at: Timestamp,
    pub(super) state: FrameState,
    foreign_id: Option<Box<str>>,
    text: Option<Box<str>>,
    acks: Vec<Ack>,
}

/// What becomes of a frame when an ack was written down.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The ack counted and ends the delivery.
    Done,
    /// The ack counted and refuses: the retry table goes on.
    Refused(u64),
    /// Nothing changes: unknown frame, wrong socket, too late, or a second ack.
    Ignored,
}

/// An ack as it was read from a socket.
pub(super) struct ReadAck<'a> {
    pub(super) link: u64,
    pub(super) app: &'a str,
    pub(super) code: i64,
    pub(super) message_id: &'a str,
    pub(super) data: Option<&'a str>,
    /// Whether it says `LATER`.
    pub(super) later: bool,
}

/// The rules that decide whether an ack counts.
pub(super) struct AckRules {
    pub(super) any_socket: bool,
    pub(super) late_counts: bool,
    pub(super) record_texts: bool,
    pub(super) timeout: Duration,
}

/// The frames of one simulator, oldest forgotten first.
pub(super) struct Ledger {
    prefix: String,
    base: u64,
    entries: VecDeque<Entry>,
    foreign: HashMap<Box<str>, u64>,
    by_id: HashMap<Box<str>, Vec<u64>>,
    keep: usize,
    /// Frames that were acked and counted.
    pub(super) acked: u64,
    /// Acks for frames that were never pushed or are forgotten.
    pub(super) stray_acks: u64,
}

impl Ledger {
    pub(super) fn new(prefix: String, keep: usize) -> Self {
        Self {
            prefix,
            base: 0,
            entries: VecDeque::new(),
            foreign: HashMap::new(),
            by_id: HashMap::new(),
            keep: keep.max(1),
            acked: 0,
            stray_acks: 0,
        }
    }

    /// Number of the next frame, which is how many were pushed so far.
    pub(super) fn pushed(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Appends the messageId of frame `seq`.
    pub(super) fn message_id(&self, seq: u64) -> String {
        format!("{}{seq:x}", self.prefix)
    }

    /// Writes down a push; the caller has taken the number from [`Self::pushed`].
    pub(super) fn open(&mut self, payload: Payload, link: u64, attempt: u32) {
        let seq = self.pushed();
        if let Payload::Envelope(envelope) = &payload
            && let Some(id) = envelope.business_id.as_deref()
        {
            self.by_id.entry(id.into()).or_default().push(seq);
        }
        let app = Arc::clone(payload.app());
        self.append(Entry {
            payload: Some(payload),
            app,
            link,
            attempt,
            pushed: Instant::now(),
            pushed_at: Timestamp::now(),
            state: FrameState::Open,
            foreign_id: None,
            text: None,
            acks: Vec::new(),
        });
    }

    /// Writes down a frame whose text the caller made himself.
    pub(super) fn open_raw(&mut self, app: Arc<str>, link: u64, message_id: Option<&str>) {
        let seq = self.pushed();
        let foreign_id = message_id.map(Box::from);
        if let Some(id) = &foreign_id {
            self.foreign.insert(Box::clone(id), seq);
        }
        self.append(Entry {
            payload: None,
            app,
            link,
            attempt: 0,
            pushed: Instant::now(),
            pushed_at: Timestamp::now(),
            state: FrameState::Open,
            foreign_id,
            text: None,
            acks: Vec::new(),
        });
    }

    fn append(&mut self, entry: Entry) {
        if self.entries.len() >= self.keep
            && let Some(old) = self.entries.pop_front()
        {
            if let Some(id) = old.foreign_id {
                self.foreign.remove(&id);
            }
            if let Some(id) = old.payload.as_ref().and_then(Payload::business_id) {
                self.forget_push(&id);
            }
            self.base += 1;
        }
        self.entries.push_back(entry);
    }

    /// Takes the oldest push out of the index of its id.
    fn forget_push(&mut self, id: &str) {
        if let Some(pushes) = self.by_id.get_mut(id) {
            pushes.retain(|seq| *seq != self.base);
            if pushes.is_empty() {
                self.by_id.remove(id);
            }
        }
    }

    /// Keeps the text of frame `seq` as it was written.
    pub(super) fn keep_text(&mut self, seq: u64, text: &str) {
        if let Some(entry) = self.entry_mut(seq) {
            entry.text = Some(text.into());
        }
    }

    pub(super) fn entry(&self, seq: u64) -> Option<&Entry> {
        self.entries
            .get(usize::try_from(seq.checked_sub(self.base)?).ok()?)
    }

    pub(super) fn entry_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        self.entries
            .get_mut(usize::try_from(seq.checked_sub(self.base)?).ok()?)
    }

    /// The number of the frame with this messageId.
    pub(super) fn find(&self, message_id: &str) -> Option<u64> {
        match message_id.strip_prefix(self.prefix.as_str()) {
            Some(counter) => u64::from_str_radix(counter, 16).ok(),
            None => self.foreign.get(message_id).copied(),
        }
    }

    /// Writes down an ack and says what becomes of its frame.
    pub(super) fn ack(&mut self, ack: &ReadAck<'_>, rules: &AckRules) -> Settled {
        let Some(seq) = self.find(ack.message_id) else {
            self.stray_acks += 1;
            return Settled::Ignored;
        };
        let Some(entry) = self.entry_mut(seq) else {
            self.stray_acks += 1;
            return Settled::Ignored;
        };
        let after = entry.pushed.elapsed();
        let right_socket = ack.link == entry.link || (rules.any_socket && *entry.app == *ack.app);
        let in_time = after <= rules.timeout || rules.late_counts;
        let counted = right_socket && in_time && entry.state != FrameState::Acked;
        entry.acks.push(Ack {
            at: Timestamp::now(),
            after_us: u64::try_from(after.as_micros()).unwrap_or(u64::MAX),
            link: ack.link,
            code: ack.code,
            data: ack.data.filter(|_| rules.record_texts).map(Box::from),
            counted,
        });
        if !counted {
            return Settled::Ignored;
        }
        let is_event = entry
            .payload
            .as_ref()
            .is_some_and(|payload| payload.frame_type() == "EVENT");
        if is_event && (ack.later || ack.code >= 400) {
            entry.state = FrameState::Refused;
            return Settled::Refused(seq);
        }
        entry.state = FrameState::Acked;
        self.acked += 1;
        Settled::Done
    }

    /// Numbers of the frames that carried this business id; the messages of a burst are not indexed.
    pub(super) fn pushes_of(&self, business_id: &str) -> &[u64] {
        self.by_id.get(business_id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn view(&self, seq: u64) -> Option<FrameView> {
        let entry = self.entry(seq)?;
        let payload = entry.payload.as_ref();
        Some(FrameView {
            seq,
            message_id: match &entry.foreign_id {
                Some(id) => id.clone().into_string(),
                None => self.message_id(seq),
            },
            app: entry.app.as_ref().to_owned(),
            link: entry.link,
            frame_type: payload.map_or("", Payload::frame_type).to_owned(),
            topic: payload.map_or("", Payload::topic).to_owned(),
            business_id: payload.and_then(Payload::business_id),
            attempt: entry.attempt,
            pushed_at: entry.pushed_at,
            state: entry.state,
            acks: entry.acks.clone(),
            text: entry.text.as_deref().map(str::to_owned),
        })
    }

    /// The last `limit` frames from `from` on, in order of pushing.
    pub(super) fn views(&self, from: u64, limit: usize) -> Vec<FrameView> {
        let from = from.max(self.base);
        (from..self.pushed())
            .take(limit)
            .filter_map(|seq| self.view(seq))
            .collect()
    }

    /// Which messages of a burst were acked in at least one of their frames, from `from` on.
    pub(super) fn acked_of_burst(&self, from: u64, burst: &str) -> BTreeSet<u64> {
        (from.max(self.base)..self.pushed())
            .filter_map(|seq| self.entry(seq))
            .filter(|entry| entry.state == FrameState::Acked)
            .filter_map(|entry| match &entry.payload {
                Some(Payload::Drawn(template, index)) if template.id_base == burst => Some(*index),
                _ => None,
            })
            .collect()
    }

    /// Time from push to the ack that counted, in microseconds, for every acked frame from `from` on.
    pub(super) fn latencies(&self, from: u64) -> Vec<u64> {
        (from.max(self.base)..self.pushed())
            .filter_map(|seq| self.entry(seq)?.acks.iter().find(|ack| ack.counted))
            .map(|ack| ack.after_us)
            .collect()
    }
}
