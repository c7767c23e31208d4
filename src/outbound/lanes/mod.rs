//! One lane per chat: what was published first is worked on first, and a chat that waits delays no
//! other. Pure bookkeeping by stream sequence; it knows neither broker nor DingTalk.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::message::{Kind, OutboundAddress};

use super::recipients;

/// What is kept in order: a chat, or a subject that names none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum LaneKey {
    /// Kind and exact id.
    Chat(Kind, String),
    /// A subject that cannot be read.
    Subject(String),
}

impl LaneKey {
    /// Whether a request of this lane may wait in the backlog. Without a chat it is refused at once,
    /// as is one whose list does not give the digest in its subject.
    pub(super) fn may_be_stowed(&self) -> bool {
        match self {
            Self::Chat(Kind::User, id) => !recipients::is_digest(id),
            Self::Chat(..) => true,
            Self::Subject(_) => false,
        }
    }

    /// The lanes of a request: one for each user that it names, so that a list waits for all of its
    /// chats and all of its chats wait for it.
    pub(super) fn of(
        subject: &str,
        address: Option<&OutboundAddress>,
        payload: &[u8],
    ) -> Vec<Self> {
        match address {
            Some(OutboundAddress::Canonical { kind, id, .. }) => match kind {
                Kind::User => {
                    let users = recipients::addressees(id, payload);
                    let users: HashSet<String> = users.into_iter().collect();
                    let key = |user| Self::Chat(Kind::User, user);
                    users.into_iter().map(key).collect()
                }
                Kind::Group | Kind::Card | Kind::Event | Kind::Other => {
                    vec![Self::Chat(*kind, id.clone())]
                }
            },
            Some(OutboundAddress::Bare | OutboundAddress::Account(_)) | None => {
                vec![Self::Subject(subject.to_owned())]
            }
        }
    }
}

/// The lanes of one account. A request starts when it is the first of each of its lanes, none of
/// them is busy, and no bar stands before it.
///
/// A bar stands for what waits elsewhere, by its subject: nothing at or after its sequence starts in
/// its lanes until it is raised.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<LaneKey, Lane>,
    requests: HashMap<u64, Vec<LaneKey>>,
    bars: HashMap<Arc<str>, Bar>,
    /// First bars of lanes in which something changed.
    touched: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Sequences in the order of publishing, without the one that is worked on.
    waiting: BTreeSet<u64>,
    /// Whether one is worked on.
    busy: bool,
    bars: BTreeSet<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Bar {
    /// Lowest sequence that what it stands for may have.
    from: u64,
    keys: Vec<LaneKey>,
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.busy && self.bars.is_empty()
    }

    /// Whether a bar stands before `sequence`.
    fn is_barred(&self, sequence: u64) -> bool {
        self.bars.first().is_some_and(|(from, _)| *from <= sequence)
    }
}

impl Lanes {
    /// Empties the lanes but for what is being worked on; returns what was waiting. The bars go too.
    pub(super) fn clear(&mut self) -> Vec<u64> {
        let mut waiting = BTreeSet::new();
        for lane in self.lanes.values_mut() {
            waiting.append(&mut lane.waiting);
            lane.bars.clear();
        }
        self.bars.clear();
        self.touched.clear();
        self.lanes.retain(|_, lane| lane.busy);
        self.requests
            .retain(|sequence, _| !waiting.contains(sequence));
        waiting.into_iter().collect()
    }

    /// Puts a request into its lanes, by sequence and not by arrival; returns whether it starts now.
    pub(super) fn admit(&mut self, sequence: u64, keys: Vec<LaneKey>) -> bool {
        for key in &keys {
            let lane = self.lanes.entry(key.clone()).or_default();
            lane.waiting.insert(sequence);
        }
        self.requests.insert(sequence, keys);
        self.start(sequence)
    }

    /// Takes a request that was worked on out of its lanes; returns those that start now.
    pub(super) fn finish(&mut self, sequence: u64) -> Vec<u64> {
        let keys = self.requests.remove(&sequence).unwrap_or_default();
        for key in &keys {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.busy = false;
            }
        }
        self.go_on(&keys)
    }

    /// Puts a bar for `subject` before everything from a sequence on, in place of the one that it had;
    /// returns those that start now. The bar is first in no lane before its requests are.
    pub(super) fn bar(&mut self, subject: &Arc<str>, from: u64, keys: Vec<LaneKey>) -> Vec<u64> {
        let mut touched = self.unbar(subject);
        for key in &keys {
            let lane = self.lanes.entry(key.clone()).or_default();
            lane.bars.insert((from, Arc::clone(subject)));
        }
        touched.extend(keys.iter().cloned());
        self.bars.insert(Arc::clone(subject), Bar { from, keys });
        self.go_on(&touched)
    }

    /// Moves the bar of `subject`, or takes it away; returns those that start now.
    pub(super) fn raise(&mut self, subject: &Arc<str>, from: Option<u64>) -> Vec<u64> {
        let keys = self.unbar(subject);
        match from {
            Some(from) => self.bar(subject, from, keys),
            None => self.go_on(&keys),
        }
    }

    fn unbar(&mut self, subject: &Arc<str>) -> Vec<LaneKey> {
        let Some(Bar { from, keys }) = self.bars.remove(subject) else {
            return Vec::new();
        };
        let place = (from, Arc::clone(subject));
        for key in &keys {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.bars.remove(&place);
            }
        }
        keys
    }

    /// Whether a bar stands before `sequence` in one of these lanes.
    pub(super) fn is_barred(&self, sequence: u64, keys: &[LaneKey]) -> bool {
        let mut lanes = keys.iter().filter_map(|key| self.lanes.get(key));
        lanes.any(|lane| lane.is_barred(sequence))
    }

    /// Where the bar of `subject` stands.
    pub(super) fn barred_from(&self, subject: &Arc<str>) -> Option<u64> {
        self.bars.get(subject).map(|bar| bar.from)
    }

    /// The lowest bar of others in the lanes that `subject` bars: what comes after it may not start. What
    /// stands at it may: no two requests share a sequence, so what the bar stands for comes later.
    pub(super) fn ceiling(&self, subject: &Arc<str>) -> u64 {
        let keys = self.bars.get(subject).map(|bar| &bar.keys);
        let lanes = keys.into_iter().flatten();
        let lanes = lanes.filter_map(|key| self.lanes.get(key));
        let other = |lane: &Lane| {
            let mut bars = lane.bars.iter();
            bars.find(|(_, of)| of != subject).map(|(from, _)| *from)
        };
        lanes.filter_map(other).min().unwrap_or(u64::MAX)
    }

    /// How many requests stand in the fullest of these lanes.
    pub(super) fn crowd(&self, keys: &[LaneKey]) -> usize {
        let lanes = keys.iter().filter_map(|key| self.lanes.get(key));
        let count = |lane: &Lane| lane.waiting.len() + usize::from(lane.busy);
        lanes.map(count).max().unwrap_or(0)
    }

    /// Subjects whose bar is the next thing in their lanes, with fewer than `few` requests before it,
    /// among those where something changed since the last time.
    pub(super) fn low(&mut self, few: usize) -> Vec<Arc<str>> {
        let touched = std::mem::take(&mut self.touched);
        touched
            .into_iter()
            .filter(|subject| self.is_low(subject, few))
            .collect()
    }

    fn is_low(&self, subject: &Arc<str>, few: usize) -> bool {
        let Some(bar) = self.bars.get(subject) else {
            return false;
        };
        let mut lanes = bar.keys.iter().filter_map(|key| self.lanes.get(key));
        lanes.all(|lane| {
            let first = lane.bars.first();
            let before = lane.waiting.range(..bar.from).take(few).count();
            first.is_some_and(|(_, of)| of == subject) && before < few
        })
    }

    /// Looks at the lanes of `subject` again.
    pub(super) fn touch(&mut self, subject: &Arc<str>) {
        self.touched.insert(Arc::clone(subject));
    }

    /// Starts what may start now at the front of these lanes, and forgets lanes that are empty.
    fn go_on(&mut self, keys: &[LaneKey]) -> Vec<u64> {
        let mut next = BTreeSet::new();
        for key in keys {
            let Some(lane) = self.lanes.get(key) else {
                continue;
            };
            next.extend(lane.waiting.first());
            if let Some((_, subject)) = lane.bars.first() {
                self.touched.insert(Arc::clone(subject));
            }
            if lane.is_idle() {
                self.lanes.remove(key);
            }
        }
        next.retain(|sequence| self.start(*sequence));
        next.into_iter().collect()
    }

    fn start(&mut self, sequence: u64) -> bool {
        let Some(keys) = self.requests.get(&sequence) else {
            return false;
        };
        let free = |key: &LaneKey| {
            self.lanes.get(key).is_some_and(|lane| {
                !lane.busy && !lane.is_barred(sequence) && lane.waiting.first() == Some(&sequence)
            })
        };
        if !keys.iter().all(free) {
            return false;
        }
        for key in keys {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.waiting.remove(&sequence);
                lane.busy = true;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
