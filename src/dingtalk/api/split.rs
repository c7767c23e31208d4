//! Cuts a text that is too long into parts that each read well: at paragraphs, then lines, then
//! sentences; code fences are closed and opened again. It knows no message form.

use std::iter;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use unicode_segmentation::UnicodeSegmentation as _;

/// Least fill of a part, in hundredths, before a worse place to cut is taken.
const FILL: usize = 25;
/// How far behind the limit a link may end and still be kept whole, in bytes.
const LOOKAHEAD: usize = 2048;
/// Longest marker of a code fence, in characters; a longer run is text.
const MAX_MARKER: usize = 32;
/// Longest info string and indentation of a code fence, in bytes; a longer line is text.
const MAX_INFO: usize = 64;

/// What is not cut inside a line when another place is at hand: links, URLs, code, tags, bold.
static WHOLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let link = r"!?\[[^\]\n]*\]\([^)\n]*\)";
    let rest = r"https?://[!-~&&[^)>]]+|`[^`\n]+`|<[^<>\n]{1,200}>|\*\*[^*\n]+\*\*";
    Regex::new(&format!("{link}|{rest}")).ok()
});

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Nothing in it has a meaning.
    Plain,
    /// Code fences stay whole in themselves.
    Markdown,
}

/// How much text there is, or fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// UTF-16 code units, which is how DingTalk counts characters.
    pub(super) units: usize,
    /// Bytes once it stands in a JSON string.
    pub(super) bytes: usize,
}

impl Size {
    const ZERO: Self = Self { units: 0, bytes: 0 };

    /// The size of `text`.
    pub(super) fn of(text: &str) -> Self {
        text.chars().fold(Self::ZERO, |size, c| Self {
            units: size.units + c.len_utf16(),
            bytes: size.bytes + json_len(c),
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            units: self.units.saturating_add(other.units),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            units: self.units.saturating_sub(other.units),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    fn fits(self, room: Self) -> bool {
        self.units <= room.units && self.bytes <= room.bytes
    }

    /// Whether it fills at least [`FILL`] hundredths of the room in either measure.
    fn fills(self, room: Self) -> bool {
        let enough = |part: usize, whole: usize| part.saturating_mul(100) / FILL >= whole;
        enough(self.units, room.units) || enough(self.bytes, room.bytes)
    }
}

/// Bytes of a character inside a JSON string, as serde_json writes it.
fn json_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
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

/// A place to cut: a byte offset, and the fence that is open there.
#[derive(Debug, Clone, Copy)]
struct Cut<'a> {
    at: usize,
    open: Option<Fence<'a>>,
    size: Size,
}

/// Places between lines, best first.
#[derive(Debug, Default)]
struct Borders<'a> {
    /// Between paragraphs, before and after fences, before headings.
    paragraph: Option<Cut<'a>>,
    /// Between other lines.
    line: Option<Cut<'a>>,
    /// Between rows of a table.
    row: Option<Cut<'a>>,
    /// Between lines of a fence.
    fenced: Option<Cut<'a>>,
}

/// The search for the end of one part.
struct Part<'a> {
    rest: &'a str,
    syntax: Syntax,
    room: Size,
    /// What the walk has covered, and the fence that is open there.
    here: Cut<'a>,
    borders: Borders<'a>,
}

impl<'a> Part<'a> {
    fn new(rest: &'a str, syntax: Syntax, open: Option<Fence<'a>>, limit: Size) -> Self {
        let opener = open.map(Fence::opener).unwrap_or_default();
        Self {
            rest,
            syntax,
            room: limit.minus(Size::of(&opener)),
            here: Cut {
                at: 0,
                open,
                size: Size::ZERO,
            },
            borders: Borders::default(),
        }
    }

    fn cut(mut self) -> Cut<'a> {
        let mut lines = self.rest.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            if !self.whole_fits(line) {
                return self.choose(line);
            }
            let was_open = self.here.open.is_some();
            self.here.size = self.here.size.plus(Size::of(line));
            self.here.at += line.len();
            self.here.open = self.fence_after(line);
            let next = lines.peek().copied().unwrap_or_default();
            self.mark(line, next, was_open);
        }
        self.here
    }

    /// Whether `line`, and the whole fence that it opens when one part can hold it, still fit.
    fn whole_fits(&self, line: &str) -> bool {
        let after = self.fence_after(line);
        let needed = |size: Size| self.here.size.plus(size).plus(reserve(after));
        if !needed(Size::of(line)).fits(self.room) {
            return false;
        }
        let (None, Some(fence)) = (self.here.open, after) else {
            return true;
        };
        let mut block = Size::of(line);
        let ahead = self.rest.get(self.here.at + line.len()..).unwrap_or("");
        for line in ahead.split_inclusive('\n') {
            block = block.plus(Size::of(line));
            if !block.fits(self.room) {
                // No part can hold it: it is cut somewhere, so it may as well begin here.
                return true;
            }
            if fence.closes(line) {
                return needed(block).fits(self.room);
            }
        }
        needed(block).fits(self.room)
    }

    fn fence_after(&self, line: &'a str) -> Option<Fence<'a>> {
        match (self.syntax, self.here.open) {
            (Syntax::Plain, _) => None,
            (Syntax::Markdown, None) => Fence::opened_by(line),
            (Syntax::Markdown, Some(fence)) => (!fence.closes(line)).then_some(fence),
        }
    }

    /// Notes the border behind `line`.
    fn mark(&mut self, line: &str, next: &str, was_open: bool) {
        let blank = line.trim().is_empty();
        let starts = next.starts_with('#') || Fence::opened_by(next).is_some();
        let border = if self.here.open.is_some() {
            &mut self.borders.fenced
        } else if self.syntax == Syntax::Plain && blank
            || self.syntax == Syntax::Markdown && (blank || was_open || starts)
        {
            &mut self.borders.paragraph
        } else if is_row(line) && is_row(next) {
            &mut self.borders.row
        } else {
            &mut self.borders.line
        };
        *border = Some(self.here);
    }

    /// The best place before or inside `line`, which does not fit.
    fn choose(self, line: &'a str) -> Cut<'a> {
        let Borders {
            paragraph,
            line: between,
            row,
            fenced,
        } = self.borders;
        let full = |cut: &Cut<'_>| cut.size.fills(self.room);
        let outside = [paragraph, between, row];
        if let Some(cut) = outside.into_iter().flatten().find(full) {
            return cut;
        }
        let after = self.fence_after(line);
        let opens = self.here.open.is_none() && after.is_some();
        // What one part can hold whole is moved to the next one.
        let movable = Size::of(line).plus(reserve(after)).fits(self.room);
        let any = outside.into_iter().flatten().max_by_key(|cut| cut.at);
        if self.here.open.is_none()
            && (opens || movable)
            && let Some(cut) = any
        {
            return cut;
        }
        if let Some(cut) = fenced.filter(full) {
            return cut;
        }
        self.inside(line)
            .or(fenced)
            .or(any)
            .unwrap_or_else(|| self.forced())
    }

    /// A place inside `line`.
    fn inside(&self, line: &'a str) -> Option<Cut<'a>> {
        let room = self
            .room
            .minus(self.here.size)
            .minus(reserve(self.here.open));
        let mut size = Size::ZERO;
        let mut ends = Vec::new();
        for (at, grapheme) in line.grapheme_indices(true) {
            size = size.plus(Size::of(grapheme));
            if !size.fits(room) {
                break;
            }
            ends.push(at + grapheme.len());
        }
        let hard = *ends.last()?;
        let whole = self.whole_spans(line, hard);
        let legal = |at: usize| {
            let (front, back) = line.split_at_checked(at).unwrap_or((line, ""));
            !self.is_fence(front) && !self.is_fence(back)
        };
        let clear = |at: usize| !whole.iter().any(|span| span.start < at && at < span.end);
        let near = |at: usize| at >= hard / 2;
        let last = |test: &dyn Fn(usize) -> bool| {
            let all = ends.iter().rev().copied();
            all.filter(|at| *at < line.len()).find(|at| test(*at))
        };
        let at = last(&|at| near(at) && clear(at) && ends_phrase(line, at) && legal(at))
            .or_else(|| last(&|at| near(at) && clear(at) && legal(at)))
            .or_else(|| last(&|at| clear(at) && legal(at)))
            .or_else(|| last(&legal))?;
        Some(Cut {
            at: self.here.at + at,
            ..self.here
        })
    }

    /// Whether a piece of a line would be taken for a fence.
    fn is_fence(&self, piece: &str) -> bool {
        match (self.syntax, self.here.open) {
            (Syntax::Plain, _) => false,
            (Syntax::Markdown, None) => Fence::opened_by(piece).is_some(),
            (Syntax::Markdown, Some(fence)) => fence.closes(piece),
        }
    }

    fn whole_spans(&self, line: &str, hard: usize) -> Vec<Range<usize>> {
        let mut end = (hard + LOOKAHEAD).min(line.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let window = line.get(..end).unwrap_or(line);
        match &*WHOLE {
            Some(whole) if self.here.open.is_none() => {
                whole.find_iter(window).map(|found| found.range()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// One character, whatever its size: the limit is smaller than what has to fit.
    fn forced(&self) -> Cut<'a> {
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        Cut {
            at: self.here.at.max(first),
            ..self.here
        }
    }
}

/// Room for closing a fence that is open at a cut.
fn reserve(open: Option<Fence<'_>>) -> Size {
    open.map_or(Size::ZERO, |fence| Size::of(&fence.closer("")))
}

fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|') || line.matches('|').count() > 1
}

/// Whether a phrase ends at `at`: behind a space or a mark that ends one, in any script.
fn ends_phrase(line: &str, at: usize) -> bool {
    let last = line.get(..at).and_then(|front| front.chars().next_back());
    last.is_some_and(|c| c.is_whitespace() || "。！？；，、：…）】》」".contains(c))
}

/// A code fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence<'a> {
    indent: &'a str,
    marker: &'a str,
    info: &'a str,
}

impl<'a> Fence<'a> {
    /// The fence that `line` opens outside of one.
    pub(super) fn opened_by(line: &'a str) -> Option<Self> {
        let start = line.trim_start_matches([' ', '\t']);
        let indent = line.get(..line.len() - start.len())?;
        let first = start.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let info = start.trim_start_matches(first);
        let marker = start.get(..start.len() - info.len())?;
        let info = info.trim();
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
            other.info.is_empty()
                && other.marker.starts_with(self.marker)
                && other.marker.len() >= self.marker.len()
        })
    }

    /// The line that opens it again.
    fn opener(self) -> String {
        [self.indent, self.marker, self.info, "\n"].concat()
    }

    /// What closes it behind `content`.
    fn closer(self, content: &str) -> String {
        let newline = if content.ends_with('\n') { "" } else { "\n" };
        [newline, self.indent, self.marker].concat()
    }
}

/// Puts a blank line before every table: without it DingTalk shows the rows as one paragraph.
pub(super) fn with_table_borders(text: &str) -> String {
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

#[cfg(test)]
mod tests;
