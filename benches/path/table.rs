//! Figures by setting and contender, round after round.

use super::contender::Contender;
use super::trial::Figures;
use crate::support::{Beside, Page, Spread, ratios};

/// One of the figures.
pub(super) type Field = fn(&Figures) -> f64;

/// All trials of a section.
#[derive(Default)]
pub(super) struct Table(Vec<(String, Contender, Figures)>);

impl Table {
    /// Adds a trial.
    pub(super) fn add(&mut self, setting: &str, contender: Contender, figures: Figures) {
        self.0.push((setting.to_owned(), contender, figures));
    }

    fn rounds(&self, setting: &str, contender: Contender) -> impl Iterator<Item = &Figures> {
        let wanted =
            move |row: &&(String, Contender, Figures)| row.0 == setting && row.1 == contender;
        self.0.iter().filter(wanted).map(|(_, _, figures)| figures)
    }

    /// A figure over the rounds.
    pub(super) fn of(&self, setting: &str, contender: Contender, field: Field) -> Option<Spread> {
        Spread::of(self.rounds(setting, contender).map(field))
    }

    /// Round by round, the first over the second.
    pub(super) fn ratio(
        &self,
        setting: &str,
        (over, under): (Contender, Contender),
        field: Field,
    ) -> Option<Spread> {
        let values =
            |contender| -> Vec<f64> { self.rounds(setting, contender).map(field).collect() };
        ratios(&values(over), &values(under))
    }

    /// The bridge's ratio to the bare loop, and what the control comes to.
    pub(super) fn beside(&self, setting: &str, field: Field) -> Option<(Spread, Beside)> {
        let ratio = |over, under| self.ratio(setting, (over, under), field);
        let beside = Beside {
            control: ratio(Contender::BareFull, Contender::Bare)?,
            bridge: ratio(Contender::Bridge, Contender::BareFull)?,
        };
        Some((ratio(Contender::Bridge, Contender::Bare)?, beside))
    }

    /// Whether every frame of every round was answered and stored.
    pub(super) fn whole(&self, setting: &str, contender: Contender) -> bool {
        self.rounds(setting, contender).all(|figures| figures.whole)
    }

    /// Writes one setting as a table, each contender's throughput also as a ratio to the bare loop's.
    pub(super) fn show(&self, setting: &str, page: &mut Page) {
        let head = [
            setting,
            "frames/s",
            "to bare loop",
            "ack p50, ms",
            "p99, ms",
            "p99.9, ms",
            "CPU µs/frame",
            "nats-server µs/frame",
            "pusher µs/frame",
            "peak RSS, MiB",
            "all stored, all answered",
        ];
        let mut rows = Vec::new();
        for contender in Contender::ALL {
            let shown = |field: Field, digits| {
                let spread = self.of(setting, contender, field);
                spread.map_or_else(|| "–".to_owned(), |spread| spread.shown(digits))
            };
            if self.rounds(setting, contender).next().is_none() {
                continue;
            }
            let ratio = self.ratio(setting, (contender, Contender::Bare), |row| row.rate);
            rows.push(vec![
                contender.name().to_owned(),
                shown(|row| row.rate, 0),
                ratio.map_or_else(|| "–".to_owned(), |ratio| ratio.shown(2)),
                shown(|row| row.p50, 2),
                shown(|row| row.p99, 2),
                shown(|row| row.p999, 2),
                shown(|row| row.own, 1),
                shown(|row| row.broker, 1),
                shown(|row| row.pusher, 1),
                shown(|row| row.peak_mib, 1),
                if self.whole(setting, contender) {
                    "yes"
                } else {
                    "**no**"
                }
                .to_owned(),
            ]);
        }
        page.table(&head, &rows);
    }
}
