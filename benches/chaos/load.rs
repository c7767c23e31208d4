//! What people write and what services ask for while things break: bursts in, a steady stream out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nats_dingtalk::sim::{Burst, Sim};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::bridge::CLIENT_ID;

/// How fast a burst is pushed, in frames a second, and how long one lasts.
const BURST_RATE: u64 = 2_000;
/// From the beginning of one burst to that of the next.
const BURST_EVERY: Duration = Duration::from_secs(2);
/// Requests a second.
const REQUESTS: u64 = 200;
/// Between two batches of requests.
const BEAT: Duration = Duration::from_millis(50);
/// How long the publisher of requests waits for one PubAck before it publishes again.
const PUB_ACK: Duration = Duration::from_secs(5);
/// Pause of that publisher after a failure.
const AGAIN: Duration = Duration::from_millis(200);

/// What a row is loaded with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    /// Messages in one burst, at most two seconds' worth.
    pub(crate) burst: u64,
    /// Requests a second.
    pub(crate) requests: u64,
    /// Chats on each side.
    pub(crate) chats: usize,
    /// Whether requests answer in the chats of the bursts and mention somebody, so that they take
    /// the session webhook.
    pub(crate) answers: bool,
    /// Requests that are made all at once at the beginning, for one and the same chat.
    pub(crate) crowd: u64,
}

impl Default for Amount {
    fn default() -> Self {
        Self {
            burst: BURST_RATE,
            requests: REQUESTS,
            chats: 50,
            answers: false,
            crowd: 0,
        }
    }
}

/// Requests that the broker accepted: their sequence in the stream and their chat, by id.
pub(crate) type Requested = BTreeMap<String, (u64, String)>;

/// Load that runs until it is stopped, or dropped: a row that breaks off leaves none behind.
pub(crate) struct Load {
    stop: CancellationToken,
    frames: AbortOnDropHandle<Option<()>>,
    requests: AbortOnDropHandle<Requested>,
}

impl Load {
    /// Begins.
    pub(crate) fn start(sim: Arc<Sim>, jetstream: Context, amount: Amount) -> Self {
        let stop = CancellationToken::new();
        let frames = tokio::spawn(stop.clone().run_until_cancelled_owned(speak(sim, amount)));
        let requests = tokio::spawn(ask(jetstream, amount, stop.clone()));
        Self {
            stop,
            frames: AbortOnDropHandle::new(frames),
            requests: AbortOnDropHandle::new(requests),
        }
    }

    /// Ends it: nothing new comes, and every request that was begun is accepted.
    pub(crate) async fn stop(self) -> Requested {
        self.stop.cancel();
        self.frames.await.unwrap();
        self.requests.await.unwrap()
    }
}

/// People write in bursts, for ever.
async fn speak(sim: Arc<Sim>, amount: Amount) {
    if amount.burst == 0 {
        return;
    }
    let burst = Burst {
        app: CLIENT_ID.to_owned(),
        count: amount.burst,
        groups: amount.chats,
        per_second: Some(BURST_RATE),
        patient: true,
        ..Burst::default()
    };
    let mut beat = interval(BURST_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        sim.burst(&burst).await.unwrap();
    }
}

/// A service asks until `stop`, then waits until everything it asked for is accepted.
async fn ask(jetstream: Context, amount: Amount, stop: CancellationToken) -> Requested {
    let mut accepted = Requested::new();
    let mut open = FuturesUnordered::new();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number: u64 = 0;
    for number in 0..amount.crowd {
        let id = format!("{CROWDED}{number}");
        open.push(publish(&jetstream, (id, CROWD.to_owned(), None)));
    }
    let batch = amount.requests * u64::try_from(BEAT.as_millis()).unwrap() / 1000;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = beat.tick() => {
                for _ in 0..batch {
                    open.push(publish(&jetstream, request(number, amount)));
                    number += 1;
                }
            }
            Some((id, place)) = open.next() => { accepted.insert(id, place); }
        }
    }
    while let Some((id, place)) = open.next().await {
        accepted.insert(id, place);
    }
    accepted
}

/// Begins the ids of requests for the crowded chat.
const CROWDED: &str = "order-crowd-";
/// The crowded chat.
const CROWD: &str = "cidCrowd==";

/// Whether a request is one of those that wait behind each other in the crowded chat.
pub(crate) fn is_crowded(id: &str) -> bool {
    id.starts_with(CROWDED)
}

/// A request before it is accepted: its id, its chat, and whom it mentions.
type Wish = (String, String, Option<Value>);

/// One request of the steady stream.
fn request(number: u64, amount: Amount) -> Wish {
    let id = format!("order-{number}");
    let chat = number as usize % amount.chats;
    if amount.answers {
        let mention = json!({"users": ["load-user"]});
        (id, format!("cidBurst{chat:06}=="), Some(mention))
    } else {
        (id, format!("cidOrders{chat:03}=="), None)
    }
}

/// Publishes until the broker has accepted it.
async fn publish(jetstream: &Context, (id, chat, mention): Wish) -> (String, (u64, String)) {
    let mut body = json!({"id": id, "text": id});
    if let Some(mention) = mention {
        body["mention"] = mention;
    }
    let body = body.to_string();
    loop {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id.as_str());
        let subject = format!("dingtalk.outbound.sales.group.{chat}");
        let publish = async {
            let body = body.clone().into();
            let ack = jetstream.publish_with_headers(subject, headers, body).await;
            ack.ok()?.await.ok()
        };
        match timeout(PUB_ACK, publish).await {
            Ok(Some(ack)) => return (id, (ack.sequence, chat)),
            Ok(None) | Err(_) => sleep(AGAIN).await,
        }
    }
}
