//! The disk is full, read-only or damaged, under the spool and under the broker.

use std::io::{Read, Seek, SeekFrom, Write};

use fastrand::Rng;

use super::{full, seconds, short, staged};
use crate::disk::may_mount;
use crate::row::{NotRun, Scenario};
use crate::settle::Books;
use crate::stage::{Plan, Stage};

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        short("disk full under the spool, broker out 8 s", |rng| {
            let plan = Plan {
                spool_disk: Some("6m"),
                ..Plan::default()
            };
            mounted(plan, rng, async |stage| without_broker(stage, 8).await)
        }),
        full("spool at its limit, broker out 8 s", |rng| {
            let plan = Plan {
                spool: "max_bytes = \"2MiB\"",
                ..Plan::default()
            };
            staged(plan, rng, async |stage| without_broker(stage, 8).await)
        }),
        full("disk full under the broker for 6 s", |rng| {
            let plan = Plan {
                store_disk: Some("256m"),
                ..Plan::default()
            };
            mounted(plan, rng, broker_full)
        }),
        full("spool read-only, broker out 6 s", |rng| {
            let plan = Plan {
                spool_disk: Some("64m"),
                ..Plan::default()
            };
            mounted(plan, rng, read_only)
        }),
        short("torn tail of the spool", |rng| {
            staged(Plan::default(), rng, async |stage| {
                damaged(stage, tear).await
            })
        }),
    ]
}

/// A row that mounts file systems, where that is allowed.
async fn mounted(
    plan: Plan,
    rng: Rng,
    fault: impl AsyncFnOnce(&mut Stage),
) -> Result<Books, NotRun> {
    if !may_mount() {
        return Err(NotRun("mounting a tmpfs needs root".to_owned()));
    }
    staged(plan, rng, fault).await
}

async fn without_broker(stage: &mut Stage, span: u64) {
    stage.between(100, 1000).await;
    stage.brokers.nodes[0].kill();
    seconds(span).await;
    assert!(stage.bridge(0).log().contains("the spool takes nothing"));
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

async fn broker_full(stage: &mut Stage) {
    stage.between(100, 1000).await;
    stage.disks[0].fill();
    seconds(6).await;
    stage.disks[0].free();
    // JetStream may have stopped serving for good; an operator starts it again.
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

async fn read_only(stage: &mut Stage) {
    stage.between(100, 1000).await;
    stage.brokers.nodes[0].kill();
    stage.kill(0);
    stage.disks[0].read_only(true);
    stage.disks[0].read_only(false);
    stage.start(0).await;
    seconds(6).await;
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

/// Kills the bridge while its spool holds what it acknowledged, and damages the file.
async fn damaged(stage: &mut Stage, damage: impl FnOnce(&mut std::fs::File, &mut Rng)) {
    stage.between(100, 1000).await;
    stage.brokers.nodes[0].kill();
    stage.between(2500, 4000).await;
    stage.kill(0);
    let path = stage.dir(0).join("spool/spool.redb");
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    damage(&mut file, &mut stage.rng);
    stage.brokers.nodes[0].restart().await;
    stage.start(0).await;
    stage.over();
}

/// What a power cut leaves behind the last commit: part of a page, and no whole one.
fn tear(file: &mut std::fs::File, rng: &mut Rng) {
    file.seek(SeekFrom::End(0)).unwrap();
    let torn: Vec<u8> = (0..rng.usize(1..4096)).map(|_| rng.u8(..)).collect();
    file.write_all(&torn).unwrap();
    file.sync_all().unwrap();
    let mut header = [0; 9];
    file.rewind().unwrap();
    file.read_exact(&mut header).unwrap();
    assert_eq!(&header[..4], b"redb");
}
