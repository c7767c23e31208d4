//! Cuts a text that is too long into parts that each read well: at paragraphs, then lines, then
//! sentences; code fences are closed and opened again. It knows no message form.

mod fence;
mod part;
mod size;

pub(super) use fence::{Fence, with_table_borders};
use part::Part;
pub(super) use size::Size;

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Nothing in it has a meaning.
    Plain,
    /// Code fences stay whole in themselves.
    Markdown,
}

/// Cuts `text` into parts of at most `limit` each, in order. No character of the content is lost;
/// what is added are fences. A limit under some 500 units may be exceeded by them.
pub(super) fn split(text: &str, syntax: Syntax, limit: Size) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut open = None;
    while !rest.is_empty() {
        let cut = Part::new(rest, syntax, open, limit).cut();
        let (content, after) = rest.split_at_checked(cut.at).unwrap_or((rest, ""));
        let mut part = open.map(Fence::opener).unwrap_or_default();
        part.push_str(content);
        if let Some(fence) = cut.open {
            part.push_str(&fence.closer(content));
        }
        parts.push(part);
        (rest, open) = (after, cut.open);
    }
    parts
}

#[cfg(test)]
mod tests;
