//! Between the lanes of an account and its backlog: which request is held and which is stowed, and
//! what comes back when.

use std::sync::Arc;

use tracing::{debug, info};

use super::super::floor::{Floor, Running};
use super::super::lanes::LaneKey;
use super::super::resolve::{self, Form};
use super::book::Rest;
use super::carrier::{Found, Happened};
use super::{Knowledge, share};
use crate::broker::{Fetched, Incoming};
use crate::message::Priority;

/// Requests of a backlog before which the next are fetched: enough for the pace of an account while
/// a fetch is under way.
const FEW: usize = 16;

impl Floor {
    /// Puts a request where it belongs: into its lanes, or behind others in the backlog. What may start
    /// now.
    pub(in super::super) fn place(&mut self, request: Incoming, pin: Option<&str>) -> Vec<Running> {
        let mut running = Vec::new();
        if let Some(request) = self.backlog.early(request, pin) {
            self.take(request, &mut running);
            self.refill();
        }
        running
    }

    fn take(&mut self, request: Incoming, running: &mut Vec<Running>) {
        if request.is_wake() {
            self.backlog.carrier.acknowledge(request);
            return;
        }
        let keys = self.keys(&request);
        if self.is_to_stow(&request, &keys)
            && let Some(message) = self.desk().broker.stowed(&request)
        {
            let book = &mut self.backlog.book;
            let subject = book.name(&request.subject);
            let sequence = request.sequence;
            let is_first = book.stow(&subject, sequence, is_urgent(&request));
            self.backlog.carrier.stow(request, message);
            if is_first {
                let next = self.lanes.bar(&subject, sequence, keys);
                running.extend(self.journeys(next));
                self.backlog.tell();
            }
            return;
        }
        running.extend(self.hold(request, keys));
    }

    fn is_to_stow(&self, request: &Incoming, keys: &[LaneKey]) -> bool {
        let sequence = request.sequence;
        let may_wait = keys.iter().all(LaneKey::may_be_stowed);
        if !may_wait || self.shelf.find(sequence).is_some() {
            return false;
        }
        match self.backlog.book.is_behind(&request.subject, sequence) {
            Some(is_behind) => is_behind,
            None if self.lanes.is_barred(sequence, keys) => true,
            None => {
                let crowd = self.lanes.crowd(keys);
                let load = self.load();
                let fits = share::fits(load, crowd, request.payload.len());
                !(fits || share::fits_urgent(load, crowd) && is_urgent(request))
            }
        }
    }

    /// Takes in what came back from the broker; what may start now.
    pub(in super::super) fn happened(&mut self, happened: Happened) -> Vec<Running> {
        let mut running = Vec::new();
        match happened {
            Happened::Stored(Ok(moved)) => self.arrived(&moved.subject, moved.sequence, true),
            Happened::Stored(Err(request)) => {
                self.arrived(&request.subject, request.sequence, false);
                let keys = self.keys(&request);
                running.extend(self.hold(request, keys));
            }
            Happened::Fetched(subject, fetched) => {
                running.extend(self.fetched(&subject, fetched));
            }
            Happened::Found(found) => running.extend(self.found(found)),
            Happened::Reviewed(found) => running.extend(self.reviewed(found)),
            Happened::Looked(served_by) => self.backlog.review(&served_by),
            Happened::Acknowledged => {}
        }
        self.refill();
        self.backlog.tell();
        running
    }

    fn arrived(&mut self, subject: &str, sequence: u64, is_stored: bool) {
        let book = &mut self.backlog.book;
        book.arrived(subject, sequence, is_stored);
        let subject = book.name(subject);
        self.lanes.touch(&subject);
    }

    /// Takes fetched requests into their lanes, as far as nothing else may stand before them.
    fn fetched(&mut self, subject: &Arc<str>, fetched: Fetched) -> Vec<Running> {
        failpoint!("backlog.fetched");
        let mut running = Vec::new();
        let ceiling = self.lanes.ceiling(subject);
        let leaving = self.backlog.book.leaving_from(subject);
        let mut taken = Vec::with_capacity(fetched.requests.len());
        let mut left = None;
        for request in fetched.requests {
            let sequence = request.sequence;
            if sequence > ceiling || sequence >= leaving {
                left = Some(sequence);
                break;
            }
            taken.push((sequence, request.stowed_at().unwrap_or_default()));
            let keys = self.keys(&request);
            running.extend(self.hold(request, keys));
        }
        let book = &mut self.backlog.book;
        let next = match book.fetched(subject, &taken, (left, fetched.end)) {
            Rest::Nothing => {
                debug!(dingtalk.account = %self.backlog.account, nats.subject = %subject, "backlog of a chat is empty");
                self.lanes.raise(subject, None)
            }
            Rest::From(Some(from)) => {
                let least = self.lanes.barred_from(subject).unwrap_or_default();
                self.lanes.raise(subject, Some(from.max(least)))
            }
            Rest::From(None) => {
                self.lanes.touch(subject);
                Vec::new()
            }
        };
        running.extend(self.journeys(next));
        running
    }

    /// Takes in which backlogs there are, then what came before that was known.
    fn found(&mut self, found: Vec<Found>) -> Vec<Running> {
        let mut running = self.adopted(found);
        for request in self.backlog.read() {
            self.take(request, &mut running);
        }
        running
    }

    /// Takes in backlogs that were not known and are not what lies in the lanes until it is answered.
    fn reviewed(&mut self, mut found: Vec<Found>) -> Vec<Running> {
        if !matches!(self.backlog.knowledge, Knowledge::Sure { .. }) {
            return Vec::new();
        }
        found.retain(|found| {
            let is_held = self.shelf.find(found.ends.last.sequence).is_some();
            !is_held && !self.backlog.book.has(&found.subject)
        });
        if !found.is_empty() {
            info!(dingtalk.account = %self.backlog.account, request.chats = found.len(), "another bridge left requests in the backlog");
        }
        self.adopted(found)
    }

    fn adopted(&mut self, found: Vec<Found>) -> Vec<Running> {
        let mut running = Vec::new();
        for Found {
            subject,
            stored,
            ends,
        } in found
        {
            let urgent = is_urgent(&ends.first) || is_urgent(&ends.last);
            let book = &mut self.backlog.book;
            let is_new = !book.has(&subject);
            let subject = book.name(&subject);
            book.adopt(&subject, (ends.last.sequence, stored), urgent);
            if is_new {
                let keys = self.keys(&ends.first);
                let next = self.lanes.bar(&subject, ends.first.sequence, keys);
                running.extend(self.journeys(next));
            }
            self.lanes.touch(&subject);
        }
        running
    }

    /// Fetches for those who have too little in their lanes, as far as there are places.
    pub(in super::super) fn refill(&mut self) {
        if self.backlog.expects_more {
            return;
        }
        for subject in self.lanes.low(FEW) {
            self.backlog.book.want(&subject);
        }
        let load = self.load();
        let backlog = &mut self.backlog;
        while backlog.carrier.may_fetch() {
            let Some(room) = share::refill(load, backlog.carrier.fetches()) else {
                return;
            };
            let Some(turn) = backlog.book.turn(room.for_all) else {
                return;
            };
            backlog.carrier.fetch(turn, room.most);
        }
    }

    fn load(&self) -> share::Load {
        share::Load {
            held: self.shelf.len(),
            bytes: self.shelf.weight(),
        }
    }
}

/// Whether a request is more urgent than most.
fn is_urgent(request: &Incoming) -> bool {
    let reading = resolve::read(
        &request.headers,
        &request.payload,
        request.sequence,
        Form::Canonical,
    );
    let priority = reading.request.ok().and_then(|request| request.priority);
    !matches!(priority, None | Some(Priority::Normal))
}
