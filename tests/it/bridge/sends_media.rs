//! Media and long lists through the bridge as users run it: whatever dies, each is seen once, and a
//! large file passes without being held.

use std::collections::BTreeMap;
use std::io::Cursor;

use async_nats::jetstream;
use nats_dingtalk::sim::{Fault, MEDIA_UPLOAD_PATH, USER_SEND_PATH};
use serde_json::json;

use crate::support::bridge::{Bridge, Setup};
use crate::support::nats::Nats;
use crate::support::wait;
use crate::support::world::{World, options};

const USER: &str = "dingtalk.outbound.sales.user.manager1";
/// The largest file that DingTalk takes.
const LARGEST: usize = 20 * 1024 * 1024;

/// Stores a file as any NATS client does.
async fn put(nats: &Nats, key: &str, bytes: Vec<u8>) {
    let jetstream = jetstream::new(nats.client().await);
    let store = jetstream.get_object_store("DINGTALK_MEDIA").await.unwrap();
    store.put(key, &mut Cursor::new(bytes)).await.unwrap();
}

/// A line of `/proc/<pid>/status`, in KiB.
fn memory(bridge: &Bridge, line: &str) -> u64 {
    let path = format!("/proc/{}/status", bridge.pid());
    let status = std::fs::read_to_string(path).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let kib = found.unwrap().trim_start_matches(':').trim();
    kib.trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn memory_does_not_grow_with_the_file_that_passes() {
    let world = World::start().await;
    // What the first upload of all needs anyway is there before the measurement.
    put(&world.nats, "small.zip", b"PK small".to_vec()).await;
    let file = |key: &str| json!({"id": key, "file": {"object": key}});
    world.request(USER, &file("small.zip")).await;
    assert_eq!(world.receipt("small.zip").await["outcome"], "sent");
    let bytes: Vec<u8> = (0..LARGEST).map(|n| (n / 7 % 251) as u8).collect();
    put(&world.nats, "large.zip", bytes).await;
    let reset = format!("/proc/{}/clear_refs", world.bridge.pid());
    std::fs::write(reset, "5").unwrap();
    let before = memory(&world.bridge, "VmRSS");
    world.request(USER, &file("large.zip")).await;
    assert_eq!(world.receipt("large.zip").await["outcome"], "sent");
    let most = memory(&world.bridge, "VmHWM");
    let upload = world.sim.uploads().pop().unwrap();
    assert_eq!(upload.size, LARGEST as u64);
    let more = most.saturating_sub(before);
    println!("{more} KiB more while 20 MB passed");
    assert!(more < 12 * 1024, "{more} KiB more than {before} KiB");
}

#[tokio::test]
async fn p7_kill_9_in_the_middle_of_an_upload() {
    let World { nats, sim, bridge } = World::start().await;
    put(&nats, "a.pdf", b"%PDF-1.7".to_vec()).await;
    let path = MEDIA_UPLOAD_PATH.to_owned();
    let times = Some(1);
    sim.inject(Fault::ApplyThenHold { path, times })
        .await
        .unwrap();
    let world = World { nats, sim, bridge };
    let body = json!({"id": "file", "file": {"object": "a.pdf"}});
    world.request(USER, &body).await;
    let World { nats, sim, bridge } = world;
    wait::until_true("an upload", async || sim.uploads().len() == 1).await;
    let dir = bridge.kill();
    let bridge = Setup::new(&nats.url(), sim.api_url())
        .in_dir(dir)
        .start()
        .await;
    let world = World { nats, sim, bridge };
    let receipt = world.receipt("file").await;
    assert_eq!(receipt["outcome"], "sent");
    assert_eq!(world.sim.delivered().len(), 1);
}

#[tokio::test]
async fn p7_kill_9_in_the_middle_of_a_long_list() {
    let world = World::start_with(options(), |setup| setup.account("rate = 60")).await;
    let slow = Fault::Delay {
        path: USER_SEND_PATH.to_owned(),
        ms: 40,
        times: None,
    };
    world.sim.inject(slow).await.unwrap();
    let users: Vec<String> = (0..600).map(|n| format!("user:u{n}")).collect();
    let body = json!({"id": "all", "to": users, "text": "news"});
    world.request("dingtalk.outbound.sales", &body).await;
    let World {
        nats,
        sim,
        mut bridge,
    } = world;
    for seen in [8, 17] {
        sim.delivered_count(seen).await.unwrap();
        let dir = bridge.kill();
        bridge = Setup::new(&nats.url(), sim.api_url())
            .account("rate = 60")
            .in_dir(dir)
            .start()
            .await;
    }
    let world = World { nats, sim, bridge };
    let receipt = world.receipt("all").await;
    let doubted = receipt["uncertain_users"].as_array().map_or(0, Vec::len);
    println!("{doubted} of 600 are uncertain after two kills");
    assert!(doubted <= 40, "one call was under way at each kill");
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for sent in world.sim.delivered() {
        for user in sent.to {
            *seen.entry(user).or_default() += 1;
        }
    }
    assert!(seen.values().all(|times| *times == 1), "nobody twice");
    assert!(seen.len() >= 600 - doubted, "nobody is forgotten");
    let expected = if doubted == 0 { "sent" } else { "uncertain" };
    assert_eq!(receipt["outcome"], expected);
}
