//! A published ledger in which some rows were run again, after what they showed was mended. Text in, text
//! out.

use std::fmt::Write as _;

use crate::report::MISSED;

/// `published` with `lines` in place of those of the same rows, and with `said` below its rows; what was
/// missed is told anew.
pub(crate) fn replaced(published: &str, lines: &[String], said: &str) -> String {
    let known = |line: &str| lines.iter().find(|new| name(new) == name(line));
    let body = published.split(MISSED).next().unwrap_or_default();
    let mut text = String::new();
    let mut missed = String::new();
    for old in body.trim_end().lines() {
        let line = known(old).map_or(old, String::as_str);
        let _ = writeln!(text, "{line}");
        if let Some(aims) = aims(line) {
            let _ = writeln!(missed, "- {}: {aims}", name(line).unwrap_or_default());
        }
    }
    let count = missed.lines().count();
    let _ = write!(
        text,
        "\n{said} With these, {count} rows miss their aims or were not run.\n"
    );
    if count > 0 {
        let _ = write!(text, "\n{MISSED}\n\n{missed}");
    }
    text
}

/// The name of the row that a line of the table is.
fn name(line: &str) -> Option<&str> {
    let cell = line.strip_prefix("| ")?.split(" | ").next()?;
    cell.split(" (see the notes)").next()
}

/// What a row came to, when that is not what it should be.
fn aims(line: &str) -> Option<&str> {
    name(line)?;
    let last = line.strip_suffix(" |")?.rsplit(" | ").next()?;
    let wrong = last.starts_with("**") || last == "not run";
    wrong.then_some(last)
}
