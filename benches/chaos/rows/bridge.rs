//! The bridge dies, freezes or is told to stop.

use super::{row, staged};
use crate::row::{SOON, Scenario, Set, TAKEOVER};
use crate::stage::{Plan, Stage};

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        row("no fault", Set::Short, SOON, |rng| {
            Box::pin(staged(Plan::default(), rng, async |stage| stage.over()))
        }),
        row("bridge kill -9, twice", Set::Short, TAKEOVER, |rng| {
            Box::pin(staged(taken_over(), rng, killed))
        }),
        row("bridge SIGSTOP for 6 s", Set::Short, SOON, |rng| {
            Box::pin(staged(Plan::default(), rng, frozen))
        }),
        row("bridge SIGTERM, started again", Set::Short, SOON, |rng| {
            Box::pin(staged(Plan::default(), rng, told))
        }),
    ]
}

/// Long enough under load for a takeover to show.
fn taken_over() -> Plan {
    Plan {
        tail: TAKEOVER,
        ..Plan::default()
    }
}

async fn killed(stage: &mut Stage) {
    for _ in 0..2 {
        stage.between(100, 1500).await;
        stage.kill(0);
        stage.start(0).await;
    }
    stage.over();
}

async fn frozen(stage: &mut Stage) {
    stage.between(100, 1500).await;
    stage.bridge(0).signal("STOP");
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    stage.bridge(0).signal("CONT");
    stage.over();
}

async fn told(stage: &mut Stage) {
    stage.between(100, 1500).await;
    stage.bridge(0).signal("TERM");
    let status = stage.ended(0).await;
    assert_eq!(status.code(), Some(0), "a drain that was cut short");
    stage.start(0).await;
    stage.over();
}
