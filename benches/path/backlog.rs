//! Whether a stream that holds much already makes the live path slower.

use async_nats::jetstream::context::ContextBuilder;
use futures_util::StreamExt;
use futures_util::stream;

use super::gateway::Gateway;
use super::pusher::Pace;
use super::setting::Setting;
use super::trial::{Bench, Figures, Trial};
use crate::support::{Page, Spread, ratios, size};

const WINDOW: u64 = 64;
/// Publishes of the prefill without a PubAck at a time.
const PREFILL_WINDOW: usize = 2048;
/// Bytes of a body that lies there.
const BODY: usize = 128;

/// Measures with an empty stream and a full one, in turn.
pub(super) async fn measure(bench: &Bench, page: &mut Page) {
    let (rounds, frames) = (
        size("BENCH_ROUNDS", 5, 1),
        size("BENCH_FRAMES", 60_000, 10_000),
    );
    let backlog = size("BENCH_BACKLOG", 1_000_000, 100_000);
    let empty = (Gateway::start().await, "an empty stream");
    let full = (Gateway::start().await, "a full stream");
    let mut sides = Vec::new();
    for (gateway, name) in [empty, full] {
        let setting = Setting::new(&gateway.url()).await;
        sides.push((Some((gateway, setting)), name, Vec::new()));
    }
    let mut bytes = 0;
    if let Some((Some((_, setting)), _, _)) = sides.last() {
        prefill(setting, backlog).await;
        bytes = setting.stored_bytes().await;
    }
    for _ in 0..rounds {
        for (side, _, figures) in &mut sides {
            let Some((gateway, setting)) = side.take() else {
                continue;
            };
            let (back, measured) = one(bench, gateway, setting, frames).await;
            *side = Some(back);
            figures.push(measured);
        }
    }
    page.section("In: a backlog of stored messages");
    page.text(&format!(
        "The inbound stream holds {backlog} messages of {BODY} bytes in 1000 chats beforehand ({} MB), published without message ids by \
         a publisher with {PREFILL_WINDOW} in flight. {rounds} interleaved rounds of {frames} frames with {WINDOW} unanswered, the bridge \
         started anew for each; what the rounds add stays.",
        bytes / 1_000_000,
    ));
    write(
        &sides
            .into_iter()
            .map(|(_, name, figures)| (name, figures))
            .collect::<Vec<_>>(),
        page,
    );
}

fn write(sides: &[(&str, Vec<Figures>)], page: &mut Page) {
    let shown = |figures: &[Figures], field: fn(&Figures) -> f64, digits| {
        Spread::of(figures.iter().map(field))
            .map_or_else(String::new, |spread| spread.shown(digits))
    };
    let rows: Vec<Vec<String>> = sides
        .iter()
        .map(|(name, figures)| {
            vec![
                (*name).to_owned(),
                shown(figures, |row| row.rate, 0),
                shown(figures, |row| row.p50, 2),
                shown(figures, |row| row.p99, 2),
                shown(figures, |row| row.own, 1),
                shown(figures, |row| row.broker, 1),
            ]
        })
        .collect();
    let head = [
        "onto",
        "frames/s",
        "ack p50, ms",
        "p99, ms",
        "CPU µs/frame",
        "nats-server µs/frame",
    ];
    page.table(&head, &rows);
    if let [(_, empty), (_, full)] = sides {
        let rate = |figures: &[Figures]| figures.iter().map(|row| row.rate).collect::<Vec<_>>();
        if let Some(ratio) = ratios(&rate(full), &rate(empty)) {
            page.text(&format!(
                "Throughput onto the full stream to that onto the empty one: {}.",
                ratio.shown(2)
            ));
        }
    }
}

async fn one(
    bench: &Bench,
    gateway: Gateway,
    setting: Setting,
    frames: u64,
) -> ((Gateway, Setting), Figures) {
    let process = setting.bridge();
    let mut trial = Trial::around(setting, process, gateway);
    trial.connected(1).await;
    trial.warm_up(bench).await;
    let figures = trial
        .measure(bench.load(frames, Pace::Window(WINDOW)))
        .await;
    (trial.parts(), figures)
}

async fn prefill(setting: &Setting, count: u64) {
    let client = async_nats::connect(setting.broker().url()).await.unwrap();
    let jetstream = ContextBuilder::new()
        .max_ack_inflight(PREFILL_WINDOW * 2)
        .build(client);
    let body = bytes::Bytes::from(vec![b'x'; BODY]);
    stream::iter(0..count)
        .map(|number| {
            let (jetstream, body) = (jetstream.clone(), body.clone());
            async move {
                let subject = format!("dingtalk.inbound.bench.group.old{:04}", number % 1000);
                jetstream
                    .publish(subject, body)
                    .await
                    .unwrap()
                    .await
                    .unwrap();
            }
        })
        .buffer_unordered(PREFILL_WINDOW)
        .for_each(|()| std::future::ready(()))
        .await;
    assert_eq!(setting.stored().await, count, "the backlog lies there");
}
