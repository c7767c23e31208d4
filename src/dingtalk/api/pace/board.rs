//! The lanes of all accounts, for whoever shares them out between replicas. It knows no broker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Lane;
use super::bucket::{Bucket, Learned, Use};
use crate::message::AccountName;

/// Account and name of a lane.
pub type LaneKey = (AccountName, &'static str);

/// The lanes of every account; cheap to clone. They outlive the pipelines of an account, so that what
/// was learned survives its changes.
#[derive(Debug, Clone, Default)]
pub struct Paces(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    shared: AtomicBool,
    nudge: Arc<Notify>,
    lanes: Mutex<BTreeMap<LaneKey, Lane>>,
}

/// One lane, as the replicas share it.
#[derive(Debug, Clone)]
pub struct SharedLane(Lane);

impl Paces {
    /// From now on a new lane holds no token before [`SharedLane::hold`] gives it some.
    pub fn share(&self) {
        self.0.shared.store(true, Ordering::Release);
    }

    /// The lane `name` of an account, of `per_second` calls.
    pub(in crate::dingtalk::api) fn lane(
        &self,
        account: &AccountName,
        name: &'static str,
        per_second: f64,
    ) -> Lane {
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account.clone(), name);
        if let Some(lane) = lanes.get(&key) {
            lane.0.bucket().set_top(per_second);
            return lane.clone();
        }
        let now = Instant::now();
        let bucket = if self.0.shared.load(Ordering::Acquire) {
            Bucket::empty(per_second, now)
        } else {
            Bucket::new(per_second, now)
        };
        let lane = Lane::with(bucket, Arc::clone(&self.0.nudge));
        lanes.insert(key, lane.clone());
        self.0.nudge.notify_one();
        lane
    }

    /// Forgets the lanes of an account.
    pub fn forget(&self, account: &AccountName) {
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|(name, _), _| name != account);
    }

    /// Every lane there is.
    pub fn lanes(&self) -> Vec<(LaneKey, SharedLane)> {
        let lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = |(key, lane): (&LaneKey, &Lane)| (key.clone(), SharedLane(lane.clone()));
        lanes.iter().map(shared).collect()
    }

    /// Waits until a lane is new, has learned something, or has somebody waiting for tokens that
    /// other replicas hold. Cancel-safe.
    pub async fn nudged(&self) {
        self.0.nudge.notified().await;
    }
}

impl SharedLane {
    /// How this replica uses its part.
    pub fn usage(&self) -> Use {
        self.0.usage()
    }

    /// Holds `tokens` of the lane's, which `replicas` share; said again and again, or after 5 s the
    /// tokens are divided by that number. More than before are used only after about a second, when
    /// what others took of them has come back.
    pub fn hold(&self, tokens: usize, replicas: usize) {
        self.0.hold(tokens, replicas);
    }

    /// Holds `tokens` at once, as nobody else can have used them.
    pub fn own(&self, tokens: usize) {
        self.0.own(tokens);
    }

    /// What refusals taught.
    pub fn learned(&self) -> Option<Learned> {
        self.0.learned()
    }

    /// Learns what another replica learned.
    pub fn adopt(&self, learned: &Learned) {
        self.0.adopt(learned);
    }
}
