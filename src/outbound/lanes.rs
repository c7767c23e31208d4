//! One lane per chat: what was published first is worked on first, and a chat that waits delays no
//! other. Pure bookkeeping by stream sequence; it knows neither broker nor DingTalk.

use std::collections::{BTreeSet, HashMap, HashSet};

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

/// The lanes of one account. A request starts when it is the first of each of its lanes and none of
/// them is busy.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<LaneKey, Lane>,
    requests: HashMap<u64, Vec<LaneKey>>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Sequences in the order of publishing, without the one that is worked on.
    waiting: BTreeSet<u64>,
    /// Whether one is worked on.
    busy: bool,
}

impl Lanes {
    /// Empties the lanes but for what is being worked on; returns what was waiting.
    pub(super) fn clear(&mut self) -> Vec<u64> {
        let mut waiting = BTreeSet::new();
        for lane in self.lanes.values_mut() {
            waiting.append(&mut lane.waiting);
        }
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
        let mut next = BTreeSet::new();
        for key in self.requests.remove(&sequence).unwrap_or_default() {
            let Some(lane) = self.lanes.get_mut(&key) else {
                continue;
            };
            lane.busy = false;
            match lane.waiting.first() {
                Some(first) => {
                    next.insert(*first);
                }
                None => {
                    self.lanes.remove(&key);
                }
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
            self.lanes
                .get(key)
                .is_some_and(|lane| !lane.busy && lane.waiting.first() == Some(&sequence))
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{AccountName, Target};

    fn user(id: &str) -> Vec<LaneKey> {
        id.split(',')
            .map(|id| LaneKey::Chat(Kind::User, id.to_owned()))
            .collect()
    }

    #[test]
    fn a_chat_is_served_in_the_order_of_publishing_and_delays_no_other() {
        let mut lanes = Lanes::default();
        assert!(lanes.admit(1, user("a")));
        assert!(!lanes.admit(2, user("a")));
        assert!(lanes.admit(3, user("b")));
        assert_eq!(lanes.finish(3), Vec::<u64>::new());
        assert_eq!(lanes.finish(1), [2]);
        assert_eq!(lanes.finish(2), Vec::<u64>::new());
        assert!(lanes.lanes.is_empty() && lanes.requests.is_empty());
    }

    #[test]
    fn one_that_is_redelivered_late_still_goes_before_the_newer_ones_that_wait() {
        let mut lanes = Lanes::default();
        assert!(lanes.admit(5, user("a")));
        assert!(!lanes.admit(6, user("a")));
        assert!(!lanes.admit(4, user("a")));
        assert_eq!(lanes.finish(5), [4]);
        assert_eq!(lanes.finish(4), [6]);
    }

    #[test]
    fn a_list_of_users_waits_for_all_of_its_chats_and_they_wait_for_it() {
        let mut lanes = Lanes::default();
        assert!(lanes.admit(1, user("a")));
        assert!(!lanes.admit(2, user("a,b")));
        assert!(!lanes.admit(3, user("b")), "b waits behind the list");
        assert_eq!(lanes.finish(1), [2]);
        assert_eq!(lanes.finish(2), [3]);
    }

    #[test]
    fn a_long_list_waits_for_the_chats_that_its_payload_lists() {
        let users: Vec<String> = (0..21).map(|n| format!("u{n}")).collect();
        let target = Target::Users(users.clone());
        let (kind, id) = target.address().unwrap();
        let address = OutboundAddress::Canonical {
            account: AccountName::parse("sales").unwrap(),
            kind,
            id: id.into_owned(),
        };
        let body = serde_json::json!({"text": "a", "to": target}).to_string();
        let mut keys = LaneKey::of("", Some(&address), body.as_bytes());
        let mut expected = user(&users.join(","));
        for keys in [&mut keys, &mut expected] {
            keys.sort_by_key(|key| format!("{key:?}"));
        }
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_subject_that_names_no_chat_has_a_lane_of_its_own() {
        assert_eq!(
            LaneKey::of("dingtalk.outbound.sales.robot.x", None, b"hi"),
            [LaneKey::Subject("dingtalk.outbound.sales.robot.x".into())]
        );
    }

    #[test]
    fn what_waits_can_be_let_go_and_what_is_worked_on_stays() {
        let mut lanes = Lanes::default();
        assert!(lanes.admit(1, user("a")));
        assert!(!lanes.admit(2, user("a,b")));
        assert!(!lanes.admit(3, user("b")));
        assert!(lanes.admit(4, user("c")));
        assert_eq!(lanes.clear(), [2, 3]);
        assert_eq!(lanes.requests.len(), 2);
        assert!(!lanes.admit(5, user("a")), "1 is still under way");
        assert!(lanes.admit(6, user("b")));
        assert_eq!(lanes.finish(1), [5]);
    }

    proptest! {
        #[test]
        fn whatever_comes_everything_ends_and_each_chat_in_order(
            requests in prop::collection::vec(prop::sample::subsequence(vec!["a", "b", "c", "d"], 1..=4), 1..40),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 40),
        ) {
            let mut lanes = Lanes::default();
            let mut running = Vec::new();
            let mut served: HashMap<&str, Vec<u64>> = HashMap::new();
            for (sequence, chats) in (1..).zip(&requests) {
                if lanes.admit(sequence, user(&chats.join(","))) {
                    running.push(sequence);
                }
            }
            for pick in &picks {
                if running.is_empty() {
                    break;
                }
                let sequence = running.remove(pick.index(running.len()));
                let at = usize::try_from(sequence).unwrap() - 1;
                for chat in &requests[at] {
                    served.entry(chat).or_default().push(sequence);
                }
                running.extend(lanes.finish(sequence));
            }
            prop_assert_eq!(lanes.requests.len(), 0);
            prop_assert!(lanes.lanes.is_empty());
            prop_assert!(served.values().all(|order| order.is_sorted()));
        }
    }
}
