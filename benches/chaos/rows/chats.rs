//! One chat in which far more requests wait than a bridge keeps at hand.

use std::time::Duration;

use super::{CROWD_SERVED, full, staged, taken_over};
use crate::load::Amount;
use crate::row::Scenario;
use crate::settle::served;
use crate::stage::{Plan, Stage};
use crate::support::wait;

/// Requests for the crowded chat.
const CROWD: u64 = 20_000;
/// Requests for other chats that have to be served while it waits: two seconds' worth.
const OTHERS: usize = 400;
/// Within this time, which is that of a recovery.
const SERVED: Duration = Duration::from_secs(10);

pub(super) fn rows() -> Vec<Scenario> {
    let plan = || Plan {
        amount: Amount {
            crowd: CROWD,
            ..Amount::default()
        },
        quiet: CROWD_SERVED,
        ..taken_over()
    };
    vec![
        full("20 000 requests wait for one chat", move |rng| {
            staged(plan(), rng, crowded)
        }),
        full("20 000 requests wait for one chat, kill -9", move |rng| {
            staged(plan(), rng, killed)
        })
        .with_takeover(),
    ]
}

async fn others_are_served(stage: &Stage) {
    let before = served(&stage.sim);
    wait::within(SERVED, "the other chats to be served", async || {
        (served(&stage.sim) >= before + OTHERS).then_some(())
    })
    .await;
}

async fn crowded(stage: &mut Stage) {
    stage.between(3000, 4000).await;
    stage.over();
    others_are_served(stage).await;
}

async fn killed(stage: &mut Stage) {
    stage.between(2000, 6000).await;
    stage.kill(0);
    stage.start(0).await;
    stage.over();
    stage.all_ready().await;
    others_are_served(stage).await;
}
