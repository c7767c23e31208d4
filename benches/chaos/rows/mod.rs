//! Every row, by what breaks.

mod bridge;

use std::time::Duration;

use crate::row::{NotRun, Running, Scenario, Set};
use crate::settle::Books;
use crate::stage::{Plan, Stage};

/// All rows, in the order of the ledger.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(bridge::rows());
    all
}

/// A row of either set.
const fn row(
    name: &'static str,
    set: Set,
    recovery: Duration,
    run: fn(fastrand::Rng) -> Running,
) -> Scenario {
    Scenario {
        name,
        set,
        recovery,
        run,
    }
}

/// A row that breaks something on a stage that is up, and settles it.
async fn staged(
    plan: Plan,
    rng: fastrand::Rng,
    fault: impl AsyncFnOnce(&mut Stage),
) -> Result<(Books, Duration), NotRun> {
    let mut stage = Stage::up(plan, rng).await;
    fault(&mut stage).await;
    Ok(stage.settle().await)
}
