//! Order per chat through lanes and backlog, for any order of arrivals, ends, fetches and restarts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::super::lanes::LaneKey;
use super::super::lanes::Lanes;
use super::book::{Book, Rest, Turn};
use crate::message::Kind;

/// The broker's side: what is not acknowledged, and what lies in the backlog, by subject.
#[derive(Default)]
struct World {
    queue: BTreeMap<u64, &'static str>,
    stored: HashMap<&'static str, Vec<u64>>,
    /// Requests of the queue that the present life was given.
    given: BTreeSet<u64>,
    /// The newest that any life was given.
    newest: u64,
    ended: Vec<u64>,
}

/// The bridge's side, as `Floor` has it.
#[derive(Debug, Default)]
struct Life {
    lanes: Lanes,
    book: Book,
    leaving: Vec<u64>,
    held: BTreeSet<u64>,
    running: Vec<u64>,
}

fn keys(subject: &str) -> Vec<LaneKey> {
    let user = |id: &str| LaneKey::Chat(Kind::User, id.to_owned());
    subject.split(',').map(user).collect()
}

impl Life {
    /// A bridge that has just been pinned.
    fn begin(world: &World) -> Self {
        let mut life = Self::default();
        for (subject, stored) in &world.stored {
            if let (Some(first), Some(last)) = (stored.first(), stored.last()) {
                let name = life.book.name(subject);
                let count = u64::try_from(stored.len()).unwrap();
                life.book.adopt(&name, (*last, count), false);
                life.lanes.bar(&name, *first, keys(subject));
                life.lanes.touch(&name);
            }
        }
        life
    }

    fn hold(&mut self, sequence: u64, subject: &str) {
        if self.held.insert(sequence) && self.lanes.admit(sequence, keys(subject)) {
            self.running.push(sequence);
        }
    }

    fn arrive(&mut self, sequence: u64, subject: &str, share: usize) {
        let keys = keys(subject);
        let stow = match self.book.is_behind(subject, sequence) {
            Some(is_behind) => is_behind,
            None => self.lanes.is_barred(sequence, &keys) || self.lanes.crowd(&keys) >= share,
        };
        if !stow || self.held.contains(&sequence) {
            return self.hold(sequence, subject);
        }
        let name = self.book.name(subject);
        self.leaving.push(sequence);
        if self.book.stow(&name, sequence, false) {
            let next = self.lanes.bar(&name, sequence, keys);
            self.running.extend(next);
        }
    }

    /// The oldest that leaves is stored, and perhaps acknowledged.
    fn store(&mut self, world: &mut World, acknowledged: bool) {
        if self.leaving.is_empty() {
            return;
        }
        let sequence = self.leaving.remove(0);
        let Some(subject) = world.queue.get(&sequence).copied() else {
            return;
        };
        let stored = world.stored.entry(subject).or_default();
        if !stored.contains(&sequence) {
            stored.push(sequence);
        }
        if acknowledged {
            world.queue.remove(&sequence);
        }
        self.book.arrived(subject, sequence, true);
        let name = self.book.name(subject);
        self.lanes.touch(&name);
    }

    fn fetch(&mut self, world: &World, most: usize) {
        // A takeover gives out everything of the life before at once.
        let mut again = world.queue.range(..=world.newest);
        if again.any(|(sequence, _)| !world.given.contains(sequence)) {
            return;
        }
        for subject in self.lanes.low(2) {
            self.book.want(&subject);
        }
        let Some(Turn { subject, place }) = self.book.turn(true) else {
            return;
        };
        let stored = world.stored.get(&*subject).map_or(&[][..], Vec::as_slice);
        // A place is the sequence here: the stream of one subject ascends.
        let mut found: Vec<u64> = stored.iter().copied().filter(|at| *at >= place).collect();
        let end = found.len() <= most;
        found.truncate(most);
        let limit = self.lanes.ceiling(&subject).saturating_add(1);
        let limit = limit.min(self.book.leaving_from(&subject));
        let taken: Vec<u64> = found.iter().copied().take_while(|at| *at < limit).collect();
        let left = found.get(taken.len()).copied();
        for sequence in &taken {
            self.hold(*sequence, &subject);
        }
        let taken: Vec<(u64, u64)> = taken.iter().map(|at| (*at, *at)).collect();
        let next = match self.book.fetched(&subject, &taken, (left, end)) {
            Rest::Nothing => self.lanes.raise(&subject, None),
            Rest::From(Some(from)) => {
                let least = self.lanes.barred_from(&subject).unwrap_or_default();
                self.lanes.raise(&subject, Some(from.max(least)))
            }
            Rest::From(None) => {
                self.lanes.touch(&subject);
                Vec::new()
            }
        };
        self.running.extend(next);
    }

    fn end(&mut self, world: &mut World, pick: prop::sample::Index) {
        if self.running.is_empty() {
            return;
        }
        let sequence = self.running.remove(pick.index(self.running.len()));
        world.ended.push(sequence);
        world.queue.remove(&sequence);
        for stored in world.stored.values_mut() {
            stored.retain(|other| *other != sequence);
        }
        self.held.remove(&sequence);
        let next = self.lanes.finish(sequence);
        self.running.extend(next);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(&'static str),
    Deliver,
    Store { acknowledged: bool },
    Fetch(usize),
    End(prop::sample::Index),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "a", "a", "b", "c", "a,b", "b,c"]).prop_map(Step::Publish),
        4 => Just(Step::Deliver),
        3 => prop::bool::weighted(0.9).prop_map(|acknowledged| Step::Store { acknowledged }),
        2 => (1..5_usize).prop_map(Step::Fetch),
        3 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => Just(Step::Restart),
    ]
}

impl World {
    fn deliver(&mut self, life: &mut Life, share: usize) -> bool {
        let mut queue = self.queue.iter();
        let next = queue.find(|(sequence, _)| !self.given.contains(sequence));
        let Some((sequence, subject)) = next.map(|(sequence, subject)| (*sequence, *subject))
        else {
            return false;
        };
        self.given.insert(sequence);
        self.newest = self.newest.max(sequence);
        life.arrive(sequence, subject, share);
        true
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_request_ends_once_and_each_chat_in_order(
        steps in prop::collection::vec(step(), 1..300),
        share in 1..6_usize,
        first in any::<prop::sample::Index>(),
    ) {
        let mut world = World::default();
        let mut life = Life::default();
        let mut subjects = Vec::new();
        for step in steps {
            match step {
                Step::Publish(subject) => {
                    subjects.push(subject);
                    world.queue.insert(u64::try_from(subjects.len()).unwrap(), subject);
                }
                Step::Deliver => {
                    world.deliver(&mut life, share);
                }
                Step::Store { acknowledged } => life.store(&mut world, acknowledged),
                Step::Fetch(most) => life.fetch(&world, most),
                Step::End(pick) => life.end(&mut world, pick),
                Step::Restart => {
                    world.given.clear();
                    life = Life::begin(&world);
                }
            }
        }
        for _ in 0..20 * (subjects.len() + 1) {
            world.deliver(&mut life, share);
            life.store(&mut world, true);
            life.fetch(&world, 3);
            life.end(&mut world, first);
        }
        let ended: BTreeSet<u64> = world.ended.iter().copied().collect();
        prop_assert_eq!(ended.len(), subjects.len(), "{:?}", life);
        prop_assert_eq!(world.ended.len(), subjects.len(), "none twice");
        prop_assert_eq!(life.book.len(), 0);
        for chat in ["a", "b", "c"] {
            let of_chat = world.ended.iter().filter(|sequence| {
                let at = usize::try_from(**sequence).unwrap() - 1;
                subjects[at].split(',').any(|user| user == chat)
            });
            prop_assert!(of_chat.is_sorted(), "{chat}: {:?}", world.ended);
        }
    }
}
