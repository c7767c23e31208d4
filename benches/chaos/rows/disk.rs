//! The disk is full, read-only or damaged, under the spool and under the broker.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{full, seconds, short, staged, taken_over};
use crate::builds::bridge_program;
use crate::disk::{Ground, may_mount};
use crate::row::{NotRun, Scenario};
use crate::settle::Books;
use crate::stage::{Plan, Stage};

pub(super) fn rows() -> Vec<Scenario> {
    vec![
        full("disk full under the spool, broker out 8 s", |rng| {
            let plan = Plan {
                spool_disk: Some(Ground::Memory("6m")),
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
                store_disk: Some(ROOMY),
                ..Plan::default()
            };
            mounted(plan, rng, broker_full)
        }),
        full("started on a read-only spool", |rng| {
            let plan = Plan {
                spool_disk: Some(Ground::Memory("64m")),
                ..taken_over()
            };
            mounted(plan, rng, read_only)
        })
        .with_takeover(),
        full("spool turns read-only in mid-run", |rng| {
            let plan = Plan {
                spool_disk: Some(Ground::Image),
                ..Plan::default()
            };
            mounted(plan, rng, turned_read_only)
        }),
        full("spool turns read-only while it holds frames", |rng| {
            let plan = Plan {
                spool_disk: Some(Ground::Image),
                ..Plan::default()
            };
            mounted(plan, rng, caught_read_only)
        }),
        short("torn tail of the spool", |rng| {
            staged(Plan::default(), rng, torn)
        }),
        full("flipped byte in the spool", |rng| {
            staged(Plan::default(), rng, flipped)
        }),
    ]
}

/// Room that a broker takes for plenty; memory only as far as it is used.
const ROOMY: &str = "8g";

/// A row that mounts file systems, where that is allowed.
async fn mounted(
    plan: Plan,
    rng: Rng,
    fault: impl AsyncFnOnce(&mut Stage),
) -> Result<Books, NotRun> {
    let ground = plan.spool_disk.unwrap_or(Ground::Memory("1m"));
    if !may_mount(ground) {
        return Err(NotRun::Impossible(match ground {
            Ground::Memory(_) => "mounting a tmpfs needs root".to_owned(),
            Ground::Image => {
                "mounting an ext4 image needs root, loop devices and e2fsprogs".to_owned()
            }
        }));
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
    stage.disks[0].grow(ROOMY);
    // JetStream may have stopped serving for good; an operator starts it again.
    stage.brokers.nodes[0].restart().await;
    stage.over();
}

/// A bridge that cannot write its spool does not pretend to have one: it says so and ends.
async fn read_only(stage: &mut Stage) {
    stage.between(100, 1000).await;
    stage.kill(0);
    stage.disks[0].remount("ro");
    let complaint = refused(stage).await.expect("a bridge that does not start");
    assert!(complaint.contains("spool"), "{complaint}");
    stage.disks[0].remount("rw");
    stage.start(0).await;
    stage.over();
}

/// The file system under the spool is broken while the spool holds nothing, and stays so: once the broker
/// is back everything goes without a spool. Then somebody mends the disk.
async fn turned_read_only(stage: &mut Stage) {
    stage.between(100, 1000).await;
    stage.disks[0].fail();
    stage.between(300, 1000).await;
    stage.brokers.nodes[0].kill();
    seconds(5).await;
    assert!(stage.bridge(0).log().contains("the spool takes nothing"));
    stage.brokers.nodes[0].restart().await;
    mend_later(stage).await;
}

/// The same while it holds frames that were acknowledged: they can still be read.
async fn caught_read_only(stage: &mut Stage) {
    stage.between(100, 1000).await;
    stage.brokers.nodes[0].kill();
    stage.between(2500, 4000).await;
    stage.disks[0].fail();
    seconds(3).await;
    stage.brokers.nodes[0].restart().await;
    mend_later(stage).await;
}

/// Mends the disk, and starts the bridge anew on it, once the bridge has shown that it goes on without.
async fn mend_later(stage: &mut Stage) {
    stage.over();
    stage.recovers().await;
    stage.bridge(0).signal("TERM");
    stage.ended(0).await;
    stage.disks[0].mend();
    stage.start(0).await;
    stage.over();
}

/// Starts the bridge where it may refuse; what it said when it did, nothing when it runs.
async fn refused(stage: &mut Stage) -> Option<String> {
    let mut child = tokio::process::Command::new(bridge_program())
        .args(["run", "--config"])
        .arg(stage.dir(0).join("config.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = timeout(Duration::from_secs(5), child.wait()).await.ok()?;
    assert_ne!(ended.unwrap().code(), Some(0));
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).await.unwrap();
    Some(said)
}

/// Kills the bridge while its spool holds what it acknowledged; the file of the spool.
async fn orphan(stage: &mut Stage) -> File {
    stage.between(100, 1000).await;
    stage.brokers.nodes[0].kill();
    stage.between(2500, 4000).await;
    stage.kill(0);
    let path = stage.dir(0).join("spool/spool.redb");
    File::options().read(true).write(true).open(path).unwrap()
}

/// What a power cut leaves behind the last commit: part of a page, and no whole one.
async fn torn(stage: &mut Stage) {
    let mut file = orphan(stage).await;
    let torn: Vec<u8> = (0..stage.rng.usize(1..4096))
        .map(|_| stage.rng.u8(..))
        .collect();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(&torn).unwrap();
    file.sync_all().unwrap();
    stage.brokers.nodes[0].restart().await;
    stage.start(0).await;
    stage.over();
}

/// A byte of a message turns into another. The only copy of an acknowledged frame is damaged, so the
/// most that can be asked is that the bridge says so and sends nothing else in its place: then
/// somebody brings the file back.
async fn flipped(stage: &mut Stage) {
    let mut file = orphan(stage).await;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let mark = b"\"conversationId\"";
    let places: Vec<usize> = bytes
        .windows(mark.len())
        .enumerate()
        .filter(|(_, window)| window == mark)
        .map(|(at, _)| at)
        .collect();
    let at = places[stage.rng.usize(..places.len())];
    let mut put = |byte: u8| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
        file.sync_all().unwrap();
    };
    put(b'!');
    stage.brokers.nodes[0].restart().await;
    if let Some(complaint) = refused(stage).await {
        assert!(complaint.contains("spool"), "{complaint}");
        put(bytes[at]);
    }
    stage.start(0).await;
    stage.over();
}
