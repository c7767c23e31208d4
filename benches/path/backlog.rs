//! Whether a stream that holds much already makes the live path slower.

use async_nats::jetstream::context::ContextBuilder;
use futures_util::StreamExt;
use futures_util::stream;

use super::contender::Contender;
use super::gateway::Gateway;
use super::process::rest;
use super::pusher::Pace;
use super::setting::Setting;
use super::trial::{Bench, Figures, Trial};
use crate::support::{Page, Spread, ratios, size};

const WINDOW: u64 = 64;
/// Publishes of the prefill without a PubAck at a time.
const PREFILL_WINDOW: usize = 2048;
/// Bytes of a body that lies there.
const BODY: usize = 128;

/// Who is measured: the control shows what is the broker's share.
const CONTENDERS: [Contender; 2] = [Contender::Bridge, Contender::BareFull];
/// How often the broker is watched after the prefill at most.
const LOOKS: usize = 30;

/// A broker whose stream is empty or full, and what was measured on it.
struct Side {
    name: &'static str,
    /// Away while a trial runs.
    stands: Option<(Gateway, Setting)>,
    figures: [Vec<Figures>; CONTENDERS.len()],
}

/// Measures with an empty stream and a full one, in turn.
pub(super) async fn measure(bench: &Bench, page: &mut Page) {
    let (rounds, frames) = (
        size("BENCH_ROUNDS", 5, 1),
        size("BENCH_FRAMES", 60_000, 10_000),
    );
    let backlog = size("BENCH_BACKLOG", 1_000_000, 100_000);
    let (mut empty, mut full) = (side("an empty stream").await, side("a full stream").await);
    let mut bytes = 0;
    if let Some((_, setting)) = &full.stands {
        prefill(setting, backlog).await;
        bytes = setting.stored_bytes().await;
        rest("the broker", setting.broker().pid(), LOOKS).await;
    }
    for _ in 0..rounds {
        for (place, contender) in CONTENDERS.into_iter().enumerate() {
            for side in [&mut empty, &mut full] {
                let Some(stands) = side.stands.take() else {
                    continue;
                };
                let (back, measured) = one(bench, contender, stands, frames).await;
                side.stands = Some(back);
                side.figures[place].push(measured);
            }
        }
    }
    page.section("In: a backlog of stored messages");
    page.text(&format!(
        "The inbound stream holds {backlog} messages of {BODY} bytes in 1000 chats beforehand ({} MB), published without message ids by \
         a publisher with {PREFILL_WINDOW} in flight; the first round begins when the broker is at rest. {rounds} interleaved rounds of \
         {frames} frames with {WINDOW} unanswered, the contender started anew for each; what the rounds add stays.",
        bytes / 1_000_000,
    ));
    write(&[empty, full], page);
}

async fn side(name: &'static str) -> Side {
    let gateway = Gateway::start().await;
    let setting = Setting::new(&gateway.url()).await;
    Side {
        name,
        stands: Some((gateway, setting)),
        figures: [Vec::new(), Vec::new()],
    }
}

fn write(sides: &[Side; 2], page: &mut Page) {
    let shown = |figures: &[Figures], field: fn(&Figures) -> f64, digits| {
        Spread::of(figures.iter().map(field))
            .map_or_else(String::new, |spread| spread.shown(digits))
    };
    let mut rows = Vec::new();
    for (place, contender) in CONTENDERS.into_iter().enumerate() {
        for side in sides {
            let figures = &side.figures[place];
            rows.push(vec![
                contender.name().to_owned(),
                side.name.to_owned(),
                shown(figures, |row| row.rate, 0),
                shown(figures, |row| row.p50, 2),
                shown(figures, |row| row.p99, 2),
                shown(figures, |row| row.own, 1),
                shown(figures, |row| row.broker, 1),
            ]);
        }
    }
    let head = [
        "who",
        "onto",
        "frames/s",
        "ack p50, ms",
        "p99, ms",
        "CPU µs/frame",
        "nats-server µs/frame",
    ];
    page.table(&head, &rows);
    let rate = |figures: &[Figures]| figures.iter().map(|row| row.rate).collect::<Vec<_>>();
    let [empty, full] = sides;
    for (place, contender) in CONTENDERS.into_iter().enumerate() {
        let (full, empty) = (rate(&full.figures[place]), rate(&empty.figures[place]));
        if let Some(ratio) = ratios(&full, &empty) {
            page.text(&format!(
                "Throughput onto the full stream to that onto the empty one, {}: {}.",
                contender.name(),
                ratio.shown(2)
            ));
        }
    }
}

async fn one(
    bench: &Bench,
    contender: Contender,
    (gateway, setting): (Gateway, Setting),
    frames: u64,
) -> ((Gateway, Setting), Figures) {
    let process = contender.start(&setting, &bench.sample_path());
    let process = process.expect("neither needs more than this harness");
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
