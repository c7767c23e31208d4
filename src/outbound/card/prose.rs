//! Markdown as the variables of cards show it (oapi.md, section 6.6): `<br>` for the line breaks of
//! prose, real ones inside fences and around block syntax, a blank line before tables, fences that
//! are always closed. Pure.

use std::borrow::Cow;

use unicode_segmentation::GraphemeCursor;

/// Most characters of one streamed content. DingTalk documents less and takes this much
/// (oapi.md, section 6.5); the rest of a longer text follows as a plain message.
pub(super) const MAX_CONTENT: usize = 20_000;
/// A line break inside a paragraph.
const BREAK: &str = "<br>";
/// Part of a cut text in which a line end is looked for, so that no line is torn.
const TAIL: usize = 5;

/// What a line is to the lines around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Blank,
    /// Words that run on until a blank line or a block.
    Prose,
    /// Begins an item or a quote: what follows runs on inside it.
    Item,
    /// Heading, rule, item or quote without words: ends with its line.
    Block,
    Table,
    Fence,
    /// Inside a fence.
    Code,
}

/// An open fence: its mark and how often that stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fence {
    mark: char,
    length: usize,
}

/// A text as it is shown, and what of it is left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fitted<'a> {
    /// What the card shows.
    pub(super) shown: String,
    /// Bytes of the text that it shows.
    pub(super) taken: usize,
    /// What does not fit, with the fence opened again that the cut went through.
    pub(super) rest: Cow<'a, str>,
}

/// `text` as a card shows it.
pub(super) fn for_card(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + text.len() / 8);
    let mut before: Option<Line> = None;
    let mut fence = None;
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let kind = kind(line, &mut fence);
        if let Some(before) = before {
            shown.push_str(joint(before, kind));
        }
        shown.push_str(line);
        before = Some(kind);
    }
    if let Some(open) = fence {
        shown.push('\n');
        shown.extend(std::iter::repeat_n(open.mark, open.length));
    }
    shown
}

/// What stands between two lines.
fn joint(before: Line, after: Line) -> &'static str {
    match (before, after) {
        (Line::Prose | Line::Item, Line::Prose) => BREAK,
        (Line::Prose | Line::Item | Line::Block, Line::Table) => "\n\n",
        (
            Line::Prose | Line::Item,
            Line::Blank | Line::Item | Line::Block | Line::Fence | Line::Code,
        )
        | (
            Line::Block,
            Line::Blank | Line::Prose | Line::Item | Line::Block | Line::Fence | Line::Code,
        )
        | (Line::Blank | Line::Table | Line::Fence | Line::Code, _) => "\n",
    }
}

fn kind(line: &str, fence: &mut Option<Fence>) -> Line {
    let mark = fence_of(line);
    match (*fence, mark) {
        (Some(open), Some((found, bare))) if closes(open, found) && bare => {
            *fence = None;
            return Line::Fence;
        }
        (Some(_), _) => return Line::Code,
        (None, Some((found, _))) => {
            *fence = Some(found);
            return Line::Fence;
        }
        (None, None) => {}
    }
    let text = line.trim();
    if text.is_empty() {
        return Line::Blank;
    }
    let heading = text.trim_start_matches('#');
    if heading.len() < text.len() && (heading.is_empty() || heading.starts_with(' ')) {
        return Line::Block;
    }
    if is_rule(text) {
        return Line::Block;
    }
    if text.starts_with('|') {
        return Line::Table;
    }
    if let Some(words) = text.strip_prefix('>').or_else(|| item(text)) {
        return if words.is_empty() {
            Line::Block
        } else {
            Line::Item
        };
    }
    Line::Prose
}

fn closes(open: Fence, found: Fence) -> bool {
    open.mark == found.mark && found.length >= open.length
}

/// The fence that `line` is, and whether nothing else stands on it.
fn fence_of(line: &str) -> Option<(Fence, bool)> {
    let text = line.trim();
    let mark = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let after = text.trim_start_matches(mark);
    let length = text.len() - after.len();
    // A line such as ```x``` is code inside prose.
    let legal = length >= 3 && !(mark == '`' && after.contains('`'));
    legal.then_some((Fence { mark, length }, after.is_empty()))
}

fn is_rule(text: &str) -> bool {
    let bare: String = text.chars().filter(|c| *c != ' ').collect();
    let all = |mark: char| bare.chars().all(|c| c == mark);
    bare.len() >= 3 && ['-', '*', '_'].into_iter().any(all)
}

/// What stands behind the mark of an item.
fn item(text: &str) -> Option<&str> {
    let after_number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let words = if after_number.len() < text.len() {
        after_number.strip_prefix(['.', ')'])
    } else {
        text.strip_prefix(['-', '*', '+'])
    };
    words.filter(|words| words.is_empty() || words.starts_with([' ', '\t']))
}

/// As much of `text` as a card takes, cut at the end of a line where one is near.
pub(super) fn fit(text: &str) -> Fitted<'_> {
    let whole = for_card(text);
    if whole.chars().count() <= MAX_CONTENT {
        return Fitted {
            shown: whole,
            taken: text.len(),
            rest: Cow::Borrowed(""),
        };
    }
    let mut most = MAX_CONTENT;
    loop {
        let cut = cut(text, most);
        let (head, rest) = text.split_at_checked(cut).unwrap_or((text, ""));
        let shown = for_card(head);
        let excess = shown.chars().count().saturating_sub(MAX_CONTENT);
        if excess > 0 && most > 0 {
            // Not by more than half: short lines show several times their length, and a shorter head
            // has fewer of them.
            most -= excess.min(most.div_ceil(2));
            continue;
        }
        let rest = match open_fence(head) {
            Some(opening) => Cow::Owned(format!("{opening}\n{rest}")),
            None => Cow::Borrowed(rest),
        };
        return Fitted {
            shown,
            taken: head.len(),
            rest,
        };
    }
}

/// Where `text` is cut to at most `most` characters, in bytes.
fn cut(text: &str, most: usize) -> usize {
    let at = text.char_indices().nth(most);
    let end = at.map_or(text.len(), |(at, _)| at);
    let head = text.get(..end).unwrap_or_default();
    let near = end - end / TAIL;
    match head.rfind('\n') {
        Some(line) if line >= near => line + 1,
        // One grapheme may be as long as the text: then it is cut all the same.
        _ => between_graphemes(text, end)
            .filter(|at| *at >= near)
            .unwrap_or(end),
    }
}

/// The last place up to `end` at which no grapheme is torn.
fn between_graphemes(text: &str, end: usize) -> Option<usize> {
    let mut cursor = GraphemeCursor::new(end, text.len(), true);
    match cursor.is_boundary(text, 0) {
        Ok(true) => Some(end),
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten(),
        Err(_) => None,
    }
}

/// The line that opened the fence in which `text` ends.
fn open_fence(text: &str) -> Option<&str> {
    let mut fence = None;
    let mut opening = None;
    for line in text.split('\n') {
        let before = fence;
        kind(line, &mut fence);
        if before.is_none() && fence.is_some() {
            opening = Some(line.trim_end());
        }
    }
    fence.and(opening)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prose_breaks_with_a_tag_and_blocks_with_a_line() {
        for (text, shown) in [
            ("one\ntwo\n\nthree", "one<br>two\n\nthree"),
            ("# Head\ntext\nmore", "# Head\ntext<br>more"),
            ("text\n- a\n- b\nstill b", "text\n- a\n- b<br>still b"),
            ("1. a\n2) b", "1. a\n2) b"),
            ("> said\nso\n---\nend", "> said<br>so\n---\nend"),
            (
                "text\n| a |\n|---|\n| 1 |\nafter",
                "text\n\n| a |\n|---|\n| 1 |\nafter",
            ),
            ("a\n\n| a |", "a\n\n| a |"),
            ("a\r\nb", "a<br>b"),
            ("#hashtag\n-1 is less", "#hashtag<br>-1 is less"),
            ("a\n*\nb\n1.\nc\n>\nd", "a\n*\nb\n1.\nc\n>\nd"),
            ("", ""),
        ] {
            assert_eq!(for_card(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_fence_keeps_its_lines_and_is_closed_while_it_streams() {
        assert_eq!(
            for_card("run\n```sh\na\nb\n# c\n```\nend\nof it"),
            "run\n```sh\na\nb\n# c\n```\nend<br>of it"
        );
        assert_eq!(for_card("````\n```\nx"), "````\n```\nx\n````");
        assert_eq!(for_card("~~~\nx"), "~~~\nx\n~~~");
        assert_eq!(for_card("```a``` is code\nhere"), "```a``` is code<br>here");
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_line_and_goes_on_in_its_fence() {
        let text = format!("```rust\n{}", "let x = 1;\n".repeat(3000));
        let fitted = fit(&text);
        assert!(fitted.shown.chars().count() <= MAX_CONTENT);
        assert!(fitted.shown.ends_with("let x = 1;\n\n```"));
        assert!(fitted.rest.starts_with("```rust\nlet x = 1;\n"));
        let unbroken = "字".repeat(MAX_CONTENT + 7);
        assert_eq!(fit(&unbroken).rest, "字".repeat(7));
        assert_eq!(fit("short").rest, "");
    }

    #[test]
    fn what_has_no_line_to_be_cut_at_is_cut_between_graphemes() {
        let family = "👨\u{200d}👩\u{200d}👧";
        let text = format!("x{}", family.repeat(MAX_CONTENT / 5 + 1));
        let fitted = fit(&text);
        let shown = format!("x{}", family.repeat(MAX_CONTENT / 5 - 1));
        assert_eq!(fitted.shown, shown);
        assert_eq!(fitted.rest, family.repeat(2));
        for endless in ["\u{301}", "👨\u{200d}", "🇨"] {
            let text = endless.repeat(MAX_CONTENT * 20);
            let shown = fit(&text).shown.chars().count();
            assert!((MAX_CONTENT - 2..=MAX_CONTENT).contains(&shown), "{shown}");
        }
    }

    #[test]
    fn lines_of_one_character_fill_a_card_too() {
        let text = "a\n".repeat(MAX_CONTENT);
        let fitted = fit(&text);
        let shown = fitted.shown.chars().count();
        assert!((MAX_CONTENT / 2..=MAX_CONTENT).contains(&shown), "{shown}");
        assert_eq!(words(&fitted.shown) + &words(&fitted.rest), words(&text));
    }

    fn words(text: &str) -> String {
        text.replace(BREAK, "").split_whitespace().collect()
    }

    /// Lines of everything that the rules tell apart.
    fn text() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "[a-z ]{0,12}",
            "[-*+] [a-z]{1,5}",
            "[0-9]{1,2}[.)] [a-z]{1,5}",
            "#{1,3} [a-z]{1,5}",
            "> [a-z]{1,5}",
            r"\| [a-z] \|",
            "`{3,4}[a-z]{0,3}",
            "~{3}",
            "-{3,5}",
            "\\PC{0,10}",
        ];
        prop::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_only_a_closing_fence_is_added(text in text()) {
            let shown = for_card(&text);
            let (shown, text) = (words(&shown), words(&text));
            let added = shown.strip_prefix(text.as_str());
            prop_assert!(added.is_some_and(|added| added.chars().all(|c| c == '`' || c == '~')));
        }

        #[test]
        fn every_fence_is_closed_and_doing_it_twice_changes_nothing(text in text()) {
            let shown = for_card(&text);
            prop_assert_eq!(open_fence(&shown), None);
            prop_assert_eq!(for_card(&shown), shown);
        }

        #[test]
        fn every_table_begins_after_a_blank_line(text in text()) {
            let shown = for_card(&text);
            let mut fence = None;
            let kinds: Vec<Line> = shown.split('\n').map(|line| kind(line, &mut fence)).collect();
            for pair in kinds.windows(2) {
                if pair[1] == Line::Table {
                    prop_assert!(!matches!(pair[0], Line::Prose | Line::Item | Line::Block));
                }
            }
        }

        #[test]
        fn whatever_is_cut_fits_and_nothing_between_is_lost(lines in prop::collection::vec("[a-z]{0,40}", 0..1500)) {
            let text = lines.join("\n");
            let fitted = fit(&text);
            prop_assert!(fitted.shown.chars().count() <= MAX_CONTENT);
            prop_assert_eq!(words(&fitted.shown) + &words(&fitted.rest), words(&text));
        }
    }
}
