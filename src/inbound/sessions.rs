//! Session webhooks on their way into the broker's key-value store, where every replica finds them.
//!
//! They are secrets and never part of a message. Keeping them is beside the path from socket to
//! ack: a reply that comes sooner waits for them, see the outbound side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use crate::broker::{Broker, BrokerError, Bucket, KeyValue};
use crate::message::{SessionEntry, Timestamp};

/// Webhooks between the loop and the writer; DingTalk sends 20 messages a second to an app, and
/// what is above is left out: a chat's newest webhook answers as well as any.
const QUEUE: usize = 4096;
/// Writes under way at a time.
const WRITES: usize = 32;
/// A chat whose kept webhook lives this much longer needs no newer one yet.
const FRESH: Duration = Duration::from_secs(30 * 60);
/// Chats remembered for that; beyond it the memory starts anew.
const CHATS: usize = 10_000;
/// Pause before a write is tried again that the broker was away for.
const PAUSE: Duration = Duration::from_millis(500);
/// How long what is queued is still written once the near end is gone.
const FAREWELL: Duration = Duration::from_secs(2);
/// Writes by message id in a second; beyond it only those by chat are made.
const IDS_PER_SECOND: u32 = 500;

/// The near end: hands webhooks over without waiting.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    queue: mpsc::Sender<(String, SessionEntry)>,
    /// Tells the far end, which does not look at its queue while it has enough to write.
    _gone: Arc<DropGuard>,
}

/// The far end: writes them until the near end is gone.
#[derive(Debug)]
pub struct SessionWriter {
    queue: mpsc::Receiver<(String, SessionEntry)>,
    near_gone: CancellationToken,
    bucket: KeyValue,
    chats: HashMap<String, Timestamp>,
    second: Instant,
    ids: u32,
}

/// The near end, the queue that it fills, and what is cancelled once it is gone.
pub(super) fn queue() -> (
    Sessions,
    mpsc::Receiver<(String, SessionEntry)>,
    CancellationToken,
) {
    let (queue, far) = mpsc::channel(QUEUE);
    let gone = CancellationToken::new();
    let near = Sessions {
        queue,
        _gone: Arc::new(gone.clone().drop_guard()),
    };
    (near, far, gone)
}

/// Both ends.
pub(super) fn channel(broker: &Broker) -> (Sessions, SessionWriter) {
    let (near, queue, near_gone) = queue();
    let writer = SessionWriter {
        queue,
        near_gone,
        bucket: broker.bucket(Bucket::Webhooks),
        chats: HashMap::new(),
        second: Instant::now(),
        ids: 0,
    };
    (near, writer)
}

impl Sessions {
    /// Keeps the webhook of the inbound message `id`, unless the queue is full.
    pub(super) fn keep(&self, id: &str, entry: SessionEntry) {
        if self.queue.try_send((id.to_owned(), entry)).is_err() {
            debug!("session webhooks come faster than they can be kept, one is left out");
        }
    }
}

impl SessionWriter {
    /// Writes until every near end is gone, and what is queued then for 2 s: a stop does not wait for
    /// a broker that is away. Otherwise what is under way does wait for it.
    pub async fn run(mut self) {
        let mut writes = FuturesUnordered::new();
        let near_gone = self.near_gone.clone();
        let farewell = async {
            near_gone.cancelled().await;
            sleep(FAREWELL).await;
        };
        tokio::pin!(farewell);
        let mut empty = false;
        while !empty || !writes.is_empty() {
            tokio::select! {
                () = &mut farewell => return,
                Some(left) = writes.next(), if !writes.is_empty() => {
                    if let Some((key, entry)) = left {
                        writes.push(write(self.bucket.clone(), key, entry, PAUSE));
                    }
                }
                taken = self.queue.recv(), if !empty && writes.len() < WRITES => match taken {
                    Some((id, entry)) => {
                        for key in self.keys(&id, &entry) {
                            writes.push(write(self.bucket.clone(), key, entry.clone(), Duration::ZERO));
                        }
                    }
                    None => empty = true,
                },
            }
        }
    }

    /// Under which keys the webhook is worth a write now.
    fn keys(&mut self, id: &str, entry: &SessionEntry) -> Vec<String> {
        let mut keys = Vec::with_capacity(2);
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.ids = 0;
        }
        if self.ids < IDS_PER_SECOND {
            self.ids += 1;
            keys.push(SessionEntry::message_key(id));
        }
        let chat = SessionEntry::chat_key(&entry.account, entry.kind, &entry.chat);
        let fresh = self.chats.get(&chat).is_some_and(|until| {
            until.since(Timestamp::now()) > FRESH && entry.expires_at.since(*until) < FRESH
        });
        if !fresh {
            if self.chats.len() >= CHATS {
                self.chats.clear();
            }
            self.chats.insert(chat.clone(), entry.expires_at);
            keys.push(chat);
        }
        keys
    }
}

/// Writes one entry after `pause`; returns it while the broker is away and the webhook lives: an
/// outsider cannot be answered in any other way.
async fn write(
    bucket: KeyValue,
    key: String,
    entry: SessionEntry,
    pause: Duration,
) -> Option<(String, SessionEntry)> {
    if !pause.is_zero() {
        sleep(pause).await;
    }
    let value = entry.encode().ok()?;
    let written = bucket.put_until(&key, Bytes::from(value), entry.expires_at);
    let error = written.await.err()?;
    debug!(%error, dingtalk.account = %entry.account, "session webhook not kept");
    let again = matches!(error, BrokerError::Away(_))
        && entry.expires_at.since(Timestamp::now()) > Duration::ZERO;
    again.then_some((key, entry))
}
