//! The windowed publisher: many messages in flight, stored in the order they were given, sent again
//! under the same ids whatever a broken connection may have lost. It knows no stream by name.
//!
//! It owns a connection that lives once (see [`super::connection`]): when the socket breaks,
//! nothing of it can reach the broker any more, so that everything in flight goes out again on the
//! next one in the old order, and `Nats-Msg-Id` folds what had been stored. After each connection
//! the first message goes alone; the others follow its PubAck, as a broker that has just come up
//! refuses everything for a moment and would take a later message before an earlier one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::client::PublishErrorKind;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use super::connection::reconnect_delay;
use super::error::{BrokerError, NOT_SENT};
use super::hub::Hub;
use super::line::{Open, Opening, slot_of};
use super::outgoing::{Outgoing, Stored, read_puback};

/// How long a PubAck may take, counted from the send, before the connection is given up as dead.
const ACK_DEADLINE: Duration = Duration::from_secs(5);
/// How often deadlines are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Shortest pause before messages go out again that JetStream would not take for the moment.
const HOLD: Duration = Duration::from_millis(100);
/// How often a standing refusal is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(15);
/// A connection that held this long was a good one: the next is opened at once.
const GOOD_LIFE: Duration = Duration::from_secs(1);

/// How one publish ended.
#[derive(Debug)]
pub struct Settled {
    /// The caller's own number.
    pub token: u64,
    /// PubAck, or JetStream's refusal.
    pub result: Result<Stored, BrokerError>,
    /// The message, given back.
    pub message: Outgoing,
}

/// Publishes in order with a bounded number of messages in flight, and sends again under the same
/// id whatever a broken connection may have lost. Owned by one task, which keeps polling
/// [`Publisher::settled`]: the connection is made there.
pub struct Publisher {
    hub: Arc<Hub>,
    window: usize,
    /// In order of publishing; slots ascend.
    flights: VecDeque<Flight>,
    /// How many of the flights, from the front, went out on the present connection.
    sent: usize,
    finished: VecDeque<Settled>,
    line: Line,
    attempts: usize,
    next_slot: u64,
    /// The present connection has brought a PubAck.
    proven: bool,
    /// Nothing goes out before.
    hold_until: Option<Instant>,
    complained_at: Option<Instant>,
    watch: Interval,
}

/// A message until it settles.
#[derive(Debug)]
struct Flight {
    token: u64,
    slot: u64,
    message: Outgoing,
    sent_at: Instant,
}

enum Line {
    Down { retry_at: Instant },
    Opening(Opening),
    Up(Open),
}

enum Happened {
    Retry,
    Opened(Result<Open, BrokerError>),
    Answer(Message),
    Ended,
    Tick,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("window", &self.window)
            .field("in_flight", &self.flights.len())
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.hub.window.closed(self.flights.len());
    }
}

impl Publisher {
    pub(super) fn new(hub: Arc<Hub>, window: usize) -> Self {
        let mut watch = interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let window = window.max(1);
        Self {
            hub,
            window,
            flights: VecDeque::with_capacity(window),
            sent: 0,
            finished: VecDeque::new(),
            line: Line::Down {
                retry_at: Instant::now(),
            },
            attempts: 0,
            next_slot: 0,
            proven: false,
            hold_until: None,
            complained_at: None,
            watch,
        }
    }

    /// Whether another message may be published.
    pub fn has_room(&self) -> bool {
        self.in_flight() < self.window
    }

    /// Messages in flight: those that [`Publisher::settled`] has not brought back yet.
    pub fn in_flight(&self) -> usize {
        self.flights.len() + self.finished.len()
    }

    /// Sends `message` and keeps it until it settles; while the broker is away it is kept and sent
    /// on reconnection, in order. Never waits for an acknowledgement. Once polled, the message is
    /// the publisher's, whether or not the future is polled to its end.
    pub async fn publish(&mut self, token: u64, message: Outgoing) {
        let slot = self.next_slot;
        self.next_slot += 1;
        self.hub.window.opened();
        self.flights.push_back(Flight {
            token,
            slot,
            message,
            sent_at: Instant::now(),
        });
        self.send().await;
    }

    /// The next message that settled; pending while none does. Makes the connection, notices its
    /// end and sends everything in flight again, in order. What JetStream does not take for the
    /// moment (starting up, overrun, electing a leader) stays in flight and is sent again, with all
    /// that follows it. Cancel-safe.
    pub async fn settled(&mut self) -> Settled {
        loop {
            // First, as it may settle what cannot be sent at all.
            self.send().await;
            if let Some(settled) = self.settled_already() {
                return settled;
            }
            match self.happening().await {
                Happened::Retry => self.open(),
                Happened::Opened(Ok(open)) => {
                    info!(
                        nats.in_flight = self.flights.len(),
                        "publishing connection opened"
                    );
                    self.line = Line::Up(open);
                }
                Happened::Opened(Err(error)) => {
                    self.complain("publishing connection not opened", &error);
                }
                Happened::Answer(message) => {
                    self.answered(&message);
                    self.answered_already();
                }
                Happened::Ended => self.lose("the socket closed"),
                Happened::Tick => self.check_deadline(),
            }
        }
    }

    /// A message that settled before, without waiting and without doing anything for the others.
    pub fn settled_already(&mut self) -> Option<Settled> {
        self.finished.pop_front()
    }

    /// Gives up an open connection on which nothing comes back, without waiting for its deadline:
    /// what is in flight goes out again on the next one. For a caller that forgets messages before
    /// their deadline, and so would never reach it.
    pub fn reconnect(&mut self) {
        if matches!(self.line, Line::Up(_)) {
            self.lose("no acknowledgement for too long");
        }
    }

    /// Forgets a message that the caller put elsewhere; it may still turn out to be stored. `None`
    /// when it has settled: [`Publisher::settled_already`] has it.
    pub fn forget(&mut self, token: u64) -> Option<Outgoing> {
        let at = self
            .flights
            .iter()
            .position(|flight| flight.token == token)?;
        self.take(at).map(|flight| flight.message)
    }

    /// Hands everything that may go out to the connection. Cancel-safe: a message counts as sent
    /// when the connection has it, and the connection takes it whole or not at all.
    async fn send(&mut self) {
        if self.hold_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.hold_until = None;
        while self.sent < self.flights.len() && (self.proven || self.sent == 0) {
            let Line::Up(open) = &self.line else { return };
            let Some(flight) = self.flights.get_mut(self.sent) else {
                return;
            };
            let headers = match flight.message.wire_headers() {
                Ok(headers) => headers,
                Err(error) => {
                    self.settle(self.sent, Err(error));
                    continue;
                }
            };
            match open.send(flight.slot, &flight.message, headers).await {
                Ok(()) => {
                    flight.sent_at = Instant::now();
                    self.sent += 1;
                }
                Err(error) if error.kind() == PublishErrorKind::Send => {
                    self.lose("the connection ended");
                    return;
                }
                Err(error) => {
                    let description = error.to_string();
                    let code = NOT_SENT;
                    self.settle(self.sent, Err(BrokerError::Refused { code, description }));
                }
            }
        }
    }

    /// Waits for one thing. Cancel-safe: each arm is, and an opened connection is kept by the
    /// caller without another await.
    async fn happening(&mut self) -> Happened {
        match &mut self.line {
            Line::Down { retry_at } => {
                sleep_until(*retry_at).await;
                Happened::Retry
            }
            Line::Opening(opening) => Happened::Opened(opening.await),
            Line::Up(open) => tokio::select! {
                biased;
                answer = open.answer() => answer.map_or(Happened::Ended, Happened::Answer),
                _ = self.watch.tick() => Happened::Tick,
            },
        }
    }

    fn open(&mut self) {
        let opening = Open::open(Arc::clone(&self.hub), self.attempts, self.window);
        self.attempts += 1;
        self.line = Line::Opening(Box::pin(opening));
    }

    /// Takes what else has come in, without waiting.
    fn answered_already(&mut self) {
        while self.finished.len() < self.window {
            let Line::Up(open) = &mut self.line else {
                return;
            };
            // The end of the connection is seen again by the next wait.
            let Some(message) = open.answer_now() else {
                return;
            };
            self.answered(&message);
        }
    }

    fn answered(&mut self, message: &Message) {
        let Some(slot) = slot_of(message) else {
            return;
        };
        // Settled by an answer to another sending, or forgotten.
        let Ok(at) = self
            .flights
            .binary_search_by_key(&slot, |flight| flight.slot)
        else {
            return;
        };
        match read_puback(message) {
            Ok(stored) => {
                self.proven = true;
                self.attempts = 0;
                self.complained_at = None;
                self.settle(at, Ok(stored));
            }
            Err(error @ BrokerError::Away(_)) => {
                self.complain("jetstream takes no messages for the moment", &error);
                self.hold();
            }
            Err(error) => {
                self.proven = true;
                self.settle(at, Err(error));
            }
        }
    }

    /// Everything that is in flight goes out again after a pause.
    fn hold(&mut self) {
        self.sent = 0;
        self.proven = false;
        self.hold_until = Some(Instant::now() + HOLD.mul_f64(1.0 + fastrand::f64()));
    }

    fn check_deadline(&mut self) {
        let late = |flight: &Flight| flight.sent_at.elapsed() > ACK_DEADLINE;
        if self.sent > 0 && self.flights.front().is_some_and(late) {
            self.lose("no acknowledgement in time");
        }
    }

    /// Gives the connection up; whatever it held never reaches the broker.
    fn lose(&mut self, reason: &'static str) {
        let good = matches!(&self.line, Line::Up(open) if open.since().elapsed() > GOOD_LIFE);
        let pause = if good {
            Duration::ZERO
        } else {
            reconnect_delay(2)
        };
        warn!(
            reason,
            nats.in_flight = self.flights.len(),
            "publishing connection lost"
        );
        self.down(pause);
    }

    fn down(&mut self, pause: Duration) {
        self.line = Line::Down {
            retry_at: Instant::now() + pause,
        };
        self.sent = 0;
        self.proven = false;
        self.hold_until = None;
    }

    /// Logs a standing trouble now and then, and closes a connection that did not open.
    fn complain(&mut self, phrase: &'static str, error: &BrokerError) {
        if !matches!(self.line, Line::Up(_)) {
            self.down(reconnect_delay(2));
        }
        let now = Instant::now();
        let due = |at: Instant| now.duration_since(at) >= COMPLAINT_INTERVAL;
        if self.complained_at.is_none_or(due) {
            self.complained_at = Some(now);
            warn!(error = %error, nats.in_flight = self.flights.len(), "{phrase}");
        }
    }

    fn settle(&mut self, at: usize, result: Result<Stored, BrokerError>) {
        if let Some(flight) = self.take(at) {
            self.finished.push_back(Settled {
                token: flight.token,
                result,
                message: flight.message,
            });
        }
    }

    fn take(&mut self, at: usize) -> Option<Flight> {
        let flight = self.flights.remove(at)?;
        if at < self.sent {
            self.sent -= 1;
        }
        self.hub.window.closed(1);
        Some(flight)
    }
}
