//! What one account does with requests that it cannot hold: the share that one chat may have of the
//! places, the move to the backlog, and the way back when the chat's turn comes.
//!
//! A request keeps its sequence wherever it waits, and a bar in the lanes stands for what lies in the
//! backlog: so the order of a chat is that of publishing across both.

mod book;
mod carrier;
mod floor;
mod share;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::info;

use crate::broker::{Incoming, ServedBy};

use super::desk::Desk;
use super::held::Held;
use crate::message::AccountName;
use book::Book;
use carrier::Carrier;

pub(super) use carrier::Happened;

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
    /// When it was read last which backlogs there are.
    read_at: Instant,
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
            read_at: Instant::now(),
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
        self.carrier.read(HashSet::new(), Happened::Found);
        None
    }

    fn read(&mut self) -> VecDeque<Incoming> {
        let pin = match std::mem::replace(&mut self.knowledge, Knowledge::None) {
            Knowledge::Awaited { pin } | Knowledge::Sure { pin } => pin,
            Knowledge::None => None,
        };
        self.knowledge = Knowledge::Sure { pin };
        self.read_at = Instant::now();
        std::mem::take(&mut self.early)
    }

    /// Reads again which backlogs there are, now and then: a bridge that had the account before may
    /// have stowed something after they were read.
    fn review(&mut self, served_by: &ServedBy) {
        let ServedBy::Pinned(present) = served_by else {
            return;
        };
        let is_own = match &self.knowledge {
            Knowledge::Sure { pin } => pin.as_ref() == Some(present),
            Knowledge::None | Knowledge::Awaited { .. } => false,
        };
        if is_own && self.read_at.elapsed() >= self.desk.timings.review {
            self.read_at = Instant::now();
            self.carrier.read(self.book.known(), Happened::Reviewed);
        }
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
