//! The messages of one durable consumer in stream order, whatever happens to the broker, to the
//! connection and to the bridge that was pinned before. It knows no message's meaning.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, PriorityPolicy, pull};
use async_nats::jetstream::{self};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::connection::reconnect_delay;
use super::error::{BrokerError, NO_CONSUMER, NO_STREAM};
use super::hub::Hub;
use super::incoming::{ACK_WAIT, Incoming, Outstanding, pin_of};
use crate::message::AccountName;

/// Group of the consumer to which the bridges belong.
const GROUP: &str = "bridge";
/// Silence after which the pin moves on; above [`ACK_WAIT`], well above [`PULL_EXPIRY`].
const PRIORITY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one pull waits at the broker.
const PULL_EXPIRY: Duration = Duration::from_secs(2);
/// How often an idle pull shows life; two misses and the stream is opened anew.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Unacknowledged messages of one account.
const ACCOUNT_PENDING: i64 = 4096;
/// Unacknowledged messages on the bare subjects.
const BARE_PENDING: i64 = 64;
/// Messages asked for at a time.
const BATCH: usize = 256;
/// How often a standing trouble is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(15);
/// How long a takeover waits for what the predecessor held.
const TAKEOVER_PATIENCE: Duration = ACK_WAIT.saturating_add(Duration::from_secs(1));
/// Pause between two questions during a takeover: the first, and the longest.
const ASK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// How often held messages are kept from being delivered again.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

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
    complained_at: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Plan {
    durable: String,
    filters: Vec<String>,
    pending: i64,
}

enum Source {
    Closed {
        retry_at: Instant,
    },
    Opening(Boxed<Result<pull::Stream, BrokerError>>),
    Open {
        stream: Box<pull::Stream>,
        takeover: Option<Takeover>,
    },
}

/// What is collected under a new pin before anything is given out.
struct Takeover {
    since: Instant,
    held: BTreeMap<u64, Incoming>,
    pending: Option<Pending>,
    asking: Option<Boxed<Result<consumer::Info, BrokerError>>>,
    ask_at: Instant,
    pause: Duration,
    progress_at: Instant,
}

/// What the broker said is delivered and not acknowledged, and up to which sequence.
#[derive(Debug, Clone, Copy)]
struct Pending {
    messages: usize,
    last: u64,
}

enum Happened {
    Retry,
    Opened(Result<pull::Stream, BrokerError>),
    Delivered(Result<jetstream::Message, String>),
    Answered(Result<consumer::Info, BrokerError>),
    AskNow,
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
        let branch = hub.names.subjects.branch("outbound");
        let plan = Plan {
            durable: durable(account),
            filters: vec![format!("{branch}.{account}.*.*")],
            pending: ACCOUNT_PENDING,
        };
        Self::new(hub, plan)
    }

    pub(super) fn bare(hub: Arc<Hub>) -> Self {
        let branch = hub.names.subjects.branch("outbound");
        let plan = Plan {
            durable: "router".to_owned(),
            filters: vec![format!("{branch}.*"), branch],
            pending: BARE_PENDING,
        };
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
            complained_at: None,
        }
    }

    /// The next request; pending while there is none or while another bridge is pinned. After a
    /// takeover the redelivered ones come first, sorted by sequence. One that this process still
    /// holds is not given out again. Cancel-safe.
    pub async fn next(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.ready.pop_front() {
                return incoming;
            }
            match self.happening().await {
                Happened::Retry => self.open(),
                Happened::Opened(Ok(stream)) => self.opened(stream),
                Happened::Opened(Err(error)) => self.reopen(&error.to_string()),
                Happened::Delivered(Ok(message)) => self.delivered(&message),
                Happened::Delivered(Err(error)) => self.reopen(&error),
                Happened::AskNow => self.ask(),
                Happened::Answered(answer) => self.answered(answer),
            }
        }
    }

    /// Lets another bridge take over at once, instead of after 5 s of silence.
    pub async fn close(mut self) {
        let pinned = self.pin.take();
        // Stops the pulls, so that the pin does not come back here.
        self.source = Source::Closed {
            retry_at: Instant::now(),
        };
        if let Some(pin) = pinned {
            unpin(&self.hub, &self.plan.durable, &pin).await;
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
            Source::Open { stream, takeover } => tokio::select! {
                biased;
                next = stream.next() => Happened::Delivered(match next {
                    Some(Ok(message)) => Ok(message),
                    Some(Err(error)) => Err(error.to_string()),
                    None => Err("the stream of messages ended".to_owned()),
                }),
                happened = turn(takeover) => happened,
            },
        }
    }

    fn open(&mut self) {
        let opening = open(Arc::clone(&self.hub), self.plan.clone(), self.pin.clone());
        self.source = Source::Opening(Box::pin(opening));
    }

    fn opened(&mut self, stream: pull::Stream) {
        debug!(nats.consumer = %self.plan.durable, "consumer opened");
        self.source = Source::Open {
            stream: Box::new(stream),
            takeover: None,
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
        let pin = pin_of(message.headers.as_ref());
        if pin.is_some() && pin != self.pin.as_deref() {
            info!(nats.consumer = %self.plan.durable, "consumer pinned to this bridge");
            self.pin = pin.map(str::to_owned);
            self.complained_at = None;
            if let Source::Open { takeover, .. } = &mut self.source {
                let begun = takeover.take();
                *takeover = Some(Takeover::new(begun.map(|begun| begun.held)));
            }
        }
        let Some(incoming) = Incoming::take(&self.hub, message, &self.outstanding) else {
            return;
        };
        match &mut self.source {
            Source::Open {
                takeover: Some(takeover),
                ..
            } => {
                takeover.held.insert(incoming.sequence, incoming);
                self.give_out_when_whole();
            }
            _ => self.ready.push_back(incoming),
        }
    }

    fn ask(&mut self) {
        if let Source::Open {
            takeover: Some(takeover),
            ..
        } = &mut self.source
        {
            let replies = takeover.to_progress();
            let asking = ask(Arc::clone(&self.hub), self.plan.durable.clone(), replies);
            takeover.asking = Some(Box::pin(asking));
        }
    }

    fn answered(&mut self, answer: Result<consumer::Info, BrokerError>) {
        if let Source::Open {
            takeover: Some(takeover),
            ..
        } = &mut self.source
        {
            takeover.asking = None;
            takeover.ask_at = Instant::now() + takeover.pause;
            takeover.pause = (takeover.pause * 2).min(ASK.1);
            // Without an answer the patience decides.
            if let Ok(info) = answer {
                takeover.pending = Some(Pending {
                    messages: info.num_ack_pending,
                    last: info.delivered.stream_sequence,
                });
            }
        }
        self.give_out_when_whole();
    }

    /// Ends the takeover once everything that the predecessor held is here, or patience is over.
    fn give_out_when_whole(&mut self) {
        let Source::Open { takeover, .. } = &mut self.source else {
            return;
        };
        let Some(begun) = takeover else { return };
        let whole = begun
            .pending
            .is_some_and(|pending| self.outstanding.up_to(pending.last) >= pending.messages);
        if !whole {
            if begun.since.elapsed() < TAKEOVER_PATIENCE {
                return;
            }
            warn!(nats.consumer = %self.plan.durable, "takeover did not see every message of its predecessor");
        }
        if let Some(done) = takeover.take() {
            self.ready.extend(done.held.into_values());
        }
    }
}

impl Takeover {
    fn new(held: Option<BTreeMap<u64, Incoming>>) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            held: held.unwrap_or_default(),
            pending: None,
            asking: None,
            ask_at: now,
            pause: ASK.0,
            progress_at: now + PROGRESS_INTERVAL,
        }
    }

    /// Reply subjects of what is held, when their time is to be extended.
    fn to_progress(&mut self) -> Vec<String> {
        let now = Instant::now();
        if now < self.progress_at {
            return Vec::new();
        }
        self.progress_at = now + PROGRESS_INTERVAL;
        self.held.values().map(Incoming::reply).collect()
    }
}

/// The next step of a takeover; pending when there is none. Cancel-safe.
async fn turn(takeover: &mut Option<Takeover>) -> Happened {
    let Some(takeover) = takeover else {
        return std::future::pending().await;
    };
    if let Some(asking) = &mut takeover.asking {
        return Happened::Answered(asking.await);
    }
    sleep_until(takeover.ask_at).await;
    Happened::AskNow
}

async fn ask(
    hub: Arc<Hub>,
    durable: String,
    replies: Vec<String>,
) -> Result<consumer::Info, BrokerError> {
    hub.consuming_ready().await?;
    let client = hub.consuming.client();
    for reply in replies {
        // Lost progress is a redelivery, which is not given out twice.
        let _ = client.publish(reply, "+WPI".into()).await;
    }
    info_of(&hub, &durable).await
}

async fn info_of(hub: &Hub, durable: &str) -> Result<consumer::Info, BrokerError> {
    let stream = hub.names.of("OUTBOUND");
    hub.look(format!("CONSUMER.INFO.{stream}.{durable}")).await
}

async fn open(hub: Arc<Hub>, plan: Plan, pin: Option<String>) -> Result<pull::Stream, BrokerError> {
    hub.consuming_ready().await?;
    let away = |error: &dyn std::fmt::Display| BrokerError::Away(error.to_string());
    let config = pull::Config {
        durable_name: Some(plan.durable.clone()),
        filter_subjects: plan.filters,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: plan.pending,
        priority_policy: PriorityPolicy::PinnedClient,
        priority_groups: vec![GROUP.to_owned()],
        priority_timeout: PRIORITY_TIMEOUT,
        ..pull::Config::default()
    };
    let stream = hub.names.of("OUTBOUND");
    let creating = hub.consuming.create_consumer_on_stream(config, stream);
    let consumer = creating.await.map_err(|error| away(&error))?;
    if let Some(pin) = pin {
        // The pin of the stream that was given up would keep its successor waiting.
        unpin(&hub, &plan.durable, &pin).await;
    }
    let batch = BATCH.min(usize::try_from(plan.pending).unwrap_or(BATCH));
    consumer
        .stream()
        .max_messages_per_batch(batch)
        .expires(PULL_EXPIRY)
        .heartbeat(HEARTBEAT)
        .group(GROUP)
        .messages()
        .await
        .map_err(|error| away(&error))
}

/// Releases `pin` if it is the present one.
async fn unpin(hub: &Hub, durable: &str, pin: &str) {
    let Ok(info) = info_of(hub, durable).await else {
        return;
    };
    let mine = |group: &consumer::PriorityGroupState| {
        group.group == GROUP && group.pinned_client_id.as_deref() == Some(pin)
    };
    if info.priority_groups.iter().any(mine) {
        let stream = hub.names.of("OUTBOUND");
        let subject = format!("CONSUMER.UNPIN.{stream}.{durable}");
        let question = serde_json::json!({ "group": GROUP });
        // Otherwise it ends by itself after the priority timeout.
        let _: Result<serde::de::IgnoredAny, _> = hub.ask(subject, &question).await;
    }
}

/// Deletes the consumer of an account unless another bridge pulls on it.
pub(super) async fn retire(hub: &Hub, account: &AccountName) -> Result<(), BrokerError> {
    let durable = durable(account);
    // Pulls of this bridge's own feed last that long.
    let patience = Instant::now() + PULL_EXPIRY + HEARTBEAT;
    loop {
        match info_of(hub, &durable).await {
            Ok(info) if info.num_waiting == 0 => break,
            Ok(_) if Instant::now() >= patience => return Ok(()),
            Ok(_) => sleep(ASK.1).await,
            Err(error) if error.is_code(NO_CONSUMER) || error.is_code(NO_STREAM) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    let stream = hub.names.of("OUTBOUND");
    let subject = format!("CONSUMER.DELETE.{stream}.{durable}");
    match hub.look::<serde::de::IgnoredAny>(subject).await {
        Err(error) if !error.is_code(NO_CONSUMER) => Err(error),
        _ => Ok(()),
    }
}

fn durable(account: &AccountName) -> String {
    format!("account-{account}")
}
