//! Medians over the rounds, and ratios within the run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::contender::Contender;
use crate::pusher::Run;

/// One measured run.
#[derive(Clone)]
pub(crate) struct Row {
    rate: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    cpu_micros: f64,
    peak_mib: f64,
    whole: bool,
}

impl Row {
    /// Frames a second, latencies in ms, processor time a frame, memory.
    pub(crate) fn new(run: &Run, cpu: Duration, peak_mib: f64, frames: u64, stored: bool) -> Self {
        let percentile = |share: f64| {
            let at = (run.latencies.len() as f64 * share) as usize;
            let last = run.latencies.len().saturating_sub(1);
            run.latencies
                .get(at.min(last))
                .map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
        };
        let answered = run.answered as f64;
        Self {
            rate: answered / run.elapsed.as_secs_f64(),
            p50: percentile(0.5),
            p99: percentile(0.99),
            p999: percentile(0.999),
            cpu_micros: cpu.as_secs_f64() * 1e6 / answered,
            peak_mib,
            whole: stored && run.answered == frames,
        }
    }
}

/// All rows by setting and contender.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<String, Vec<(Contender, Row)>>);

impl Table {
    /// Adds a row.
    pub(crate) fn add(&mut self, setting: &str, contender: Contender, row: Row) {
        self.0
            .entry(setting.to_owned())
            .or_default()
            .push((contender, row));
    }

    /// Frames a second of a contender, the median of its rounds.
    pub(crate) fn median_rate(&self, setting: &str, contender: Contender) -> Option<f64> {
        self.median(setting, contender, |row| row.rate)
    }

    fn median(
        &self,
        setting: &str,
        contender: Contender,
        value: impl Fn(&Row) -> f64,
    ) -> Option<f64> {
        let mut values: Vec<f64> = self
            .0
            .get(setting)?
            .iter()
            .filter(|(other, _)| *other == contender)
            .map(|(_, row)| value(row))
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Prints a table a setting, and each figure of the bridge as a ratio to the bare loop.
    pub(crate) fn print(&self) {
        for (setting, rows) in &self.0 {
            println!("\n### {setting}\n");
            println!(
                "| | frames/s | ack p50 ms | p99 | p99.9 | CPU µs/frame | peak RSS MiB | all stored and answered |"
            );
            println!("|---|---:|---:|---:|---:|---:|---:|---|");
            for contender in Contender::ALL {
                let Some(rate) = self.median_rate(setting, contender) else {
                    continue;
                };
                let of = |value: fn(&Row) -> f64| {
                    self.median(setting, contender, value).unwrap_or(f64::NAN)
                };
                let whole = rows
                    .iter()
                    .filter(|(other, _)| *other == contender)
                    .all(|(_, row)| row.whole);
                println!(
                    "| {} | {rate:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {} |",
                    contender.name(),
                    of(|row| row.p50),
                    of(|row| row.p99),
                    of(|row| row.p999),
                    of(|row| row.cpu_micros),
                    of(|row| row.peak_mib),
                    if whole { "yes" } else { "NO" },
                );
            }
            self.print_ratios(setting);
        }
    }

    fn print_ratios(&self, setting: &str) {
        let ratio = |contender, value: fn(&Row) -> f64| {
            let ours = self.median(setting, Contender::Bridge, value)?;
            Some(ours / self.median(setting, contender, value)?)
        };
        for contender in Contender::ALL {
            if contender == Contender::Bridge {
                continue;
            }
            if let (Some(rate), Some(cpu), Some(p99), Some(memory)) = (
                ratio(contender, |row| row.rate),
                ratio(contender, |row| row.cpu_micros),
                ratio(contender, |row| row.p99),
                ratio(contender, |row| row.peak_mib),
            ) {
                println!(
                    "\n(b) / {}: frames/s {rate:.2}, CPU {cpu:.2}, p99 {p99:.2}, memory {memory:.2}",
                    contender.name()
                );
            }
        }
    }
}
