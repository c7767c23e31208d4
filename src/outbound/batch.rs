//! Who still has to get what: a request in calls of at most 20 users, and users whom DingTalk put off
//! for later. Pure bookkeeping on [`Progress`]; the ledger keeps it, so that another life goes on
//! where this one stopped.

use serde::{Deserialize, Serialize};

use crate::message::{Outcome, Part};

use super::ledger::Progress;
use super::resolve::Audience;

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
            Self::Group(_) | Self::Outsider => &[],
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

    /// Whether somebody got something.
    pub(super) fn reached_somebody(&self) -> bool {
        let mut calls = self.parts_done.iter();
        calls.any(|call| call.outcome == Outcome::Sent)
    }

    fn next_chunk(&mut self) {
        self.chunk += 1;
        self.part = 0;
        self.rest = None;
    }
}
