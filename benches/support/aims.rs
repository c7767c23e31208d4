//! What was aimed at, whether it was met, and how much of a miss the bridge is to blame for.

use super::spread::Spread;

/// One aim, as a limit to a figure.
pub(crate) struct Aim {
    name: String,
    limit: f64,
    /// Whether the figure shall be at least the limit; else at most.
    least: bool,
    measured: Spread,
    unit: &'static str,
    control: Option<Spread>,
}

impl Aim {
    /// A figure that shall stay below a limit.
    pub(crate) fn below(name: &str, limit: f64, measured: Spread, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            limit,
            least: false,
            measured,
            unit,
            control: None,
        }
    }

    /// A ratio to the bare loop that shall reach a limit, and the same ratio of the control.
    pub(crate) fn ratio_at_least(
        name: &str,
        limit: f64,
        (measured, control): (Spread, Spread),
    ) -> Self {
        Self {
            least: true,
            ..Self::ratio_at_most(name, limit, (measured, control))
        }
    }

    /// A ratio to the bare loop that shall not pass a limit, and the same ratio of the control.
    pub(crate) fn ratio_at_most(
        name: &str,
        limit: f64,
        (measured, control): (Spread, Spread),
    ) -> Self {
        Self {
            control: Some(control),
            ..Self::below(name, limit, measured, "")
        }
    }

    fn met(&self) -> bool {
        if self.least {
            self.measured.median >= self.limit
        } else {
            self.measured.median <= self.limit
        }
    }

    /// Its row of the table.
    pub(crate) fn row(&self) -> String {
        let bound = if self.least { "at least" } else { "at most" };
        let control = self.control.map_or_else(String::new, |control| {
            format!("; bare loop with full messages {}", control.shown(2))
        });
        let verdict = if self.met() { "met" } else { "**missed**" };
        format!(
            "| {}: {bound} {}{} | {}{}{control} | {verdict} |\n",
            self.name,
            self.limit,
            self.unit,
            self.measured.shown(2),
            self.unit,
        )
    }

    /// Where a miss comes from; `None` when there is none or nothing to compare with.
    pub(crate) fn reason(&self) -> Option<String> {
        let control = self.control.filter(|_| !self.met())?.median;
        let measured = self.measured.median;
        let whole = (measured - 1.0).abs() * 100.0;
        let shape = if self.least {
            1.0 - control
        } else {
            control - 1.0
        } * 100.0;
        let own = whole - shape;
        // What a bridge with nothing to do but to publish its messages would show.
        let beside = measured / control;
        let (name, far) = (&self.name, if self.least { "behind" } else { "above" });
        let judged = if self.least && beside >= self.limit || !self.least && beside <= self.limit {
            "so beside a loop that publishes the same messages the aim holds, and the miss lies outside the bridge's code"
        } else {
            "so the bridge's own code misses it too"
        };
        Some(format!(
            "**{name}**: the bridge is {whole:.0} % {far} the bare loop. The control, which does nothing but the bare loop's \
             work with messages of the bridge's shape, is {shape:.0} % {far} it; the bridge's own code accounts for the other \
             {own:.0} points. Bridge to control: {beside:.2}, {judged}."
        ))
    }
}
