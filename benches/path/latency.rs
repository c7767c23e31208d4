//! How long an ack takes the nearer the load comes to the limit.

use std::time::Duration;

use super::contender::Contender;
use super::pusher::Pace;
use super::table::{Field, Table};
use super::trial::Bench;
use crate::support::{Aim, Axis, Curve, Page, Panel, curves, quick, size};

/// Loads in percent of the bare loop's limit.
const LOADS: &[u64] = &[10, 25, 50, 75, 90, 100];
const QUICK_LOADS: &[u64] = &[10, 50, 100];
/// Most p99 at half load, as a multiple of the bare loop's.
const AIM: f64 = 1.5;

fn setting(percent: u64) -> String {
    format!("{percent} %")
}

/// Measures with loads in parts of `limit`, frames a second.
pub(super) async fn measure(bench: &Bench, limit: f64, page: &mut Page) {
    let loads = if quick() { QUICK_LOADS } else { LOADS };
    let rounds = size("BENCH_ROUNDS", 5, 1);
    let span = Duration::from_millis(size("BENCH_LATENCY_MS", 1500, 700));
    let mut table = Table::default();
    for _ in 0..rounds {
        for contender in Contender::LOOPS {
            let Some(mut trial) = bench.start(contender).await else {
                continue;
            };
            for percent in loads {
                let rate = limit * *percent as f64 / 100.0;
                let frames = (rate * span.as_secs_f64()) as u64;
                let figures = trial.measure(bench.load(frames, Pace::Rate(rate))).await;
                table.add(&setting(*percent), contender, figures);
            }
        }
    }
    write(&table, loads, (limit, rounds, span), page);
}

fn write(
    table: &Table,
    loads: &[u64],
    (limit, rounds, span): (f64, u64, Duration),
    page: &mut Page,
) {
    page.section("In: ack latency against load");
    page.text(&format!(
        "Frames come at a fixed rate, answered or not, for {:.1} s at each load, {rounds} rounds; 100 % is what the bare loop can do at \
         best, {limit:.0} frames/s. The pusher's timer ticks in milliseconds, so frames come in small bursts. A frame that the socket did \
         not take in time counts from when it was due, so a contender that is overrun cannot hide its queue.",
        span.as_secs_f64()
    ));
    let fields: [(&'static str, Field); 3] = [
        ("p50", |row| row.p50),
        ("p99", |row| row.p99),
        ("p99.9", |row| row.p999),
    ];
    let mut rows = Vec::new();
    for percent in loads {
        for contender in Contender::LOOPS {
            let mut row = vec![setting(*percent), contender.name().to_owned()];
            for (_, field) in fields {
                let spread = table.of(&setting(*percent), contender, field);
                row.push(spread.map_or_else(|| "–".to_owned(), |spread| spread.shown(2)));
            }
            rows.push(row);
        }
    }
    page.table(&["load", "", "ack p50, ms", "p99, ms", "p99.9, ms"], &rows);
    let panels = fields.map(|(title, field)| panel(table, loads, title, field));
    let svg = curves("Time from push to ack", &panels);
    page.plot("latency", "Ack latency against load", svg);
    if let Some(measured) = table.beside(&setting(50), |row| row.p99) {
        let name = "Ack p99 at half load to the bare loop's";
        page.aim(Aim::ratio_at_most(name, AIM, measured));
    }
}

fn panel(table: &Table, loads: &[u64], title: &'static str, field: Field) -> Panel {
    let curve = |contender: Contender| Curve {
        name: contender.name().to_owned(),
        points: loads
            .iter()
            .filter_map(|percent| {
                let spread = table.of(&setting(*percent), contender, field)?;
                Some((*percent as f64, spread.median))
            })
            .collect(),
    };
    Panel {
        title,
        x: Axis {
            label: "load, % of the bare loop's limit",
            log: false,
        },
        y: Axis {
            label: "ms from push to ack",
            log: true,
        },
        curves: Contender::LOOPS.map(curve).into(),
    }
}
