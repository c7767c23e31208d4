//! Card actions that somebody may want to answer: each is put to the responder of its account, if
//! there is one, and acknowledged with what it says, at once when nobody listens
//! (stream-protocol.md, section 3.4). Only a frame that is acknowledged anyway comes here.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::broker::Broker;
use crate::dingtalk::stream::{Ack, AckTicket};
use crate::message::{AccountName, CardReply, Subjects};
use crate::telemetry::Metrics;

/// How long a responder may take.
const PATIENCE: Duration = Duration::from_millis(1500);
/// When the acknowledgement leaves at the latest, from the arrival of the frame: DingTalk waits 2 s
/// (oapi.md, section 6.8).
const DEADLINE: Duration = Duration::from_millis(1800);
/// Card actions that may wait for their responders; those beyond are acknowledged empty.
const WAITING: usize = 1024;

/// A card action that is stored, and the right to answer it.
#[derive(Debug)]
struct Question {
    account: AccountName,
    body: Bytes,
    ticket: AckTicket,
    received: Instant,
}

/// Where card actions go instead of being acknowledged at once.
#[derive(Debug, Clone)]
pub(super) struct Callbacks(mpsc::Sender<Question>);

impl Callbacks {
    /// Where nobody listens: every ticket comes back.
    pub(super) fn unheard() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// The way of one card action, which says `body`.
    pub(super) fn of(&self, account: &AccountName, body: &Bytes) -> Callback {
        Callback {
            account: account.clone(),
            body: body.clone(),
            callbacks: self.clone(),
        }
    }
}

/// One card action on its way to be acknowledged.
#[derive(Debug)]
pub(super) struct Callback {
    account: AccountName,
    body: Bytes,
    callbacks: Callbacks,
}

impl Callback {
    /// Hands the ticket over; gives it back when too many wait.
    pub(super) fn ask(self, ticket: AckTicket, received: Instant) -> Option<AckTicket> {
        let question = Question {
            account: self.account,
            body: self.body,
            ticket,
            received,
        };
        let full = self.callbacks.0.try_send(question).err()?;
        Some(full.into_inner().ticket)
    }
}

/// All questions under way.
pub(super) struct Responders {
    broker: Broker,
    subjects: Subjects,
    metrics: Metrics,
    questions: mpsc::Receiver<Question>,
    asking: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl std::fmt::Debug for Responders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responders")
            .field("asking", &self.asking.len())
            .finish_non_exhaustive()
    }
}

impl Responders {
    /// The questions of all accounts, and the way to them.
    pub(super) fn new(broker: Broker, subjects: Subjects, metrics: Metrics) -> (Callbacks, Self) {
        let (sender, questions) = mpsc::channel(WAITING);
        let responders = Self {
            broker,
            subjects,
            metrics,
            questions,
            asking: FuturesUnordered::new(),
        };
        (Callbacks(sender), responders)
    }

    /// Whether nothing waits for an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.questions.is_empty() && self.asking.is_empty()
    }

    /// Asks and answers until something was done. Cancel-safe: what is under way stays here.
    pub(super) async fn work(&mut self) {
        tokio::select! {
            Some(question) = self.questions.recv() => self.put(question),
            Some(()) = self.asking.next() => {}
        }
    }

    fn put(&mut self, question: Question) {
        let (broker, metrics) = (self.broker.clone(), self.metrics.clone());
        let subject = format!("{}.card.{}", self.subjects.branch("api"), question.account);
        self.asking.push(Box::pin(async move {
            let left = DEADLINE.saturating_sub(question.received.elapsed());
            let answer = broker.ask(subject, question.body, left.min(PATIENCE)).await;
            let ack = match answer.as_deref().map(serde_json::from_slice::<CardReply>) {
                None => Ack::Done,
                Some(Ok(reply)) => Ack::Card(reply),
                Some(Err(error)) => {
                    warn!(dingtalk.account = %question.account, %error, "the responder to card actions says what is no card reply, the card stays as it is");
                    Ack::Done
                }
            };
            debug!(dingtalk.account = %question.account, changed = ack != Ack::Done, "card action answered");
            if question.ticket.answer(ack) {
                metrics.acked(question.received.elapsed());
            } else {
                metrics.ack_lost(&question.account);
            }
        }));
    }
}
