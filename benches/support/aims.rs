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
    beside: Option<Beside>,
}

/// What the control comes to, with whom the bridge shares the shape of its messages.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    /// The control's ratio to the bare loop.
    pub(crate) control: Spread,
    /// The bridge's ratio to the control, round by round.
    pub(crate) bridge: Spread,
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
            beside: None,
        }
    }

    /// A ratio to the bare loop that shall reach a limit, and what the control comes to.
    pub(crate) fn ratio_at_least(
        name: &str,
        limit: f64,
        (measured, beside): (Spread, Beside),
    ) -> Self {
        Self {
            least: true,
            ..Self::ratio_at_most(name, limit, (measured, beside))
        }
    }

    /// A ratio to the bare loop that shall not pass a limit, and what the control comes to.
    pub(crate) fn ratio_at_most(
        name: &str,
        limit: f64,
        (measured, beside): (Spread, Beside),
    ) -> Self {
        Self {
            beside: Some(beside),
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
        let control = self.beside.map_or_else(String::new, |beside| {
            format!("; bare loop with full messages {}", beside.control.shown(2))
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
        let Beside { control, bridge } = self.beside.filter(|_| !self.met())?;
        let control = control.median;
        let measured = self.measured.median;
        let apart = |ratio: f64| if self.least { 1.0 - ratio } else { ratio - 1.0 } * 100.0;
        let (whole, shape) = (apart(measured), apart(control));
        let own = whole - shape.max(0.0);
        let beside = bridge.median;
        let name = &self.name;
        let judged = if self.least && beside >= self.limit || !self.least && beside <= self.limit {
            "so beside a loop that publishes the same messages the aim holds, and the miss lies outside the bridge's code"
        } else {
            "so the bridge's own code misses it too"
        };
        Some(format!(
            "**{name}**: the bridge is {} the bare loop. The control, which does nothing but the bare loop's work with messages of \
             the bridge's shape, is {} it; the bridge's own code accounts for {own:.0} points. Bridge to control, round by round: {}, {judged}.",
            self.stands(whole),
            self.stands(shape),
            bridge.shown(2),
        ))
    }

    /// Where something stands to the bare loop that is so many percent worse.
    fn stands(&self, worse: f64) -> String {
        let (behind, ahead) = if self.least {
            ("behind", "ahead of")
        } else {
            ("above", "below")
        };
        match worse {
            worse if worse >= 0.5 => format!("{worse:.0} % {behind}"),
            worse if worse <= -0.5 => format!("{:.0} % {ahead}", -worse),
            _ => "level with".to_owned(),
        }
    }
}
