//! How many frames a second, and where the processor time goes.

use super::contender::Contender;
use super::pusher::{CHATS, frame_bytes};
use super::table::Table;
use super::trial::Bench;
use crate::support::{Aim, Bar, Page, bars, size};

const WINDOWS: [u64; 2] = [64, 256];
/// Least share of the bare loop's throughput.
const AIM_RATE: f64 = 0.95;
/// Most processor time a frame, as a multiple of the bare loop's.
const AIM_CPU: f64 = 1.25;

fn setting(window: u64) -> String {
    format!("{window} unanswered")
}

/// Measures, writes, and returns the bare loop's limit in frames a second.
pub(super) async fn measure(bench: &Bench, page: &mut Page) -> f64 {
    let rounds = size("BENCH_ROUNDS", 5, 1);
    let frames = size("BENCH_FRAMES", 60_000, 10_000);
    let mut table = Table::default();
    for _ in 0..rounds {
        for window in WINDOWS {
            for contender in Contender::ALL {
                let count = contender.share(frames);
                if let Some(figures) = bench.windowed(contender, window, count).await {
                    table.add(&setting(window), contender, figures);
                }
            }
        }
    }
    page.section("In: throughput");
    let (body, headers) = bench.sample.bytes();
    page.text(&format!(
        "{rounds} interleaved rounds of {frames} frames (a tenth for the SDKs) of {} bytes in {CHATS} chats, over one connection, \
         with so many unanswered at a time. The bridge makes {body} bytes of body and {headers} bytes in {} headers of a frame; the \
         bare loop publishes the data as it came and one header. CPU is what the contender itself used; the pusher is \
         the DingTalk side of this harness.",
        frame_bytes(),
        bench.sample.headers(),
    ));
    for window in WINDOWS {
        table.show(&setting(window), page);
        aims(&table, window, page);
    }
    plots(&table, page);
    let rate = |window| table.of(&setting(window), Contender::Bare, |row| row.rate);
    let rates = WINDOWS.iter().filter_map(|window| rate(*window));
    rates.map(|rate| rate.median).fold(0.0, f64::max)
}

fn aims(table: &Table, window: u64, page: &mut Page) {
    let setting = setting(window);
    let both = |field| table.beside(&setting, field);
    if let Some(measured) = both(|row| row.rate) {
        let name = format!("Throughput to the bare loop's, {setting}");
        page.aim(Aim::ratio_at_least(&name, AIM_RATE, measured));
    }
    if let Some(measured) = both(|row| row.own) {
        let name = format!("CPU per frame to the bare loop's, {setting}");
        page.aim(Aim::ratio_at_most(&name, AIM_CPU, measured));
    }
}

fn plots(table: &Table, page: &mut Page) {
    let mut rates = Vec::new();
    let mut costs = Vec::new();
    for window in WINDOWS {
        let setting = setting(window);
        let mut group = (Vec::new(), Vec::new());
        for contender in Contender::ALL {
            let median = |field| Some(table.of(&setting, contender, field)?.median);
            let Some(rate) = median(|row| row.rate) else {
                continue;
            };
            group.0.push(Bar {
                name: contender.name().to_owned(),
                parts: vec![rate],
                note: format!("{rate:.0}"),
            });
            let fields: [super::table::Field; 3] =
                [|row| row.own, |row| row.broker, |row| row.pusher];
            let parts: Vec<f64> = fields.into_iter().filter_map(median).collect();
            let sum: f64 = parts.iter().sum();
            // The SDKs would leave no room to see the others apart.
            if Contender::LOOPS.contains(&contender) {
                group.1.push(Bar {
                    name: contender.name().to_owned(),
                    note: format!("{sum:.1} µs, {:.2} cores", sum * rate / 1e6),
                    parts,
                });
            }
        }
        rates.push((setting.clone(), group.0));
        costs.push((setting, group.1));
    }
    let svg = bars(
        "Throughput from socket to ack",
        "frames a second",
        &["frames"],
        &rates,
    );
    page.plot("throughput", "Throughput of all contenders", svg);
    let svg = bars(
        "Where the processor time goes",
        "µs of processor time a frame",
        &["contender", "nats-server", "pusher"],
        &costs,
    );
    page.plot("cores", "Processor time a frame by process", svg);
    neighbours(table, page);
}

/// Says what the shape of the message costs where the bridge has no say.
fn neighbours(table: &Table, page: &mut Page) {
    let texts = WINDOWS.map(|window| neighbour(table, window));
    texts.iter().flatten().for_each(|text| page.text(text));
}

fn neighbour(table: &Table, window: u64) -> Option<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let median = |contender, field| Some(table.of(&setting(window), contender, field)?.median);
    let broker = |contender| median(contender, |row| row.broker);
    let bare = broker(Contender::Bare)?;
    let full = broker(Contender::BareFull)?;
    let bridge = broker(Contender::Bridge)?;
    let own = median(Contender::Bare, |row| row.own)?;
    let pusher = median(Contender::Bare, |row| row.pusher)?;
    let bound = (own + bare + pusher) / (own + bridge + pusher);
    Some(format!(
        "At {window} unanswered, nats-server spends {bare:.1} µs on a message of the bare loop, {full:.1} µs on one of the full bare loop and \
         {bridge:.1} µs on one of the bridge. On {cores} cores, what broker and pusher use the contender cannot have: that shows in the \
         frames a second of whoever publishes the larger message, and not in its own processor time. With the broker's share as it is for \
         the bridge's messages, a program that spends no more than the bare loop does, and keeps the cores as busy, comes to {bound:.2} of its \
         frames a second.",
    ))
}
