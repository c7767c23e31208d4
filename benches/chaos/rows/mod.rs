//! Every row, by what breaks.

mod bridge;
mod broker;
mod chats;
mod clock;
mod dingtalk;
mod disk;
mod limits;
mod network;
mod replicas;
mod steps;

use std::future::Future;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use crate::row::{NotRun, SOON, Scenario, Set, TAKEOVER};
use crate::settle::Books;
use crate::stage::{Plan, Stage};

/// All rows, in the order of the ledger.
pub(crate) fn all() -> Vec<Scenario> {
    let groups = [
        bridge::rows(),
        steps::rows(),
        broker::rows(),
        disk::rows(),
        limits::rows(),
        network::rows(),
        dingtalk::rows(),
        chats::rows(),
        clock::rows(),
        replicas::rows(),
    ];
    groups.into_iter().flatten().collect()
}

/// Why a row with SIGSTOP has late acks.
const STOPPED: &str = "the late acks are those of frames that arrived while the process was stopped, and could answer \
     nobody: DingTalk had pushed them again by then, and what was stored is there once";
/// How long a chat may take in which thousands wait, since order leaves it one call at a time.
const CROWD_SERVED: Duration = Duration::from_secs(240);

/// A row of the short set.
fn short<F>(name: impl Into<String>, run: impl Fn(Rng) -> F + 'static) -> Scenario
where
    F: Future<Output = Result<Books, NotRun>> + 'static,
{
    Scenario {
        name: name.into(),
        set: Set::Short,
        recovery: SOON,
        note: None,
        idle: false,
        run: Box::new(move |rng| Box::pin(run(rng))),
    }
}

/// A row of the full set.
fn full<F>(name: impl Into<String>, run: impl Fn(Rng) -> F + 'static) -> Scenario
where
    F: Future<Output = Result<Books, NotRun>> + 'static,
{
    let mut row = short(name, run);
    row.set = Set::Full;
    row
}

impl Scenario {
    /// Another process takes over.
    fn with_takeover(self) -> Self {
        self.within(TAKEOVER)
    }

    /// DingTalk or the broker itself sets another pace for recovery.
    fn within(mut self, recovery: Duration) -> Self {
        self.recovery = recovery;
        self
    }

    /// A reader of its line should know this.
    fn noting(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }

    /// It mostly waits.
    fn waiting(mut self) -> Self {
        self.idle = true;
        self
    }
}

/// A row that breaks something on a stage that is up, and settles it.
async fn staged(
    plan: Plan,
    rng: Rng,
    fault: impl AsyncFnOnce(&mut Stage),
) -> Result<Books, NotRun> {
    let mut stage = Stage::up(plan, rng).await;
    fault(&mut stage).await;
    Ok(stage.settle().await)
}

/// A stage that stays under load long enough for a takeover to show.
fn taken_over() -> Plan {
    Plan {
        tail: TAKEOVER,
        ..Plan::default()
    }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}
