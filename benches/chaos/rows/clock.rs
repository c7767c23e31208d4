//! Clocks that are wrong: DingTalk's by an hour, and the bridge's jumping by one.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use nats_dingtalk::message::Timestamp;

use super::{full, seconds, staged};
use crate::builds::bridge_program;
use crate::row::{NotRun, Scenario};
use crate::settle::Books;
use crate::stage::{Plan, Stage};

/// Where Debian and Ubuntu put it.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        full("DingTalk's clock an hour ahead", |rng| {
            let plan = Plan {
                sim: |options| options.clock_skew_ms = 3_600_000,
                ..Plan::default()
            };
            staged(plan, rng, async |stage| stage.over())
        }),
        full("DingTalk's clock an hour behind", |rng| {
            let plan = Plan {
                sim: |options| options.clock_skew_ms = -3_600_000,
                ..Plan::default()
            };
            staged(plan, rng, async |stage| stage.over())
        }),
        full("the bridge's clock jumps an hour ahead", |rng| {
            jump(rng, "+3600")
        })
        .with_takeover(),
        full("the bridge's clock jumps an hour back", |rng| {
            jump(rng, "-3600")
        })
        .with_takeover(),
    ]
}

async fn jump(rng: Rng, by: &str) -> Result<Books, NotRun> {
    let Some(library) = LIBRARIES.iter().find(|path| Path::new(path).exists()) else {
        return Err(NotRun::Missing(
            "libfaketime is not installed (Debian and Ubuntu: package faketime)".to_owned(),
        ));
    };
    let clock = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(clock.path(), "+0\n").unwrap();
    staged(super::taken_over(), rng, async |stage: &mut Stage| {
        stage.kill(0);
        let file = clock.path().to_string_lossy();
        let variables = [
            ("LD_PRELOAD", *library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        let setup = stage.setup_of(&bridge_program(), &variables);
        stage.start_as(0, setup).await;
        stage.all_ready().await;
        stage.between(2000, 3000).await;
        std::fs::write(clock.path(), format!("{by}\n")).unwrap();
        seconds(3).await;
        let apart = apart(&stage.bridge(0).log());
        assert!(apart > Duration::from_secs(3500), "only {apart:?} apart");
        stage.over();
    })
    .await
}

/// How far the clock of the bridge is from ours, by the newest line of its log.
fn apart(log: &str) -> Duration {
    let line = log.lines().last().unwrap();
    let theirs = Timestamp::parse(line.split(' ').next().unwrap()).unwrap();
    let ours = Timestamp::now();
    ours.since(theirs).max(theirs.since(ours))
}
