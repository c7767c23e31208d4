//! A drawing: lines, boxes and words on white, so that it is legible on a light page and on a dark one.

use std::fmt::Write as _;

/// Colours that people with any colour vision tell apart (Okabe and Ito).
pub(super) const COLOURS: [&str; 6] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
];
/// Words and axes.
pub(super) const INK: &str = "#222222";
/// Lines of the grid.
pub(super) const PALE: &str = "#DDDDDD";

/// Where a word stands to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing of a size in pixels.
pub(super) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
        );
    }

    /// A thick line through points, with a mark on each.
    pub(super) fn curve(&mut self, points: &[(f64, f64)], colour: &str) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            self.body,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            path.trim_end()
        );
        for (x, y) in points {
            let _ = writeln!(
                self.body,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#
            );
        }
    }

    pub(super) fn block(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        );
    }

    pub(super) fn word(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        self.write((x, y), anchor, text, "");
    }

    pub(super) fn strong(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        self.write((x, y), anchor, text, r#" font-weight="bold""#);
    }

    /// A word that runs upwards around its point.
    pub(super) fn upwards(&mut self, (x, y): (f64, f64), text: &str) {
        let turn = format!(r#" transform="rotate(-90 {x:.1} {y:.1})""#);
        self.write((x, y), Anchor::Middle, text, &turn);
    }

    fn write(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str, more: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}"{more}>{text}</text>"#
        );
    }

    /// Names and colours in a row, from a point to the right.
    pub(super) fn legend(&mut self, (mut x, y): (f64, f64), names: &[&str]) {
        for (name, colour) in names.iter().zip(COLOURS) {
            self.block((x, y - 10.0), (12.0, 12.0), colour);
            self.word((x + 18.0, y), Anchor::Start, name);
            // Seven pixels are enough for a letter of this size.
            x += 44.0 + 7.0 * name.chars().count() as f64;
        }
    }

    pub(super) fn finish(self) -> String {
        let Self {
            width,
            height,
            body,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"13\" \
             fill=\"{INK}\">\n<rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"white\"/>\n{body}</svg>\n"
        )
    }
}

/// A figure on an axis: no more digits than it needs.
pub(super) fn tick(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        // The steps of an axis are round numbers, sums of them nearly so.
        value => ((value * 1e6).round() / 1e6).to_string(),
    }
}

/// Round numbers from zero to beyond `most`, about `count` of them.
pub(super) fn round_steps(most: f64, count: f64) -> Vec<f64> {
    let rough = most / count;
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * decade);
    let last = (most / step).ceil() as u32;
    (0..=last).map(|n| f64::from(n) * step).collect()
}
