//! The ways between one account and its backlog: requests that leave for it, in order, those that are
//! fetched from it, and the looks at what is there. It decides nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt, iter};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::super::desk::{Desk, LetGo, Patience};
use super::super::held::acknowledge;
use super::book::Turn;
use crate::broker::{
    Broker, BrokerError, Ends, Fetched, Incoming, Outgoing, Publisher, ServedBy, Settled,
};
use crate::message::AccountName;

/// Requests without a PubAck from the backlog; the publisher's connection carries that many.
const WINDOW: usize = 256;
/// Requests on their way to the backlog, acknowledgements included: with what is held, fewer than the
/// consumer hands out (`broker::consumer`).
const MOST_LEAVING: usize = 512;
/// Bytes of them after which no more are taken.
const LEAVING_BYTES: usize = 16 << 20;
/// Fetches under way at once.
const FETCHES: usize = 8;
/// Backlogs whose ends are read at once.
const LOOKS: usize = 64;
/// How often it is looked whether the account has a backlog that nobody serves.
const LOOK: Duration = Duration::from_secs(2);
/// How long the publishing connection stays open without use.
const IDLE: Duration = Duration::from_secs(30);

/// Something that came back.
#[derive(Debug)]
pub(in super::super) enum Happened {
    /// A request is in the backlog; `Err` gives back one that the broker does not take there.
    Stored(Result<Moved, Incoming>),
    /// A request that left, or a wake, is acknowledged.
    Acknowledged,
    /// What was read of one backlog.
    Fetched(Arc<str>, Fetched),
    /// The backlogs that there are, read under a new pin.
    Found(Vec<Found>),
    /// The same, read again.
    Reviewed(Vec<Found>),
    /// It was looked who serves the account's backlog.
    Looked(ServedBy),
}

/// A request that the backlog has.
#[derive(Debug)]
pub(in super::super) struct Moved {
    pub(super) subject: String,
    pub(super) sequence: u64,
}

/// One backlog as it was found.
#[derive(Debug)]
pub(in super::super) struct Found {
    pub(super) subject: String,
    pub(super) stored: u64,
    pub(super) ends: Ends,
}

/// Carries requests to the backlog of one account and back.
pub(super) struct Carrier {
    account: AccountName,
    desk: Desk,
    publisher: Option<Publisher>,
    used_at: Instant,
    /// What the publisher was not given yet.
    outbox: VecDeque<(u64, Outgoing)>,
    /// What has no PubAck yet, by sequence.
    leaving: HashMap<u64, Incoming>,
    bytes: usize,
    acks: FuturesUnordered<BoxFuture<'static, ()>>,
    asked: FuturesUnordered<BoxFuture<'static, Option<Happened>>>,
    fetches: usize,
    looking: bool,
    look: Interval,
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier")
            .field("leaving", &self.leaving.len())
            .finish_non_exhaustive()
    }
}

impl Carrier {
    pub(super) fn new(account: AccountName, desk: Desk) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            account,
            desk,
            publisher: None,
            used_at: Instant::now(),
            outbox: VecDeque::new(),
            leaving: HashMap::new(),
            bytes: 0,
            acks: FuturesUnordered::new(),
            asked: FuturesUnordered::new(),
            fetches: 0,
            looking: false,
            look,
        }
    }

    fn broker(&self) -> &Broker {
        &self.desk.broker
    }

    /// Whether another request may leave.
    pub(super) fn has_room(&self) -> bool {
        let unanswered = self.leaving.len() + self.acks.len();
        self.leaving.len() < WINDOW && unanswered < MOST_LEAVING && self.bytes < LEAVING_BYTES
    }

    /// Whether another fetch may begin.
    pub(super) fn may_fetch(&self) -> bool {
        self.fetches < FETCHES
    }

    /// Fetches under way.
    pub(super) fn fetches(&self) -> usize {
        self.fetches
    }

    /// Whether nothing is on its way to the backlog.
    pub(super) fn is_idle(&self) -> bool {
        self.leaving.is_empty() && self.acks.is_empty()
    }

    /// Takes a request to the backlog, as `message`.
    pub(super) fn stow(&mut self, request: Incoming, message: Outgoing) {
        self.bytes += request.payload.len();
        self.outbox.push_back((request.sequence, message));
        self.leaving.insert(request.sequence, request);
    }

    /// Acknowledges what needs nothing else.
    pub(super) fn acknowledge(&mut self, request: Incoming) {
        self.acks.push(Box::pin(async move {
            acknowledge(&request, None).await;
        }));
    }

    /// Reads at most `most` requests of a backlog.
    pub(super) fn fetch(&mut self, Turn { subject, place }: Turn, most: usize) {
        self.fetches += 1;
        let desk = self.desk.clone();
        self.asked.push(Box::pin(async move {
            let step = || desk.broker.fetch_stowed(&subject, place, most);
            let fetched = desk.insist(Patience::Always, "request in the backlog", step);
            let fetched: Result<Fetched, LetGo> = fetched.await;
            Some(Happened::Fetched(Arc::clone(&subject), fetched.ok()?))
        }));
    }

    /// Reads which backlogs there are beside those that are `known`, and says so as `told`.
    pub(super) fn read(&mut self, known: HashSet<Arc<str>>, told: fn(Vec<Found>) -> Happened) {
        let desk = self.desk.clone();
        let account = self.account.clone();
        self.asked.push(Box::pin(async move {
            let step = || find(&desk.broker, &account, &known);
            let found = desk.insist(Patience::Always, "backlogs of the account", step);
            Some(told(found.await.ok()?))
        }));
    }

    /// The next thing that came back. Cancel-safe: what is taken from the outbox is the publisher's
    /// once its future is polled, which happens in the same turn.
    pub(super) async fn happened(&mut self) -> Happened {
        loop {
            if !self.outbox.is_empty() && self.publisher.is_none() {
                self.publisher = Some(self.broker().publisher(WINDOW));
            }
            while let Some(publisher) = &mut self.publisher
                && let Some((sequence, message)) = self.outbox.pop_front()
            {
                publisher.publish(sequence, message).await;
            }
            tokio::select! {
                settled = settled(&mut self.publisher) => {
                    if let Some(happened) = self.settled(settled) {
                        return happened;
                    }
                }
                Some(()) = self.acks.next() => {
                    failpoint!("backlog.moved");
                    return Happened::Acknowledged;
                }
                Some(asked) = self.asked.next() => {
                    if let Some(happened) = asked {
                        return self.answered(happened);
                    }
                }
                _ = self.look.tick() => self.look(),
            }
        }
    }

    fn settled(&mut self, settled: Settled) -> Option<Happened> {
        self.used_at = Instant::now();
        let request = self.leaving.remove(&settled.token)?;
        self.bytes = self.bytes.saturating_sub(request.payload.len());
        Some(Happened::Stored(match settled.result {
            Ok(_) => {
                failpoint!("backlog.stored");
                let moved = Moved {
                    subject: request.subject.clone(),
                    sequence: request.sequence,
                };
                self.acknowledge(request);
                Ok(moved)
            }
            Err(error) => {
                warn!(dingtalk.account = %self.account, %error, "the backlog does not take a request, it is held");
                Err(request)
            }
        }))
    }

    fn answered(&mut self, happened: Happened) -> Happened {
        match &happened {
            Happened::Fetched(..) => self.fetches = self.fetches.saturating_sub(1),
            Happened::Looked(_) => self.looking = false,
            Happened::Stored(_)
            | Happened::Acknowledged
            | Happened::Found(_)
            | Happened::Reviewed(_) => {}
        }
        happened
    }

    fn look(&mut self) {
        if self.leaving.is_empty() && self.used_at.elapsed() >= IDLE {
            self.publisher = None;
        }
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let broker = self.broker().clone();
        let account = self.account.clone();
        self.asked.push(Box::pin(async move {
            let served_by = broker
                .wake_for_backlog(&account)
                .await
                .unwrap_or_else(|error| {
                    debug!(dingtalk.account = %account, %error, "looking for a backlog failed");
                    ServedBy::Nobody
                });
            Some(Happened::Looked(served_by))
        }));
    }
}

async fn settled(publisher: &mut Option<Publisher>) -> Settled {
    match publisher {
        Some(publisher) => publisher.settled().await,
        None => std::future::pending().await,
    }
}

async fn find(
    broker: &Broker,
    account: &AccountName,
    known: &HashSet<Arc<str>>,
) -> Result<Vec<Found>, BrokerError> {
    let mut all = broker.backlogs(account).await?;
    all.retain(|(subject, _)| !known.contains(subject.as_str()));
    let looks = iter(all).map(|(subject, stored)| async move {
        let ends = broker.backlog_ends(&subject).await?;
        Ok::<_, BrokerError>(ends.map(|ends| Found {
            subject,
            stored,
            ends,
        }))
    });
    let found: Vec<Option<Found>> = looks.buffer_unordered(LOOKS).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
