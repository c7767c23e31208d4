//! The loop: takes what is announced, keeps a bounded number of items under way, and leaves what is
//! unfinished at a stop to the next life.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::errand::{Errand, Errands};
use super::queue::{Queue, Waiting};
use super::scan::Scan;
use super::trip::{Step, Trip};
use crate::broker::Broker;
use crate::dingtalk::api::{Apis, Fetcher};
use crate::inbound::Policies;
use crate::message::Subjects;
use crate::telemetry::Metrics;

/// Items between the path of the frames and the loop, which takes them at once.
const QUEUE: usize = 1024;
/// Items between the scan and the loop.
const FOUND: usize = 64;
/// How long what is under way may still end once a stop began.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long it may then take to leave nothing behind.
const TIDYING: Duration = Duration::from_secs(2);

/// What the fetching of media is built from.
#[derive(Debug)]
pub(in crate::inbound) struct Parts {
    pub(in crate::inbound) broker: Broker,
    pub(in crate::inbound) subjects: Subjects,
    pub(in crate::inbound) apis: Apis,
    pub(in crate::inbound) fetcher: Fetcher,
    pub(in crate::inbound) policies: watch::Receiver<Policies>,
    pub(in crate::inbound) metrics: Metrics,
    /// Largest body, in bytes.
    pub(in crate::inbound) most: u64,
}

/// The far end: fetches what the messages announce until the near ends are gone.
#[derive(Debug)]
pub struct MediaFetch {
    announced: mpsc::Receiver<Errand>,
    found: mpsc::Receiver<Errand>,
    missed: Arc<Notify>,
    scan: Scan,
    queue: Queue,
    trip: Arc<Trip>,
}

/// Both ends.
pub(in crate::inbound) fn channel(parts: Parts) -> (Errands, MediaFetch) {
    let (near, announced) = mpsc::channel(QUEUE);
    let (finds, found) = mpsc::channel(FOUND);
    let missed = Arc::new(Notify::new());
    let fetch = MediaFetch {
        announced,
        found,
        missed: Arc::clone(&missed),
        scan: Scan {
            broker: parts.broker.clone(),
            wanted: Arc::clone(&missed),
            found: finds,
        },
        queue: Queue::default(),
        trip: Arc::new(Trip {
            broker: parts.broker,
            subjects: parts.subjects,
            apis: parts.apis,
            fetcher: parts.fetcher,
            policies: parts.policies,
            metrics: parts.metrics,
            most: parts.most,
            owner: format!("{:016x}", fastrand::u64(..)),
            leaving: CancellationToken::new(),
        }),
    };
    (Errands::new(near, missed), fetch)
}

impl MediaFetch {
    /// Fetches until every near end is gone. What is under way then has 3 s to end; the rest, and what
    /// waits, is found in the stream by the next life.
    pub async fn run(self) {
        let Self {
            mut announced,
            mut found,
            missed,
            scan,
            mut queue,
            trip,
        } = self;
        let scan = scan.run();
        tokio::pin!(scan);
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some(waiting) = queue.take() {
                under_way.push(Arc::clone(&trip).attempt(waiting));
            }
            tokio::select! {
                Some((waiting, step)) = under_way.next(), if !under_way.is_empty() => {
                    settle(&mut queue, waiting, &step);
                }
                taken = announced.recv() => match taken {
                    Some(errand) if queue.has_room() => queue.push(errand),
                    Some(_) => missed.notify_one(),
                    None => break,
                },
                Some(errand) = found.recv(), if queue.has_room() => queue.push(errand),
                () = reached(queue.due()) => {}
                never = &mut scan => match never {},
            }
        }
        let mut rest = async || while under_way.next().await.is_some() {};
        if timeout(FAREWELL, rest()).await.is_err() {
            trip.leaving.cancel();
            // Claims lapse and chunks age by themselves.
            let _ = timeout(TIDYING, rest()).await;
        }
    }
}

fn settle(queue: &mut Queue, waiting: Waiting, step: &Step) {
    match step {
        Step::Done => queue.done(&waiting.errand),
        Step::Again(wait) => queue.again(waiting, Instant::now() + *wait),
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
