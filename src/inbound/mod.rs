//! One frame from socket to ack: admit, store, answer.
//!
//! [`Inbound::run`] is the loop. What one frame goes through is in `journey`, what a result means
//! for its answer in `verdict`, what it becomes in `admit`. It never meets the outbound side.

mod admit;
mod claim;
mod dead;
mod drain;
mod flight;
mod gate;
mod journey;
mod known;
mod media;
mod record;
mod rehearsal;
mod responder;
mod sessions;
mod status;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::warn;

use self::admit::Admitter;
use self::claim::Claims;
use self::drain::Drain;
use self::journey::{Flights, Route};
pub use self::media::MediaFetch;
pub use self::rehearsal::Rehearsal;
use self::responder::Responders;
pub use self::sessions::SessionWriter;
pub use self::status::report_links;
use crate::broker::{Broker, Publisher};
use crate::config::{self, AckMode, Inbound as Budgets, Policy};
use crate::dingtalk::api::{Apis, Fetcher};
use crate::dingtalk::stream::Delivery;
use crate::message::{AccountName, Subjects};
use crate::spool::Spool;
use crate::telemetry::{CardChats, Health, Metrics, PartState};

/// Publishes without a PubAck at a time: 57 k frames/s at 64 and 82 k at 256 were measured; the
/// wider the window, the longer each frame waits in it (nats.md, section 6).
const WINDOW: usize = 128;
/// Deliveries between the sockets and the loop; when it is full, sockets are not read.
pub const DELIVERIES: usize = 256;
/// Frames that may wait for the spool; beyond it sockets are not read.
const WAITING: usize = 1024;
/// How often budgets are looked at; they are met within this much.
const TICK: Duration = Duration::from_millis(25);

/// The rules of one account for what comes in.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What is let in.
    pub policy: Policy,
    /// What becomes of media.
    pub media: config::Media,
}

/// The rules of every account; replaced whole when the configuration changes.
pub type Policies = Arc<BTreeMap<AccountName, Rules>>;

/// What the inbound side is built from.
#[derive(Debug)]
pub struct Parts {
    /// Broker.
    pub broker: Broker,
    /// Spool.
    pub spool: Spool,
    /// When a frame is acknowledged.
    pub budgets: Budgets,
    /// Subjects of the installation.
    pub subjects: Subjects,
    /// Deduplication window of the inbound stream.
    pub dedup_window: Duration,
    /// Rules of the accounts.
    pub policies: watch::Receiver<Policies>,
    /// In which chats cards stand.
    pub card_chats: CardChats,
    /// The Open API of the accounts, for download codes.
    pub apis: Apis,
    /// What fetches media.
    pub fetcher: Fetcher,
    /// Counters.
    pub metrics: Metrics,
    /// Health, parts `inbound` and `spool`.
    pub health: Health,
}

/// The inbound side: one task for all accounts, since order is arrival and DingTalk is the slow part.
#[derive(Debug)]
pub struct Inbound {
    admitter: Admitter,
    publisher: Publisher,
    flights: Flights,
    drain: Drain,
    responders: Responders,
    ack: AckMode,
    broker: Broker,
    metrics: Metrics,
    health: Health,
}

impl Inbound {
    /// Builds the loop, and what is to be run beside it: the writer of session webhooks and the
    /// fetching of media.
    pub fn new(parts: Parts) -> (Self, SessionWriter, MediaFetch) {
        let Parts {
            broker,
            spool,
            budgets,
            subjects,
            dedup_window,
            policies,
            card_chats,
            apis,
            fetcher,
            metrics,
            health,
        } = parts;
        let (errands, fetch) = media::channel(media::Parts {
            broker: broker.clone(),
            subjects: subjects.clone(),
            apis,
            fetcher,
            policies: policies.clone(),
            metrics: metrics.clone(),
            most: budgets.media_max_bytes,
        });
        let (sessions, writer) = sessions::channel(&broker);
        let (callbacks, responders) =
            Responders::new(broker.clone(), subjects.clone(), metrics.clone());
        let ack = budgets.ack;
        let claims = Claims {
            broker: broker.clone(),
            subjects: subjects.clone(),
        };
        let wake_drain = Arc::new(Notify::new());
        let inbound = Self {
            admitter: Admitter::new(
                subjects,
                policies,
                (sessions, callbacks, card_chats),
                metrics.clone(),
            ),
            publisher: broker.publisher(WINDOW),
            drain: Drain {
                broker: broker.clone(),
                claims,
                spool: spool.clone(),
                wake: Arc::clone(&wake_drain),
                dedup_window,
                errands: errands.clone(),
                metrics: metrics.clone(),
            },
            flights: Flights::new(journey::Parts {
                spool,
                wake_drain,
                errands,
                budgets,
                metrics: metrics.clone(),
                health: health.clone(),
            }),
            responders,
            ack,
            broker,
            metrics,
            health,
        };
        (inbound, writer, fetch)
    }

    /// Runs until every sender of `deliveries` is gone and every frame has been answered or given
    /// back to DingTalk. What the spool still holds stays there for the next life.
    pub async fn run(mut self, mut deliveries: mpsc::Receiver<Delivery>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(WINDOW);
        let mut open = true;
        let drain = self.drain.clone().run();
        tokio::pin!(drain);
        self.health.part("inbound", PartState::Up);
        self.choose_route();
        while open || !self.flights.is_empty() || !self.responders.is_empty() {
            let room = if open { self.room() } else { 0 };
            tokio::select! {
                biased;
                settled = self.publisher.settled() => self.flights.settle(settled, &mut self.publisher),
                appended = self.flights.appended() => self.flights.finish_append(appended),
                taken = deliveries.recv_many(&mut batch, room), if room > 0 => {
                    open = taken > 0;
                    self.take(&mut batch).await;
                }
                () = self.responders.work() => {}
                _ = tick.tick() => self.look_at_budgets(),
                never = &mut drain => match never {},
            }
            self.send_waiting().await;
            self.flights.start_append();
        }
        self.health
            .part("inbound", PartState::Down("stopped".to_owned()));
    }

    /// How many frames the loop can take now: behind a full window the sockets wait, and so they do
    /// behind what still waits for the window.
    fn room(&self) -> usize {
        match self.flights.route() {
            Route::Broker if self.flights.waiting() > 0 => 0,
            Route::Broker => WINDOW.saturating_sub(self.flights.departed()),
            Route::Spool => WAITING.saturating_sub(self.flights.waiting()).min(WINDOW),
        }
    }

    async fn take(&mut self, batch: &mut Vec<Delivery>) {
        let largest = self.broker.max_payload();
        for delivery in batch.drain(..) {
            self.metrics.frame_received(&delivery.account);
            let Some(mut flight) = self.admitter.admit(delivery) else {
                continue;
            };
            failpoint!("frame.admitted");
            if self.ack == AckMode::Received {
                flight.acknowledge(&self.metrics);
            }
            // The spool takes any size; its drain puts large bodies into the object store. The drain
            // publishes on a connection of its own, so everything before goes the same way.
            if self.ack == AckMode::Journal || flight.message.size() > largest {
                self.flights.divert(&mut self.publisher);
            }
            match self.flights.route() {
                Route::Spool => self.flights.wait_for_spool(flight),
                Route::Broker => {
                    let (token, message) = self.flights.depart(flight);
                    self.publisher.publish(token, message).await;
                    failpoint!("frame.published");
                }
            }
        }
    }

    fn look_at_budgets(&mut self) {
        let now = Instant::now();
        if self.flights.needs_spool(now) {
            warn!(
                frames = self.flights.departed(),
                "the broker is slow, the spool takes over"
            );
            self.flights.divert(&mut self.publisher);
            self.publisher.reconnect();
        }
        self.flights.refuse_past_hard_budget(now);
        self.choose_route();
    }

    /// A spool that takes nothing must not keep from the broker what the broker would take.
    async fn send_waiting(&mut self) {
        while self.flights.route() == Route::Broker && self.flights.departed() < WINDOW {
            let Some(flight) = self.flights.next_waiting() else {
                break;
            };
            let (token, message) = self.flights.depart(flight);
            self.publisher.publish(token, message).await;
        }
    }

    /// Takes the route to the broker once the spool is empty and nothing is on its way into it, so
    /// that order holds across the change.
    fn choose_route(&mut self) {
        match self.flights.route() {
            Route::Spool if self.ack != AckMode::Journal => {
                if self.flights.may_go_direct(&self.broker) {
                    self.flights.set_route(Route::Broker);
                }
            }
            Route::Broker if self.ack == AckMode::Journal => self.flights.set_route(Route::Spool),
            Route::Spool | Route::Broker => {}
        }
    }
}
