//! The search for the best place to end one part.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use unicode_segmentation::UnicodeSegmentation as _;

use super::Syntax;
use super::fence::{Fence, is_row};
use super::size::Size;
use crate::message::prefix;

/// How far behind the limit a link may end and still be kept whole, in bytes.
const LOOKAHEAD: usize = 2048;

/// What is not cut inside a line when another place is at hand: links, URLs, code, tags, bold.
static WHOLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let link = r"!?\[[^\]\n]*\]\([^)\n]*\)";
    let rest = r"https?://[!-~&&[^)>]]+|`[^`\n]+`|<[^<>\n]{1,200}>|\*\*[^*\n]+\*\*";
    Regex::new(&format!("{link}|{rest}")).ok()
});

/// A place to cut: a byte offset, and the fence that is open there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut<'a> {
    pub(super) at: usize,
    pub(super) open: Option<Fence<'a>>,
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
pub(super) struct Part<'a> {
    rest: &'a str,
    syntax: Syntax,
    room: Size,
    /// What the walk has covered, and the fence that is open there.
    here: Cut<'a>,
    borders: Borders<'a>,
}

impl<'a> Part<'a> {
    /// The part that begins with `rest`, inside `open`.
    pub(super) fn new(rest: &'a str, syntax: Syntax, open: Option<Fence<'a>>, limit: Size) -> Self {
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

    /// The place where the part ends: the end of the text when all of it fits.
    pub(super) fn cut(mut self) -> Cut<'a> {
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
        if line.len() > self.room.bytes {
            return false;
        }
        let after = self.fence_after(line);
        let needed = |size: Size| self.here.size.plus(size).plus(reserve(after));
        if !needed(Size::of(line)).fits(self.room) {
            return false;
        }
        let (1.., None, Some(fence)) = (self.here.at, self.here.open, after) else {
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
        let movable =
            line.len() <= self.room.bytes && Size::of(line).plus(reserve(after)).fits(self.room);
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
        // What stands beyond the room cannot fit, and one grapheme may be as long as the text.
        for (at, grapheme) in prefix(line, room.bytes + LOOKAHEAD).grapheme_indices(true) {
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
        let window = prefix(line, hard + LOOKAHEAD);
        match &*WHOLE {
            Some(whole) if self.here.open.is_none() => {
                whole.find_iter(window).map(|found| found.range()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// As many characters as fit, whatever they form together: one grapheme can be longer than any
    /// limit. At least one, when the limit is smaller than what has to fit.
    fn forced(&self) -> Cut<'a> {
        let room = self.room.minus(reserve(self.here.open));
        let mut size = Size::ZERO;
        let mut end = 0;
        for (at, c) in self.rest.char_indices() {
            let after = at + c.len_utf8();
            size = size.plus(Size::of(self.rest.get(at..after).unwrap_or_default()));
            if end > 0 && !size.fits(room) {
                break;
            }
            end = after;
        }
        Cut {
            at: if self.here.at > 0 { self.here.at } else { end },
            ..self.here
        }
    }
}

/// Room for closing a fence that is open at a cut.
fn reserve(open: Option<Fence<'_>>) -> Size {
    open.map_or(Size::ZERO, |fence| Size::of(&fence.closer("")))
}

/// Whether a phrase ends at `at`: behind a space or a mark that ends one, in any script.
fn ends_phrase(line: &str, at: usize) -> bool {
    let last = line.get(..at).and_then(|front| front.chars().next_back());
    last.is_some_and(|c| c.is_whitespace() || "。！？；，、：…）】》」".contains(c))
}
