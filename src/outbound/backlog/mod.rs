//! What one account does with requests that it cannot hold: the share that one chat may have of the
//! places, the move to the backlog, and the way back when the chat's turn comes.
//!
//! A request keeps its sequence wherever it waits, and a bar in the lanes stands for what lies in the
//! backlog: so the order of a chat is that of publishing across both.

mod book;
mod carrier;
mod share;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use crate::broker::{Fetched, Incoming};
use crate::message::Priority;

use super::desk::Desk;
use super::floor::{Floor, Running};
use super::held::Held;
use super::lanes::LaneKey;
use super::resolve::{self, Form};
use crate::message::AccountName;
use book::{Book, Rest};
use carrier::{Carrier, Found};

pub(super) use carrier::Happened;

/// Requests of a backlog before which the next are fetched: enough for the pace of an account while
/// a fetch is under way.
const FEW: usize = 16;
/// How long a stop waits for what is on its way to the backlog; it is delivered again otherwise.
const SETTLE: Duration = Duration::from_secs(1);
/// Shortest time between two log lines about the backlog of an account.
const TELL: Duration = Duration::from_secs(15);

/// The backlog of one account as this bridge knows it.
#[derive(Debug)]
pub(super) struct Backlog {
    account: AccountName,
    desk: Desk,
    book: Book,
    carrier: Carrier,
    knowledge: Knowledge,
    /// Requests that came before it was known what stands before them.
    early: VecDeque<Incoming>,
    /// Whether the feed has more to give out at once. After a takeover that may be older than what lies
    /// in a backlog, so nothing is fetched before it is here.
    expects_more: bool,
    /// Whether there was a backlog when that was last told, and when.
    told: (bool, Option<Instant>),
}

/// Whether it is known which backlogs there are. Another bridge changes them while it is pinned.
#[derive(Debug, PartialEq, Eq)]
enum Knowledge {
    None,
    /// It is being read.
    Awaited {
        pin: Option<String>,
    },
    /// It was read under this pin.
    Sure {
        pin: Option<String>,
    },
}

impl Backlog {
    pub(super) fn new(account: AccountName, desk: Desk) -> Self {
        Self {
            book: Book::default(),
            carrier: Carrier::new(account.clone(), desk.clone()),
            knowledge: Knowledge::None,
            early: VecDeque::new(),
            expects_more: false,
            told: (false, None),
            account,
            desk,
        }
    }

    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.carrier.has_room() && !matches!(self.knowledge, Knowledge::Awaited { .. })
    }

    /// Notes whether the feed has more to give out at once.
    pub(super) fn expect_more(&mut self, expects_more: bool) {
        self.expects_more = expects_more;
    }

    /// Requests that wait there.
    pub(super) fn total(&self) -> u64 {
        self.book.total()
    }

    /// The next thing that came back from the broker. Cancel-safe.
    pub(super) async fn happened(&mut self) -> Happened {
        self.carrier.happened().await
    }

    /// Keeps a request back while it is not known what stands before it; under a new pin that is read
    /// first.
    fn early(&mut self, request: Incoming, pin: Option<&str>) -> Option<Incoming> {
        let is_sure = match &self.knowledge {
            Knowledge::None => false,
            Knowledge::Awaited { .. } => {
                self.early.push_back(request);
                return None;
            }
            Knowledge::Sure { pin: known } => pin.is_none() || known.as_deref() == pin,
        };
        if is_sure {
            return Some(request);
        }
        self.early.push_back(request);
        self.knowledge = Knowledge::Awaited {
            pin: pin.map(str::to_owned),
        };
        self.carrier.read();
        None
    }

    fn read(&mut self) -> VecDeque<Incoming> {
        let pin = match std::mem::replace(&mut self.knowledge, Knowledge::None) {
            Knowledge::Awaited { pin } | Knowledge::Sure { pin } => pin,
            Knowledge::None => None,
        };
        self.knowledge = Knowledge::Sure { pin };
        std::mem::take(&mut self.early)
    }

    /// Forgets everything: another bridge has the account, or will.
    pub(super) fn forget(&mut self) -> Vec<Arc<Held>> {
        self.book = Book::default();
        self.carrier = Carrier::new(self.account.clone(), self.desk.clone());
        self.knowledge = Knowledge::None;
        self.expects_more = false;
        let early = std::mem::take(&mut self.early).into_iter();
        early.map(|request| Arc::new(Held::new(request))).collect()
    }

    /// Waits a moment for what is on its way, then forgets everything. What the backlog did not take
    /// is given back.
    pub(super) async fn settle(&mut self, released: &mut Vec<Arc<Held>>) {
        let settled = async {
            while !self.carrier.is_idle() {
                if let Happened::Stored(Err(request)) = self.carrier.happened().await {
                    released.push(Arc::new(Held::new(request)));
                }
            }
        };
        let _ = timeout(SETTLE, settled).await;
        released.extend(self.forget());
    }

    /// Says when the account begins and ends to have a backlog, not too often.
    fn tell(&mut self) {
        let (was, at) = self.told;
        let is = self.book.len() > 0;
        if is == was || at.is_some_and(|at| at.elapsed() < TELL) {
            return;
        }
        self.told = (is, Some(Instant::now()));
        let account = &self.account;
        if is {
            info!(dingtalk.account = %account, request.chats = self.book.len(), "requests of crowded chats wait in the backlog");
        } else {
            info!(dingtalk.account = %account, "no request waits in the backlog any more");
        }
    }
}

impl Floor {
    /// Puts a request where it belongs: into its lanes, or behind others in the backlog. What may start
    /// now.
    pub(super) fn place(&mut self, request: Incoming, pin: Option<&str>) -> Vec<Running> {
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
    pub(super) fn happened(&mut self, happened: Happened) -> Vec<Running> {
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
            Happened::Acknowledged | Happened::Looked => {}
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
        for request in self.backlog.read() {
            self.take(request, &mut running);
        }
        running
    }

    /// Fetches for those who have too little in their lanes, as far as there are places.
    pub(super) fn refill(&mut self) {
        if self.backlog.expects_more {
            return;
        }
        for subject in self.lanes.low(FEW) {
            self.backlog.book.want(&subject);
        }
        let backlog = &mut self.backlog;
        while backlog.carrier.may_fetch() {
            let load = share::Load {
                held: self.shelf.len(),
                bytes: self.shelf.weight(),
            };
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
