//! The messages of one durable consumer in stream order, whatever happens to the broker, to the
//! connection and to the bridge that was pinned before. It knows no message's meaning.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::connection::reconnect_delay;
use super::consumer::{Plan, open, undeliverable, unpin};
use super::error::BrokerError;
use super::hub::{Connects, Hub};
use super::illegible::Raw;
use super::incoming::{Incoming, Outstanding, pin_of};
use super::takeover::{Takeover, Turn};
use crate::message::AccountName;

/// How often a standing trouble is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(15);
/// How often it is looked whether the connection broke under the open stream, which survives that.
const LOOK: Duration = Duration::from_secs(1);
/// How long the consumer stays closed while something that cannot be delivered is being ended.
const ENDING: Duration = Duration::from_millis(250);
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Messages of one durable consumer, in stream order.
///
/// The stream is opened anew after any error, a missed heartbeat or the loss of the consumer, which
/// is created again when it is gone.
pub struct Feed {
    hub: Arc<Hub>,
    plan: Plan,
    source: Source,
    ready: VecDeque<Incoming>,
    outstanding: Outstanding,
    /// The last pin that this feed held.
    pin: Option<String>,
    /// Consumer sequence of the last delivery under that pin: the next one follows it, or some went
    /// astray.
    last_delivery: u64,
    /// Connections made when the consumer was opened last.
    connects: Option<Connects>,
    complained_at: Option<Instant>,
}

enum Source {
    Closed {
        retry_at: Instant,
    },
    Opening(Boxed<Result<Opened, BrokerError>>),
    Open {
        stream: Box<pull::Stream>,
        takeover: Option<Box<Takeover>>,
        look_at: Instant,
    },
}

/// What opening came to.
enum Opened {
    Stream(Box<pull::Stream>, Connects),
    /// Messages that would break the connection again: they are ended before anything is pulled.
    Undeliverable(Vec<Raw>),
}

enum Happened {
    Retry,
    Opened(Result<Opened, BrokerError>),
    Delivered(Result<Box<jetstream::Message>, String>),
    Turned(Turn),
    Look,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("consumer", &self.plan.durable)
            .finish_non_exhaustive()
    }
}

impl Feed {
    pub(super) fn account(hub: Arc<Hub>, account: &AccountName) -> Self {
        let plan = Plan::account(&hub.names, account);
        Self::new(hub, plan)
    }

    pub(super) fn due(hub: Arc<Hub>) -> Self {
        let plan = Plan::due(&hub.names);
        Self::new(hub, plan)
    }

    pub(super) fn bare(hub: Arc<Hub>) -> Self {
        let plan = Plan::bare(&hub.names);
        Self::new(hub, plan)
    }

    fn new(hub: Arc<Hub>, plan: Plan) -> Self {
        Self {
            hub,
            plan,
            source: Source::Closed {
                retry_at: Instant::now(),
            },
            ready: VecDeque::new(),
            outstanding: Outstanding::default(),
            pin: None,
            last_delivery: 0,
            connects: None,
            complained_at: None,
        }
    }

    /// The next request; pending while there is none or while another bridge is pinned. After a
    /// takeover, or when deliveries went astray, the redelivered ones come first, sorted by sequence.
    /// One that this process still holds is not given out again. Cancel-safe.
    pub async fn next(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.ready.pop_front() {
                return incoming;
            }
            match self.happening().await {
                Happened::Retry => self.open(),
                Happened::Opened(Ok(Opened::Stream(stream, connects))) => {
                    self.opened(stream, connects);
                }
                Happened::Opened(Ok(Opened::Undeliverable(found))) => self.fetched(found),
                Happened::Opened(Err(error)) => self.reopen(&error.to_string()),
                Happened::Delivered(Ok(message)) => self.delivered(&message),
                Happened::Delivered(Err(error)) => self.reopen(&error),
                Happened::Turned(turn) => self.turned(turn),
                Happened::Look => self.look(),
            }
        }
    }

    /// The pin that the last request came under; it may have moved since.
    pub fn pin(&self) -> Option<&str> {
        self.pin.as_deref()
    }

    /// Whether more is there to be given out, as after a takeover.
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Lets another bridge take over at once, instead of after 5 s of silence. What was not given
    /// out goes with it.
    pub async fn close(mut self) {
        let pinned = self.pin.take();
        let mut kept: Vec<Incoming> = self.ready.drain(..).collect();
        // Stops the pulls, so that the pin does not come back here.
        if let Source::Open {
            takeover: Some(takeover),
            ..
        } = std::mem::replace(
            &mut self.source,
            Source::Closed {
                retry_at: Instant::now(),
            },
        ) {
            kept.extend(takeover.into_held().into_values());
        }
        if let Some(pin) = pinned {
            unpin(&self.hub, &self.plan, &pin).await;
        }
        // Not before: they would come back here.
        for incoming in kept {
            incoming.release().await;
        }
    }

    /// Waits for one thing. Cancel-safe: each arm is, and what an arm brings is kept by the caller
    /// without another await.
    async fn happening(&mut self) -> Happened {
        match &mut self.source {
            Source::Closed { retry_at } => {
                sleep_until(*retry_at).await;
                Happened::Retry
            }
            Source::Opening(opening) => Happened::Opened(opening.await),
            Source::Open {
                stream,
                takeover,
                look_at,
            } => tokio::select! {
                biased;
                next = stream.next() => Happened::Delivered(match next {
                    Some(Ok(message)) => Ok(Box::new(message)),
                    Some(Err(error)) => Err(error.to_string()),
                    None => Err("the stream of messages ended".to_owned()),
                }),
                happened = turn(takeover) => happened,
                () = sleep_until(*look_at) => Happened::Look,
            },
        }
    }

    fn open(&mut self) {
        let (hub, plan, pin) = (Arc::clone(&self.hub), self.plan.clone(), self.pin.clone());
        let now = hub.connects();
        let before = self.connects.unwrap_or(now);
        let suspicious = now.consuming_alone_since(before);
        self.source = Source::Opening(Box::pin(async move {
            if suspicious {
                let found = undeliverable(Arc::clone(&hub), &plan).await?;
                if !found.is_empty() {
                    return Ok(Opened::Undeliverable(found));
                }
            }
            let stream = open(hub, plan, pin).await?;
            Ok(Opened::Stream(stream, now))
        }));
    }

    fn opened(&mut self, stream: Box<pull::Stream>, connects: Connects) {
        debug!(nats.consumer = %self.plan.durable, "consumer opened");
        self.connects = Some(connects);
        self.source = Source::Open {
            stream,
            takeover: None,
            look_at: Instant::now() + LOOK,
        };
    }

    /// A connection that breaks by itself may have been broken by what it was given.
    fn look(&mut self) {
        let now = self.hub.connects();
        let before = self.connects.unwrap_or(now);
        if now.consuming_alone_since(before) {
            self.reopen("the connection broke by itself");
        } else if let Source::Open { look_at, .. } = &mut self.source {
            *look_at = Instant::now() + LOOK;
        }
    }

    /// Gives out what cannot be delivered, and pulls nothing before that is ended.
    fn fetched(&mut self, found: Vec<Raw>) {
        for raw in found {
            let sequence = raw.sequence;
            if let Some(incoming) = Incoming::fetched(&self.hub, raw, &self.outstanding) {
                warn!(nats.consumer = %self.plan.durable, nats.sequence = sequence, "a request with illegible headers broke the connection, it is refused");
                self.ready.push_back(incoming);
            }
        }
        self.source = Source::Closed {
            retry_at: Instant::now() + ENDING,
        };
    }

    /// Drops the stream and opens another after a moment. What it had delivered and nobody was
    /// given comes again.
    fn reopen(&mut self, reason: &str) {
        let now = Instant::now();
        let due = |at: Instant| now.duration_since(at) >= COMPLAINT_INTERVAL;
        if self.complained_at.is_none_or(due) {
            self.complained_at = Some(now);
            warn!(nats.consumer = %self.plan.durable, reason, "consumer is opened anew");
        }
        self.source = Source::Closed {
            retry_at: now + reconnect_delay(2),
        };
    }

    fn delivered(&mut self, message: &jetstream::Message) {
        let Ok(details) = message.info() else { return };
        let follows = details.consumer_sequence == self.last_delivery + 1;
        self.last_delivery = details.consumer_sequence;
        let pin = pin_of(message.headers.as_ref());
        if pin.is_some() && pin != self.pin.as_deref() {
            info!(nats.consumer = %self.plan.durable, "consumer pinned to this bridge");
            self.pin = pin.map(str::to_owned);
            self.complained_at = None;
            self.collect();
        } else if !follows {
            info!(nats.consumer = %self.plan.durable, nats.sequence = details.stream_sequence, "deliveries went astray, what follows is held until they come again");
            self.collect();
        }
        let Some(incoming) = Incoming::take(&self.hub, message, &details, &self.outstanding) else {
            return;
        };
        match &mut self.source {
            Source::Open {
                takeover: Some(takeover),
                ..
            } => {
                takeover.hold(incoming);
                self.give_out_when_whole();
            }
            _ => self.ready.push_back(incoming),
        }
    }

    /// From here on deliveries are held until everything that is delivered is here. What a takeover
    /// holds already goes on in the new one: the broker's last answer to it is too old.
    fn collect(&mut self) {
        if let Source::Open { takeover, .. } = &mut self.source {
            let held = takeover.take().map(|begun| begun.into_held());
            *takeover = Some(Box::new(Takeover::new(held.unwrap_or_default())));
        }
    }

    fn turned(&mut self, turn: Turn) {
        let Source::Open {
            takeover: Some(takeover),
            ..
        } = &mut self.source
        else {
            return;
        };
        match turn {
            Turn::Ask => takeover.ask(&self.hub, &self.plan),
            Turn::Answered(answer) => {
                takeover.answered(answer);
                self.give_out_when_whole();
            }
        }
    }

    /// Ends the takeover once everything that the predecessor held is here, or patience is over.
    fn give_out_when_whole(&mut self) {
        let Source::Open { takeover, .. } = &mut self.source else {
            return;
        };
        let Some(begun) = takeover else { return };
        if !begun.is_whole(&self.outstanding) {
            if !begun.is_over() {
                return;
            }
            warn!(nats.consumer = %self.plan.durable, "takeover did not see every message of its predecessor");
        }
        if let Some(done) = takeover.take() {
            self.ready.extend(done.into_held().into_values());
        }
    }
}

/// The next step of a takeover; pending when there is none. Cancel-safe.
async fn turn(takeover: &mut Option<Box<Takeover>>) -> Happened {
    match takeover {
        Some(takeover) => Happened::Turned(takeover.turn().await),
        None => std::future::pending().await,
    }
}
