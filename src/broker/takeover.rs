//! The barrier after a change of the pin, and after a delivery that went astray: what the predecessor
//! held, or what was lost, comes again in any order, while newer messages come already. It is
//! collected here and given out sorted.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer;
use tokio::time::{Instant, sleep_until};

use super::consumer::{Plan, info_of};
use super::error::BrokerError;
use super::hub::Hub;
use super::incoming::{ACK_WAIT, Incoming, Outstanding};

/// How long a takeover waits for what the predecessor held.
const TAKEOVER_PATIENCE: Duration = ACK_WAIT.saturating_add(Duration::from_secs(1));
/// Pause between two questions during a takeover: the first, and the longest.
const ASK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// How often held messages are kept from being delivered again.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What is collected under a new pin before anything is given out.
pub(super) struct Takeover {
    since: Instant,
    held: BTreeMap<u64, Incoming>,
    pending: Option<Pending>,
    asking: Option<Asking>,
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

type Answer = Result<Box<consumer::Info>, BrokerError>;
type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One step of a takeover.
pub(super) enum Turn {
    /// It is time to ask the broker what is not acknowledged.
    Ask,
    /// The broker's answer.
    Answered(Answer),
}

impl Takeover {
    /// Begins, with what an earlier one held that was not finished.
    pub(super) fn new(held: BTreeMap<u64, Incoming>) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            held,
            pending: None,
            asking: None,
            ask_at: now,
            pause: ASK.0,
            progress_at: now + PROGRESS_INTERVAL,
        }
    }

    /// Holds a message back.
    pub(super) fn hold(&mut self, incoming: Incoming) {
        self.held.insert(incoming.sequence, incoming);
    }

    /// What is held, by sequence.
    pub(super) fn into_held(self) -> BTreeMap<u64, Incoming> {
        self.held
    }

    /// Asks the broker, and keeps what is held from being delivered again meanwhile.
    pub(super) fn ask(&mut self, hub: &Arc<Hub>, plan: &Plan) {
        let replies = self.due_for_progress();
        self.asking = Some(Box::pin(ask(Arc::clone(hub), plan.clone(), replies)));
    }

    /// Takes the broker's answer. Without one the patience decides.
    pub(super) fn answered(&mut self, answer: Answer) {
        self.asking = None;
        self.ask_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(ASK.1);
        if let Ok(info) = answer {
            self.pending = Some(Pending {
                messages: info.num_ack_pending,
                last: info.delivered.stream_sequence,
            });
        }
    }

    /// Whether this process holds everything that was delivered and not acknowledged. What it is
    /// answering does not count, as the broker may have that answer: it would stand for another.
    pub(super) fn is_whole(&self, outstanding: &Outstanding) -> bool {
        let whole =
            |pending: Pending| outstanding.unanswered_up_to(pending.last) >= pending.messages;
        self.pending.is_some_and(whole)
    }

    /// Whether it has waited long enough for what does not come: by then the predecessor's own
    /// answers count, or the message is gone.
    pub(super) fn is_over(&self) -> bool {
        self.since.elapsed() >= TAKEOVER_PATIENCE
    }

    /// The next step. Cancel-safe.
    pub(super) async fn turn(&mut self) -> Turn {
        if let Some(asking) = &mut self.asking {
            return Turn::Answered(asking.await);
        }
        sleep_until(self.ask_at).await;
        Turn::Ask
    }

    /// Reply subjects of what is held, when their time is to be extended.
    fn due_for_progress(&mut self) -> Vec<String> {
        let now = Instant::now();
        if now < self.progress_at {
            return Vec::new();
        }
        self.progress_at = now + PROGRESS_INTERVAL;
        self.held.values().filter_map(Incoming::reply).collect()
    }
}

async fn ask(hub: Arc<Hub>, plan: Plan, replies: Vec<String>) -> Answer {
    hub.consuming_ready().await?;
    let client = hub.consuming().client();
    for reply in replies {
        // Lost progress is a redelivery, which is not given out twice.
        let _ = client.publish(reply, "+WPI".into()).await;
    }
    info_of(&hub, &plan).await
}
