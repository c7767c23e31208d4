//! The books of a test: what was said and promised on one side, what is stored on the other.

use std::collections::{BTreeMap, BTreeSet};

use nats_dingtalk::sim::{Sim, SimOptions};

use super::nats::Nats;
use super::wait::{self, PATIENCE};
use super::world::{self, messages};

/// What DingTalk knows about the bot messages it pushed.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Ids of all messages.
    pub(crate) said: BTreeSet<String>,
    /// Ids of those for which the bridge ever gave its word, in time or not.
    pub(crate) acked: BTreeSet<String>,
}

impl Books {
    /// The books as they stand now.
    pub(crate) fn of(sim: &Sim) -> Self {
        let mut books = Self::default();
        for frame in sim.frames() {
            let Some(id) = frame.business_id else {
                continue;
            };
            if frame.acks.iter().any(|ack| ack.code == 200) {
                books.acked.insert(id.clone());
            }
            books.said.insert(id);
        }
        books
    }

    /// Waits until everything that was said is stored, then fails unless it is there once each.
    /// What DingTalk itself gave up, because it came again when there was no connection, may be missing.
    pub(crate) async fn balance(&self, nats: &Nats, sim: &Sim) {
        let what = format!("{} messages in the inbound stream", self.said.len());
        // What was not acked comes again only after its time.
        wait::within(PATIENCE * 2, &what, async || {
            let there = count(nats, "DINGTALK_INBOUND").await?;
            (there + sim.counters().lost >= self.said.len() as u64).then_some(())
        })
        .await;
        let stored = self.check(nats).await;
        let missing: Vec<&String> = self
            .said
            .iter()
            .filter(|id| !stored.contains_key(*id))
            .collect();
        let lost = sim.counters().lost;
        assert!(
            missing.len() as u64 <= lost,
            "{lost} given up by DingTalk, and never stored: {missing:?}"
        );
    }

    /// Fails unless every acked message is stored, and none twice; how often each is.
    pub(crate) async fn check(&self, nats: &Nats) -> BTreeMap<String, usize> {
        let stored = stored(nats).await;
        let broken: Vec<&String> = self
            .acked
            .iter()
            .filter(|id| !stored.contains_key(*id))
            .collect();
        assert!(broken.is_empty(), "acked and not stored: {broken:?}");
        let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "stored more than once: {twice:?}");
        stored
    }
}

/// Options for tests in which DingTalk soon sends again what was not acked, several times.
pub(crate) fn persistent() -> SimOptions {
    SimOptions {
        bot_retries: vec![std::time::Duration::from_secs(5); 5],
        ..world::options()
    }
}

/// How often each DingTalk message is in the inbound stream.
pub(crate) async fn stored(nats: &Nats) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for stored in messages(nats, "DINGTALK_INBOUND").await.unwrap() {
        *times
            .entry(stored.header("Dingtalk-Msg-Id").to_owned())
            .or_default() += 1;
    }
    times
}

/// Messages in a stream; `None` when the broker or the stream is not there.
pub(crate) async fn count(nats: &Nats, stream: &str) -> Option<u64> {
    let client = nats.try_client().await?;
    let jetstream = async_nats::jetstream::new(client);
    let mut stream = jetstream.get_stream(stream).await.ok()?;
    Some(stream.info().await.ok()?.state.messages)
}

/// Who may pull the requests of `sales` now.
pub(crate) async fn pinned(nats: &Nats) -> Option<String> {
    let jetstream = nats.jetstream().await;
    let stream = jetstream.get_stream("DINGTALK_OUTBOUND").await.unwrap();
    let info = stream.consumer_info("account-sales").await.unwrap();
    info.priority_groups.into_iter().next()?.pinned_client_id
}
