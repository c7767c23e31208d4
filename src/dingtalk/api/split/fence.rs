//! The blocks of markdown that a cut must know: code fences and tables.

use std::iter;

/// Longest marker of a code fence, in characters; a longer run is text.
const MAX_MARKER: usize = 32;
/// Longest info string and indentation of a code fence, in bytes; a longer line is text.
const MAX_INFO: usize = 64;
/// Longest line that may be one, in bytes, white space behind it included.
const MAX_LINE: usize = 256;

/// A code fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dingtalk::api) struct Fence<'a> {
    indent: &'a str,
    marker: &'a str,
    info: &'a str,
}

impl<'a> Fence<'a> {
    /// The fence that `line` opens outside of one.
    pub(in crate::dingtalk::api) fn opened_by(line: &'a str) -> Option<Self> {
        // Lines may be megabytes long, and this is asked of every place in them.
        if line.len() > MAX_LINE {
            return None;
        }
        let start = line.trim_start_matches([' ', '\t']);
        let indent = line.get(..line.len() - start.len())?;
        let first = start.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let info = start.trim_start_matches(first);
        let marker = start.get(..start.len() - info.len())?;
        let info = info.trim_end();
        let legal = (3..=MAX_MARKER).contains(&marker.len())
            && indent.len() <= MAX_INFO
            && info.len() <= MAX_INFO
            && !(first == '`' && info.contains('`'));
        legal.then_some(Self {
            indent,
            marker,
            info,
        })
    }

    /// Whether `line` closes this fence.
    pub(super) fn closes(self, line: &str) -> bool {
        Fence::opened_by(line).is_some_and(|other| {
            other.info.trim().is_empty()
                && other.marker.starts_with(self.marker)
                && other.marker.len() >= self.marker.len()
        })
    }

    /// The line that opens it again.
    pub(super) fn opener(self) -> String {
        [self.indent, self.marker, self.info, "\n"].concat()
    }

    /// What closes it behind `content`.
    pub(super) fn closer(self, content: &str) -> String {
        let newline = if content.ends_with('\n') { "" } else { "\n" };
        [newline, self.indent, self.marker].concat()
    }
}

/// Puts a blank line before every table: without it DingTalk shows the rows as one paragraph.
pub(in crate::dingtalk::api) fn with_table_borders(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut open: Option<Fence<'_>> = None;
    let mut before = "";
    let next = text.split_inclusive('\n').skip(1).chain(iter::once(""));
    for (line, next) in text.split_inclusive('\n').zip(next) {
        let starts = open.is_none() && is_row(line) && is_delimiter(next);
        if starts && !before.trim().is_empty() {
            out.push('\n');
        }
        out.push_str(line);
        open = match open {
            None => Fence::opened_by(line),
            Some(fence) => (!fence.closes(line)).then_some(fence),
        };
        before = line;
    }
    out
}

/// Whether a line is the one under the head of a table: `|---|:--:|`.
fn is_delimiter(line: &str) -> bool {
    let line = line.trim();
    line.contains("--")
        && line.contains('|')
        && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// Whether a line may be a row of a table.
pub(super) fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|') || line.matches('|').count() > 1
}
