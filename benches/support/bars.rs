//! Bars that lie, in groups, each of one part or of several that add up.

use super::svg::{Anchor, COLOURS, Canvas, INK, PALE, round_steps, tick};

const WIDTH: f64 = 860.0;
/// Room for the names.
const LEFT: f64 = 190.0;
/// Room for what stands behind a bar.
const RIGHT: f64 = 150.0;
const TOP: f64 = 64.0;
const BAR: f64 = 20.0;
const STEP: f64 = 27.0;
const GROUP: f64 = 34.0;

/// One bar.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// Values of its parts, by the order of the legend.
    pub(crate) parts: Vec<f64>,
    /// What stands behind it.
    pub(crate) note: String,
}

/// The drawing; `legend` names the parts and is left out when there is one.
pub(crate) fn bars(
    title: &str,
    label: &str,
    legend: &[&str],
    groups: &[(String, Vec<Bar>)],
) -> String {
    let count: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let bottom = TOP + groups.len() as f64 * GROUP + count as f64 * STEP;
    let mut canvas = Canvas::new(WIDTH, bottom + 50.0);
    canvas.strong((16.0, 24.0), Anchor::Start, title);
    if legend.len() > 1 {
        canvas.legend((16.0, 48.0), legend);
    }
    let all = groups.iter().flat_map(|(_, bars)| bars.iter());
    let most = all
        .map(|bar| bar.parts.iter().sum::<f64>())
        .fold(f64::MIN_POSITIVE, f64::max);
    let steps = round_steps(most, 6.0);
    let unit = (WIDTH - LEFT - RIGHT) / steps[steps.len() - 1];
    for value in &steps {
        let x = LEFT + value * unit;
        canvas.line((x, TOP), (x, bottom), PALE);
        canvas.word((x, bottom + 17.0), Anchor::Middle, &tick(*value));
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    canvas.word((middle, bottom + 38.0), Anchor::Middle, label);
    let mut y = TOP;
    for (group, bars) in groups {
        canvas.strong((16.0, y + 22.0), Anchor::Start, group);
        y += GROUP;
        for bar in bars {
            draw(&mut canvas, bar, y, unit);
            y += STEP;
        }
    }
    canvas.line((LEFT, TOP), (LEFT, bottom), INK);
    canvas.finish()
}

fn draw(canvas: &mut Canvas, bar: &Bar, y: f64, unit: f64) {
    let base = y + BAR - 5.0;
    canvas.word((LEFT - 8.0, base), Anchor::End, &bar.name);
    let mut x = LEFT;
    for (part, colour) in bar.parts.iter().zip(COLOURS) {
        canvas.block((x, y), (part * unit, BAR), colour);
        x += part * unit;
    }
    canvas.word((x + 6.0, base), Anchor::Start, &bar.note);
}
