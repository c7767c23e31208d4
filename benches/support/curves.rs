//! Curves in panels side by side, one legend for all.

use super::svg::{Anchor, COLOURS, Canvas, INK, PALE, round_steps, tick};

const PANEL: (f64, f64) = (330.0, 260.0);
/// Room left of a panel for its axis, and above it for title and legend.
const LEFT: f64 = 74.0;
const TOP: f64 = 80.0;
const BOTTOM: f64 = 52.0;

/// What an axis measures.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    /// In powers of ten; else from zero on.
    pub(crate) log: bool,
}

/// One line of a panel; its place among the curves is its colour.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One set of axes.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) curves: Vec<Curve>,
}

/// From values to pixels.
struct Scale {
    log: bool,
    ends: (f64, f64),
    pixels: (f64, f64),
    ticks: Vec<f64>,
}

impl Scale {
    fn new(axis: Axis, values: &[f64], pixels: (f64, f64)) -> Self {
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let least = values.iter().copied().fold(most, f64::min);
        let ticks = if axis.log {
            powers(least, most)
        } else {
            round_steps(most, 5.0)
        };
        let ends = (ticks[0], ticks[ticks.len() - 1]);
        Self {
            log: axis.log,
            ends,
            pixels,
            ticks,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let (low, high) = self.ends;
        let share = if self.log {
            (value / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }
}

/// Powers of ten around the values, with 2 and 5 between them when there are few.
fn powers(least: f64, most: f64) -> Vec<f64> {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let last = last.max(first + 1);
    let between: &[f64] = if last - first <= 2 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let mut ticks: Vec<f64> = (first..last)
        .flat_map(|power| between.iter().map(move |step| step * 10_f64.powi(power)))
        .collect();
    ticks.push(10_f64.powi(last));
    ticks
}

/// The drawing.
pub(crate) fn curves(title: &str, panels: &[Panel]) -> String {
    let count = panels.len() as f64;
    let mut canvas = Canvas::new(count * (PANEL.0 + LEFT) + 24.0, TOP + PANEL.1 + BOTTOM);
    canvas.strong((LEFT, 24.0), Anchor::Start, title);
    if let Some(panel) = panels.first() {
        let names: Vec<&str> = panel
            .curves
            .iter()
            .map(|curve| curve.name.as_str())
            .collect();
        if names.len() > 1 {
            canvas.legend((LEFT, 48.0), &names);
        }
    }
    for (at, panel) in panels.iter().enumerate() {
        draw(&mut canvas, panel, LEFT + at as f64 * (PANEL.0 + LEFT));
    }
    canvas.finish()
}

fn draw(canvas: &mut Canvas, panel: &Panel, left: f64) {
    let (right, bottom) = (left + PANEL.0, TOP + PANEL.1);
    let points = || panel.curves.iter().flat_map(|curve| curve.points.iter());
    let xs: Vec<f64> = points().map(|(x, _)| *x).collect();
    let ys: Vec<f64> = points().map(|(_, y)| *y).collect();
    if xs.is_empty() {
        return;
    }
    let x = Scale::new(panel.x, &xs, (left, right));
    let y = Scale::new(panel.y, &ys, (bottom, TOP));
    for value in &x.ticks {
        canvas.line((x.at(*value), TOP), (x.at(*value), bottom), PALE);
        let below = (x.at(*value), bottom + 17.0);
        canvas.word(below, Anchor::Middle, &tick(*value));
    }
    for value in &y.ticks {
        canvas.line((left, y.at(*value)), (right, y.at(*value)), PALE);
        let beside = (left - 6.0, y.at(*value) + 4.0);
        canvas.word(beside, Anchor::End, &tick(*value));
    }
    canvas.line((left, TOP), (left, bottom), INK);
    canvas.line((left, bottom), (right, bottom), INK);
    let middle = f64::midpoint(left, right);
    canvas.word((middle, TOP - 8.0), Anchor::Middle, panel.title);
    canvas.word((middle, bottom + 38.0), Anchor::Middle, panel.x.label);
    canvas.upwards((left - 48.0, f64::midpoint(TOP, bottom)), panel.y.label);
    for (curve, colour) in panel.curves.iter().zip(COLOURS) {
        let pixels: Vec<(f64, f64)> = curve
            .points
            .iter()
            .map(|(px, py)| (x.at(*px), y.at(*py)))
            .collect();
        canvas.curve(&pixels, colour);
    }
}
