//! Who still has to get what: a request in calls of at most 20 users, and users whom DingTalk put off
//! for later. Pure bookkeeping on [`Progress`]; the ledger keeps it, so that another life goes on
//! where this one stopped.

use serde::{Deserialize, Serialize};

use crate::message::{Outcome, Part};

use super::ledger::Progress;
use super::resolve::Audience;
use super::verdict::Reach;

/// Most users of one call (oapi.md, section 2.1).
pub(super) const CALL_USERS: usize = 20;
/// Most calls that a receipt lists one by one: every call of a long text to the longest list, or of a
/// short one with many users who were put off. Later ones are counted and not listed.
const MOST_LISTED: usize = 1500;
/// Bytes that one listed call takes in a receipt, with room to spare.
const PART_BYTES: usize = 160;
/// Bytes that a receipt takes beside its lists.
const RECEIPT_BYTES: usize = 8 * 1024;

/// Users who get one message of a request in one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    /// The message.
    pub(super) part: usize,
    /// The users.
    pub(super) users: Vec<String>,
}

/// What comes after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// The next call, at once.
    Call,
    /// Only users who were put off are left: they are asked again after a wait.
    PutOff,
    /// Nothing.
    Nothing,
}

impl Audience {
    /// The distinct users; none for a group or an outsider.
    pub(super) fn users(&self) -> &[String] {
        match self {
            Self::Users(users) => users,
            Self::Group(_) | Self::Outsider | Self::OwnGroup => &[],
        }
    }

    /// Whether it is a list, whose users may fare differently.
    pub(super) fn is_list(&self) -> bool {
        self.users().len() > 1
    }

    /// Calls that carry one message to everybody.
    pub(super) fn calls(&self) -> usize {
        self.users().len().div_ceil(CALL_USERS).max(1)
    }

    /// Most bytes of a receipt, or of a record in the ledger, that says how each user fared.
    pub(super) fn receipt_bytes(&self) -> usize {
        // Quotes and a comma, and an escape for what is no plain text.
        let bytes = |user: &String| user.len() + 3 + user.matches(['"', '\\']).count();
        let users: usize = self.users().iter().map(bytes).sum();
        let listed = (self.users().len() * 4).min(MOST_LISTED);
        users + listed * PART_BYTES + RECEIPT_BYTES
    }
}

impl Progress {
    /// The users of the next call, of `audience`; refused ones get nothing more.
    pub(super) fn users(&self, audience: &Audience) -> Vec<String> {
        if let Some(rest) = &self.rest {
            return rest.clone();
        }
        let users = audience.users().chunks(CALL_USERS).nth(self.chunk);
        let users = users.unwrap_or_default().iter();
        let wanted = users.filter(|user| !self.refused_users.contains(user));
        wanted.cloned().collect()
    }

    /// Whether every call of `audience` was made, as far as it ever will be.
    pub(super) fn is_through(&self, audience: &Audience) -> bool {
        self.chunk >= audience.calls() && self.rest.is_none()
    }

    /// Notes that a call is under way to `users`, should this life end before its answer.
    pub(super) fn depart(&mut self, audience: &Audience, users: &[String]) {
        self.list = audience.is_list();
        if self.list {
            self.rest = Some(users.to_vec());
        }
    }

    /// Notes an answered call: who got the message, who was put off.
    pub(super) fn arrive(&mut self, audience: &Audience, took: Vec<String>, put_off: Vec<String>) {
        if !put_off.is_empty() {
            let part = self.part;
            self.put_off.push(Batch {
                part,
                users: put_off,
            });
        }
        self.part += 1;
        if audience.users().is_empty() {
            if self.part >= self.parts {
                self.chunk += 1;
            }
            return;
        }
        if self.part < self.parts && !took.is_empty() {
            self.rest = Some(took);
        } else {
            self.next_chunk();
        }
    }

    /// Notes that the call under way may or may not have been seen: its users are not asked again.
    pub(super) fn doubt(&mut self) {
        self.list_call(Outcome::Uncertain, None);
        self.uncertain_users
            .extend(self.rest.take().unwrap_or_default());
        self.next_chunk();
    }

    /// Goes on to whoever is next.
    pub(super) fn ahead(&mut self, audience: &Audience) -> Ahead {
        if !self.is_through(audience) {
            return Ahead::Call;
        }
        let Some(part) = self.put_off.first().map(|batch| batch.part) else {
            return Ahead::Nothing;
        };
        let mut users = Vec::new();
        for batch in self.put_off.iter_mut().filter(|batch| batch.part == part) {
            let room = batch.users.len().min(CALL_USERS - users.len());
            users.extend(batch.users.drain(..room));
        }
        self.put_off.retain(|batch| !batch.users.is_empty());
        self.part = part;
        self.rest = Some(users);
        Ahead::PutOff
    }

    /// Users of a list who got nothing yet, or not all of it, and are not refused or in doubt.
    pub(super) fn unsent(&self, audience: &Audience) -> Vec<String> {
        if !audience.is_list() {
            return Vec::new();
        }
        let mut unsent = Vec::new();
        if self.chunk < audience.calls() || self.rest.is_some() {
            unsent = self.users(audience);
        }
        let put_off = self.put_off.iter().flat_map(|batch| &batch.users);
        unsent.extend(put_off.cloned());
        // The present users may be those of the chunk, or some who were put off.
        let reached = (self.chunk + 1) * CALL_USERS;
        let later = audience.users().iter().skip(reached);
        unsent.extend(later.cloned());
        unsent
    }

    /// Lists a call in the receipt.
    pub(super) fn list_call(&mut self, outcome: Outcome, key: Option<String>) {
        if self.parts_done.len() < MOST_LISTED {
            self.parts_done.push(Part {
                outcome,
                via: self.via,
                process_query_key: key,
            });
        }
    }

    /// Notes how the call ended that was next or under way when the request was given up. What
    /// expired had none.
    pub(super) fn give_up(&mut self, outcome: Outcome) {
        if self.parts > 0 && outcome != Outcome::Expired {
            self.list_call(outcome, None);
        }
    }

    /// What its calls came to so far.
    pub(super) fn reach(&self) -> Reach {
        let mut calls = self.parts_done.iter();
        if !self.uncertain_users.is_empty() {
            Reach::InDoubt
        } else if calls.any(|call| call.outcome == Outcome::Sent) {
            Reach::Somebody
        } else {
            Reach::Nobody
        }
    }

    fn next_chunk(&mut self) {
        self.chunk += 1;
        self.part = 0;
        self.rest = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn list(users: usize) -> Audience {
        Audience::Users((0..users).map(|n| format!("u{n}")).collect())
    }

    /// How DingTalk answers one call for one user.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        Taken,
        Refused,
        PutOff,
    }

    /// Makes the next call; `false` when there is none.
    fn call(
        progress: &mut Progress,
        audience: &Audience,
        fate: &mut impl FnMut(&str) -> Fate,
        got: &mut BTreeMap<String, Vec<usize>>,
    ) -> bool {
        if progress.ahead(audience) == Ahead::Nothing {
            return false;
        }
        let users = progress.users(audience);
        assert!(!users.is_empty() && users.len() <= CALL_USERS);
        progress.depart(audience, &users);
        let (mut took, mut put_off) = (Vec::new(), Vec::new());
        for user in users {
            match fate(&user) {
                Fate::Refused => progress.refused_users.push(user),
                Fate::PutOff => put_off.push(user),
                Fate::Taken => {
                    got.entry(user.clone()).or_default().push(progress.part);
                    took.push(user);
                }
            }
        }
        progress.arrive(audience, took, put_off);
        true
    }

    #[test]
    fn a_list_goes_out_twenty_at_a_time_and_those_put_off_come_last() {
        let audience = list(45);
        let mut progress = Progress {
            parts: 1,
            ..Progress::default()
        };
        let mut sizes = Vec::new();
        let mut again = false;
        let mut got = BTreeMap::new();
        loop {
            sizes.push(progress.users(&audience).len());
            let mut fate = |user: &str| match user {
                "u3" | "u44" if !again => Fate::PutOff,
                "u7" => Fate::Refused,
                _ => Fate::Taken,
            };
            if !call(&mut progress, &audience, &mut fate, &mut got) {
                break;
            }
            again = progress.is_through(&audience);
            if again && progress.ahead(&audience) == Ahead::Nothing {
                break;
            }
        }
        assert_eq!(sizes, [20, 20, 5, 2]);
        assert_eq!(progress.refused_users, ["u7"]);
        assert_eq!(got.len(), 44);
        assert!(progress.unsent(&audience).is_empty());
    }

    #[test]
    fn the_users_of_a_call_in_doubt_are_asked_nothing_more() {
        let audience = list(45);
        let mut progress = Progress {
            parts: 2,
            ..Progress::default()
        };
        let users = progress.users(&audience);
        progress.depart(&audience, &users);
        progress.doubt();
        assert_eq!(progress.uncertain_users, users);
        assert_eq!(progress.users(&audience)[0], "u20");
        assert_eq!(progress.unsent(&audience).len(), 25);
        assert_eq!(progress.reach(), Reach::InDoubt);
    }

    #[test]
    fn a_receipt_of_the_longest_list_fits_the_brokers_default() {
        let users = (0..5000).map(|n| format!("{n:0>64}")).collect();
        let audience = Audience::Users(users);
        assert!(audience.receipt_bytes() < 1024 * 1024);
        let mut progress = Progress {
            parts: 9,
            uncertain_users: audience.users().to_vec(),
            ..Progress::default()
        };
        for _ in 0..3000 {
            progress.list_call(Outcome::Uncertain, Some("k".repeat(64)));
        }
        let record = serde_json::to_vec(&progress).unwrap();
        assert!(record.len() < audience.receipt_bytes(), "{}", record.len());
    }

    proptest! {
        #[test]
        fn everybody_gets_every_part_once_in_order_or_is_told_of(
            users in 1_usize..70,
            parts in 1_usize..4,
            fates in prop::collection::vec(0_u8..10, 400),
            stop in 0_usize..40,
        ) {
            let audience = list(users);
            let mut progress = Progress { parts, ..Progress::default() };
            let mut fates = fates.into_iter();
            let mut fate = |_: &str| match fates.next() {
                Some(0) => Fate::Refused,
                Some(1..3) => Fate::PutOff,
                _ => Fate::Taken,
            };
            let mut got = BTreeMap::new();
            let mut calls = 0;
            while calls < stop && call(&mut progress, &audience, &mut fate, &mut got) {
                calls += 1;
                // Another life goes on from what the ledger has.
                let kept = serde_json::to_string(&progress).unwrap();
                progress = serde_json::from_str(&kept).unwrap();
            }
            let unsent = progress.unsent(&audience);
            for user in audience.users() {
                let parts_of = got.remove(user).unwrap_or_default();
                prop_assert!(parts_of.iter().copied().eq(0..parts_of.len()), "{:?}", parts_of);
                let refused = progress.refused_users.contains(user);
                let whole = parts_of.len() == parts;
                let told = unsent.iter().filter(|unsent| *unsent == user).count();
                if audience.is_list() {
                    prop_assert_eq!(usize::from(whole) + usize::from(refused) + told, 1);
                } else {
                    prop_assert!(!(whole && refused) && told == 0);
                }
            }
        }
    }
}
