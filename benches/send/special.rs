//! What large files, many cards at once and a takeover cost.

use std::io::Cursor;
use std::time::{Duration, Instant};

use async_nats::jetstream::object_store::ObjectMetadata;
use nats_dingtalk::sim::{CARD_STREAMING_PATH, CardState, Sim};
use serde_json::json;

use crate::scene::Scene;

/// Bytes of the file that passes.
const FILE: usize = 20_000_000;
/// Cards that stream at once.
const CARDS: usize = 200;
/// Pieces of each.
const PIECES: usize = 50;
/// Calls a second that DingTalk allows meanwhile.
const CEILING: u32 = 20;

/// Measures and prints each.
pub(crate) async fn run() {
    file().await;
    cards().await;
    takeover().await;
}

/// Waits for something, a minute at most.
async fn until(what: &str, mut there: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !there().await {
        assert!(begun.elapsed() < Duration::from_secs(300), "no {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn file() {
    let scene = Scene::start(1000).await;
    scene.prepare().await;
    let store = scene.jetstream().await;
    let store = store.get_object_store("DINGTALK_MEDIA").await.unwrap();
    let body: Vec<u8> = (0..FILE).map(|n| (n % 251) as u8).collect();
    let object = ObjectMetadata {
        name: "big.zip".to_owned(),
        ..ObjectMetadata::default()
    };
    store.put(object, &mut Cursor::new(body)).await.unwrap();
    let bridge = scene.bridge();
    let first = [("user.u1".to_owned(), json!({"id": "warm", "text": "warm"}))];
    scene.publish(first.into_iter()).await;
    until("first send", async || delivered(&scene.sim) == 1).await;
    let before = bridge.memory("VmHWM");
    let request = json!({"id": "file", "file": {"object": "big.zip", "name": "big.zip"}});
    scene
        .publish([("user.u1".to_owned(), request)].into_iter())
        .await;
    until("file", async || delivered(&scene.sim) == 2).await;
    let more = bridge.memory("VmHWM") - before;
    println!("\nRSS while a file of 20 MB passes: {more:.1} MiB more");
}

async fn cards() {
    let scene = Scene::limited(200_000, Some(CEILING)).await;
    scene.prepare().await;
    let bridge = scene.bridge();
    let begun = Instant::now();
    for piece in 0..PIECES {
        let pieces = (0..CARDS).map(|card| {
            let body = json!({
                "id": format!("c{card}-{piece}"),
                "stream": "answer",
                "append": format!("word {piece} "),
                "done": piece + 1 == PIECES,
            });
            (format!("user.u{card}"), body)
        });
        scene.publish(pieces).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let written = begun.elapsed();
    until("end of the cards", async || {
        let cards = scene.sim.cards();
        let done = cards
            .iter()
            .filter(|card| card.state == CardState::Finished);
        done.count() == CARDS
    })
    .await;
    let calls = scene.sim.calls();
    let refused = calls.iter().filter(|call| call.status == Some(403)).count();
    let frames = calls
        .iter()
        .filter(|call| call.path == CARD_STREAMING_PATH)
        .count();
    println!(
        "\n{CARDS} cards at once, {} pieces written in {:.0} s, {CEILING} calls a second allowed: all finished after {:.0} s, {frames} frames, {refused} calls refused; RSS {:.1} MiB",
        CARDS * PIECES,
        written.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
        bridge.memory("VmHWM"),
    );
}

async fn takeover() {
    let scene = Scene::start(200_000).await;
    scene.prepare().await;
    let active = scene.bridge();
    let first = [(
        "user.u1".to_owned(),
        json!({"id": "first", "text": "first"}),
    )];
    scene.publish(first.into_iter()).await;
    until("first send", async || delivered(&scene.sim) == 1).await;
    let standby = scene.bridge();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = delivered(&scene.sim);
    let killed = Instant::now();
    drop(active);
    let next = [("user.u1".to_owned(), json!({"id": "next", "text": "next"}))];
    scene.publish(next.into_iter()).await;
    until("takeover", async || delivered(&scene.sim) > before).await;
    println!(
        "\ntakeover after kill -9 of the active bridge: {:.1} s to the next send",
        killed.elapsed().as_secs_f64()
    );
    drop(standby);
}

fn delivered(sim: &Sim) -> u64 {
    sim.counters().delivered
}
