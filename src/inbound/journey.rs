//! Where each frame is on its way: in the publish window, waiting for the spool, or answered.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::flight::Flight;
use super::media::Errands;
use super::record;
use super::verdict::{Verdict, after_append, after_publish};
use crate::broker::{Broker, BrokerError, Outgoing, Publisher, Settled};
use crate::config::Inbound as Budgets;
use crate::spool::{Spool, SpoolError};
use crate::telemetry::{FrameOutcome, Health, Metrics, PartState};

/// Records written to the spool with one fsync.
const APPEND: usize = 256;
/// How long a spool that took nothing is left alone.
const SPOOL_REST: Duration = Duration::from_millis(500);

/// Which way new frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Straight to the broker.
    Broker,
    /// Into the spool, from where they follow in order.
    Spool,
}

type Append = Pin<Box<dyn Future<Output = Result<(), SpoolError>> + Send>>;

/// All frames between socket and answer, in order of arrival.
pub(super) struct Flights {
    route: Route,
    /// In the publish window; the publisher keeps their messages.
    departed: VecDeque<(u64, Flight)>,
    /// For the spool; older than everything that arrives later, younger than what is appending.
    waiting: VecDeque<Flight>,
    /// Being written to the spool.
    appending: Vec<Flight>,
    append: Option<Append>,
    /// Most records of the next write; halved while the spool has no room for a whole batch.
    batch: usize,
    /// When the spool took nothing; it is asked again after [`SPOOL_REST`].
    spool_failed: Option<Instant>,
    /// When a spool that is down on the health board is asked again whether it is well.
    probe_at: Option<Instant>,
    /// When the broker last refused a frame: left alone for [`SPOOL_REST`] as well.
    refused_at: Option<Instant>,
    /// Since when the broker has had a chance: what waited for the spool until then is not late for it.
    offered_at: Instant,
    next_token: u64,
    wake_drain: Arc<Notify>,
    errands: Errands,
    spool: Spool,
    budgets: Budgets,
    metrics: Metrics,
    health: Health,
}

/// What flights are built from.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) spool: Spool,
    pub(super) wake_drain: Arc<Notify>,
    pub(super) errands: Errands,
    pub(super) budgets: Budgets,
    pub(super) metrics: Metrics,
    pub(super) health: Health,
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("route", &self.route)
            .field("departed", &self.departed.len())
            .field("waiting", &self.waiting.len())
            .field("appending", &self.appending.len())
            .finish_non_exhaustive()
    }
}

impl Flights {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            spool,
            wake_drain,
            errands,
            budgets,
            metrics,
            health,
        } = parts;
        let route = if spool.depth().records == 0 {
            Route::Broker
        } else {
            Route::Spool
        };
        health.part("spool", PartState::Up);
        Self {
            route,
            departed: VecDeque::new(),
            waiting: VecDeque::new(),
            appending: Vec::new(),
            append: None,
            batch: APPEND,
            spool_failed: None,
            probe_at: None,
            refused_at: None,
            offered_at: Instant::now(),
            next_token: 0,
            wake_drain,
            errands,
            spool,
            budgets,
            metrics,
            health,
        }
    }

    pub(super) fn route(&self) -> Route {
        self.route
    }

    pub(super) fn set_route(&mut self, route: Route) {
        if self.route != route {
            self.route = route;
            self.offered_at = Instant::now();
            info!(route = ?route, spool.records = self.spool.depth().records, "frames take another route");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.departed.is_empty() && self.waiting.is_empty() && self.appending.is_empty()
    }

    /// Frames in the publish window.
    pub(super) fn departed(&self) -> usize {
        self.departed.len()
    }

    /// Frames that wait for the spool.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn spool_holds(&self) -> bool {
        self.spool.depth().records > 0
    }

    /// Whether nothing that is spooled or about to be could be overtaken.
    pub(super) fn may_go_direct(&self, broker: &Broker) -> bool {
        let nothing_ahead = self.append.is_none() && !self.spool_holds();
        let instead_of_spool =
            || self.spool_rests() && !rests(self.refused_at) && broker.connected();
        nothing_ahead && (self.waiting.is_empty() || instead_of_spool())
    }

    fn spool_rests(&self) -> bool {
        rests(self.spool_failed)
    }

    /// Puts a flight into the publish window; its token and message are for the publisher.
    pub(super) fn depart(&mut self, mut flight: Flight) -> (u64, Outgoing) {
        let token = self.next_token;
        self.next_token += 1;
        let message = std::mem::replace(
            &mut flight.message,
            Outgoing {
                subject: String::new(),
                headers: Vec::new(),
                payload: Bytes::new(),
            },
        );
        self.departed.push_back((token, flight));
        (token, message)
    }

    /// Ends what the broker answered. What it refused goes to the spool together with everything
    /// behind it.
    pub(super) fn settle(&mut self, settled: Settled, publisher: &mut Publisher) {
        if let Err(refusal) = self.conclude(settled) {
            warn!(error = %refusal, "the broker refused a frame, the spool takes it");
            self.refused_at = Some(Instant::now());
            // What departed behind it must not overtake it.
            self.divert(publisher);
        }
    }

    /// Ends a frame that is stored; one that is not gets its message back and keeps its place.
    fn conclude(&mut self, settled: Settled) -> Result<(), BrokerError> {
        let token = settled.token;
        let departed = &mut self.departed;
        let Ok(at) = departed.binary_search_by_key(&token, |(token, _)| *token) else {
            return Ok(());
        };
        match after_publish(&settled.result) {
            Verdict::Acknowledge(outcome) => {
                if let Some((_, mut flight)) = departed.remove(at) {
                    failpoint!("frame.stored");
                    flight.acknowledge(&self.metrics);
                    failpoint!("frame.acked");
                    flight.end(outcome, &self.metrics);
                    self.errands.send(flight.media);
                }
            }
            Verdict::Spool | Verdict::Hold => {
                if let Some((_, flight)) = departed.get_mut(at) {
                    flight.message = settled.message;
                }
            }
        }
        settled.result.map(drop)
    }

    /// Whether the oldest frame in the window has used up the soft budget. What a spool had kept waiting
    /// that takes nothing gets the budget anew, or a broker that has just come back would lose its
    /// connection over frames that it was given a moment ago, again and again.
    pub(super) fn needs_spool(&self, now: Instant) -> bool {
        let Some((_, oldest)) = self.departed.front() else {
            return false;
        };
        let since = oldest.received.max(self.offered_at);
        let late = now.saturating_duration_since(since) >= self.budgets.soft_budget;
        late && !self.spool_rests()
    }

    /// Takes the route to the spool, and moves everything in the window there, so that nothing
    /// behind overtakes it. The broker may have it all the same: the spool is drained under the
    /// same ids.
    pub(super) fn divert(&mut self, publisher: &mut Publisher) {
        self.set_route(Route::Spool);
        // What has settled unseen is not the publisher's to forget any more.
        while let Some(settled) = publisher.settled_already() {
            // One refusal of many is logged.
            let _ = self.conclude(settled);
        }
        for (token, mut flight) in std::mem::take(&mut self.departed).into_iter().rev() {
            if let Some(message) = publisher.forget(token) {
                flight.message = message;
            }
            self.waiting.push_front(flight);
        }
    }

    /// Queues a flight for the spool.
    pub(super) fn wait_for_spool(&mut self, flight: Flight) {
        self.waiting.push_back(flight);
    }

    /// Takes the oldest flight that waits, for the broker.
    pub(super) fn next_waiting(&mut self) -> Option<Flight> {
        let flight = self.waiting.pop_front()?;
        self.offered_at = Instant::now();
        Some(flight)
    }

    /// Begins to write what waits, unless a write is under way.
    pub(super) fn start_append(&mut self) {
        if self.append.is_some() || self.spool_rests() {
            return;
        }
        if self.waiting.is_empty() || self.route == Route::Broker {
            return self.start_probe();
        }
        failpoint!("spool.append");
        let count = self.waiting.len().min(self.batch);
        self.appending.extend(self.waiting.drain(..count));
        let records = self
            .appending
            .iter()
            .map(|flight| record::encode(&flight.message))
            .collect();
        let spool = self.spool.clone();
        self.append = Some(Box::pin(async move { spool.append(records).await }));
    }

    /// Asks a spool that failed, and that nothing wants to be written to, whether it is well again.
    fn start_probe(&mut self) {
        if self.probe_at.is_some_and(|at| at <= Instant::now()) {
            let spool = self.spool.clone();
            self.append = Some(Box::pin(async move { spool.probe().await }));
        }
    }

    /// The result of the write under way; pending while there is none. Cancel-safe.
    pub(super) async fn appended(&mut self) -> Result<(), SpoolError> {
        match &mut self.append {
            Some(append) => append.await,
            None => pending().await,
        }
    }

    /// Ends what the spool took; what it refused waits for the next try or for its hard budget.
    pub(super) fn finish_append(&mut self, result: Result<(), SpoolError>) {
        self.append = None;
        let count = self.appending.len();
        if count == 0 {
            return self.judge_spool(&result);
        }
        match after_append(&result) {
            Verdict::Acknowledge(outcome) => {
                self.batch = APPEND;
                failpoint!("spool.durable");
                for mut flight in self.appending.drain(..) {
                    flight.acknowledge(&self.metrics);
                    flight.end(outcome, &self.metrics);
                }
            }
            Verdict::Spool | Verdict::Hold => {
                for flight in self.appending.drain(..).rev() {
                    self.waiting.push_front(flight);
                }
            }
        }
        let depth = self.spool.depth();
        self.metrics.spool_depth(depth.records, depth.bytes);
        if result.is_err() && count > 1 {
            // What is too much together may fit one by one.
            self.batch = count / 2;
            return;
        }
        self.spool_failed = result.is_err().then(Instant::now);
        self.wake_drain.notify_one();
        self.judge_spool(&result);
    }

    fn judge_spool(&mut self, result: &Result<(), SpoolError>) {
        let state = match result {
            Ok(()) => PartState::Up,
            Err(refusal) => PartState::Down(refusal.to_string()),
        };
        self.probe_at = result.is_err().then(|| Instant::now() + SPOOL_REST);
        if self.health.part("spool", state)
            && let Err(refusal) = result
        {
            error!(error = %refusal, "the spool takes nothing, acknowledgements are withheld");
        }
    }

    /// Gives back to DingTalk what is neither stored nor spooled in time. What was acknowledged on
    /// receipt cannot be given back: it is kept until somebody takes it.
    pub(super) fn refuse_past_hard_budget(&mut self, now: Instant) {
        let budget = self.budgets.hard_budget;
        let metrics = &self.metrics;
        let mut refuse = |flight: &mut Flight| {
            let late = now.duration_since(flight.received) >= budget;
            if late && flight.ticket.is_some() {
                flight.refuse(metrics);
            }
        };
        self.waiting.iter_mut().for_each(&mut refuse);
        self.appending.iter_mut().for_each(&mut refuse);
        let departed = self.departed.iter_mut();
        departed.for_each(|(_, flight)| refuse(flight));
        // It comes again, so it need not wait here any longer.
        self.waiting
            .retain(|flight| flight.ended != Some(FrameOutcome::Refused));
    }
}

fn rests(since: Option<Instant>) -> bool {
    since.is_some_and(|since| since.elapsed() < SPOOL_REST)
}
