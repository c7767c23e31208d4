//! The title of a message that came without one.

use crate::dingtalk::api::split::Fence;

/// Longest title made from a text, in characters.
pub(super) const MADE_TITLE: usize = 64;
/// Longest title that is passed on, in characters.
pub(super) const GIVEN_TITLE: usize = 200;
/// Title of a markdown that has no words.
pub(super) const NO_TITLE: &str = "Message";

/// The given title, else the first line that has words; without control characters and not too long.
pub(super) fn title(given: Option<&str>, text: &str) -> String {
    let given = given.map(|title| shortened(title, GIVEN_TITLE));
    if let Some(title) = given.filter(|title| !title.is_empty()) {
        return title;
    }
    let lines = text.lines().filter(|line| Fence::opened_by(line).is_none());
    let worded = lines.map(|line| shortened(&without_marks(line), MADE_TITLE));
    let mut worded = worded.filter(|line| !line.is_empty());
    worded.next().unwrap_or_else(|| NO_TITLE.to_owned())
}

fn shortened(text: &str, most: usize) -> String {
    let plain = text.trim().chars();
    let plain: String = plain
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match plain.char_indices().nth(most) {
        Some(_) => plain.chars().take(most - 1).chain(['…']).collect(),
        None => plain,
    }
}

/// A line of markdown as it reads: marks gone, links as their text.
fn without_marks(line: &str) -> String {
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || "#>-+*|".contains(c));
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let line = match numbered.strip_prefix(". ") {
        Some(rest) if numbered.len() < line.len() => rest,
        _ => line,
    };
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, after)) = link.split_once("](") else {
            break;
        };
        plain.push_str(before.strip_suffix('!').unwrap_or(before));
        plain.push_str(label);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    for mark in ["**", "__", "~~", "`"] {
        plain = plain.replace(mark, "");
    }
    plain
        .trim_matches(|c: char| c.is_whitespace() || "#|*".contains(c))
        .to_owned()
}
