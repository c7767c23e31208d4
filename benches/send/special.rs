//! What large files, many cards at once and a takeover cost.

use std::io::Cursor;
use std::time::{Duration, Instant};

use async_nats::jetstream::object_store::ObjectMetadata;
use nats_dingtalk::sim::{CARD_STREAMING_PATH, CardState, Sim};
use serde_json::json;

use super::scene::Scene;
use crate::support::{Page, Spread, quick, size};

/// Bytes of the file that passes.
const FILE: usize = 20_000_000;
/// Pieces of each card.
const PIECES: usize = 50;
/// Calls a second that DingTalk allows meanwhile.
const CEILING: u32 = 20;

/// Measures and writes each.
pub(crate) async fn measure(page: &mut Page) {
    page.section("Out: a large file, many cards at once, a takeover");
    file(page).await;
    cards(page).await;
    takeover(page).await;
}

/// Waits for something, five minutes at most.
async fn until(what: &str, mut there: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !there().await {
        assert!(begun.elapsed() < Duration::from_secs(300), "no {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn file(page: &mut Page) {
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
    page.text(&format!(
        "A file of 20 MB from the object store to DingTalk's upload, streamed: RSS rises by {more:.1} MiB meanwhile."
    ));
}

async fn cards(page: &mut Page) {
    let cards = usize::try_from(size("BENCH_CARDS", 200, 20)).unwrap();
    let scene = Scene::limited(200_000, Some(CEILING)).await;
    scene.prepare().await;
    let bridge = scene.bridge();
    let begun = Instant::now();
    for piece in 0..PIECES {
        let pieces = (0..cards).map(|card| {
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
        let shown = scene.sim.cards();
        let done = shown
            .iter()
            .filter(|card| card.state == CardState::Finished);
        done.count() == cards
    })
    .await;
    let calls = scene.sim.calls();
    let refused = calls.iter().filter(|call| call.status == Some(403)).count();
    let frames = calls
        .iter()
        .filter(|call| call.path == CARD_STREAMING_PATH)
        .count();
    page.text(&format!(
        "{cards} cards that stream at once, {} pieces written in {:.0} s, {CEILING} calls a second allowed: all finished after \
         {:.0} s with {frames} streaming calls and {refused} calls refused; RSS {:.1} MiB at its peak.",
        cards * PIECES,
        written.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
        bridge.memory("VmHWM"),
    ));
}

/// The next send after a kill -9 of the active one of two bridges, some times.
async fn takeover(page: &mut Page) {
    let mut times = Vec::new();
    for _ in 0..if quick() { 1 } else { 3 } {
        times.push(one_takeover().await.as_secs_f64());
    }
    if let Some(spread) = Spread::of(times) {
        page.text(&format!(
            "Two bridges, the active one killed with SIGKILL: {} s to the next send.",
            spread.shown(1)
        ));
    }
}

async fn one_takeover() -> Duration {
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
    let span = killed.elapsed();
    drop(standby);
    span
}

fn delivered(sim: &Sim) -> u64 {
    sim.counters().delivered
}
