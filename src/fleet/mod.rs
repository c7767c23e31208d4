//! What the replicas of the bridge share: who is there, how fast an account may call, and what the
//! month has cost. DingTalk counts all replicas as one, so they have to.
//!
//! Everything goes through two buckets. While the broker is away each replica goes on with what it
//! knew: the pace divided by the number of replicas, the quota as it stood.

mod book;
mod foreign;
mod member;
mod month;
mod muster;
mod notice;
mod purse;
mod quota;
mod roster;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Bucket};
use crate::dingtalk::api::Paces;
use crate::message::Subjects;
use crate::telemetry::{Health, Metrics, Seats, Standings};

use foreign::Watchman;
use muster::Muster;
use notice::Notices;
use quota::Quota;

pub use roster::{Charge, Roster, fingerprint};

/// What the fleet's part of a bridge is made of.
#[derive(Debug)]
pub struct Parts {
    /// Broker.
    pub broker: Broker,
    /// Subjects of the installation.
    pub subjects: Subjects,
    /// The accounts that are served here.
    pub roster: Roster,
    /// Every lane of theirs.
    pub paces: Paces,
    /// Where it is said how each account stands against its quota.
    pub standings: Standings,
    /// Where it is said which accounts belong elsewhere.
    pub seats: Seats,
    /// Metrics, and the billed calls of this replica.
    pub metrics: Metrics,
    /// Health board.
    pub health: Health,
}

/// This replica as a member of the fleet.
#[derive(Debug)]
pub struct Fleet {
    parts: Parts,
    id: String,
}

impl Fleet {
    /// Joins under a fresh random id; nothing is told before [`Fleet::run`].
    pub fn new(parts: Parts) -> Self {
        let mut id = String::with_capacity(16);
        // Writing to a String cannot fail.
        let _ = write!(id, "{:016x}", fastrand::u64(..));
        Self { parts, id }
    }

    /// The id of this replica.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Takes part until `stop`, which comes when nothing is sent any more: then the last calls are
    /// counted, and the others are told that this replica is gone.
    pub async fn run(self, stop: CancellationToken) {
        let Self { parts, id } = self;
        let notices = Notices {
            broker: parts.broker.clone(),
            subjects: parts.subjects,
        };
        let quota = Quota {
            bucket: parts.broker.bucket(Bucket::Quota),
            roster: parts.roster.clone(),
            standings: parts.standings,
            metrics: parts.metrics.clone(),
            health: parts.health.clone(),
            notices: notices.clone(),
            writer: id.clone(),
            open: HashMap::new(),
            mark: 0,
            said: BTreeMap::new(),
        };
        let watchman = Watchman {
            me: id.clone(),
            health: parts.health.clone(),
            notices,
            samples: BTreeMap::new(),
            said: BTreeMap::new(),
            neighbours: Vec::new(),
        };
        let muster = Muster::new(
            (id, parts.broker),
            (parts.roster, parts.paces, parts.seats),
            (parts.metrics, parts.health),
            watchman,
        );
        tokio::join!(quota.run(stop.clone()), muster.run(stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_spawned() {
        fn spawnable<F: Future + Send + 'static>(_: impl FnOnce(Fleet, CancellationToken) -> F) {}
        spawnable(Fleet::run);
    }
}
