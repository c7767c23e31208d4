//! Lines on standard output, and foreign text made fit for a terminal. It knows no command.

use std::borrow::Cow;
use std::io::{self, Write};

use super::exit::Failure;

/// Writes one line to standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(Failure::failed)
}

/// Writes one line to standard error: something to know beside the answer.
pub(super) fn aside(text: &str) {
    // The terminal may be gone; the command goes on.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether a character steers a terminal, or the direction of what stands around it, instead of being
/// shown.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `text` without characters that steer a terminal or the direction of text; line breaks are indented.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => plain.push_str("\n    "),
            '\t' => plain.push(' '),
            c if steers(c) => {}
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// JSON of several lines as one: a line break inside a string is always escaped, so every bare one
/// stands between tokens. What steers a terminal can stand in strings only, and is escaped there.
pub(super) fn one_line(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => {}
            '\t' => line.push(' '),
            // All of them lie in the basic plane.
            c if steers(c) => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc"), "a[31mb\n    c");
        assert_eq!(plain("a\u{9b}2J\u{202e}b\u{2028}\u{7f}"), "a2Jb");
        let json = one_line("{\"a\":\"\u{9b}2J\u{202e}\u{7f}\"}".as_bytes());
        assert_eq!(json, r#"{"a":"\u009b2J\u202e\u007f"}"#);
    }

    #[test]
    fn json_becomes_one_line_without_changing_its_meaning() {
        let json = "{\n  \"a\": \"b\\nc\"\r\n}";
        let line = one_line(json.as_bytes());
        assert!(!line.contains('\n'));
        let [before, after] =
            [json, &line].map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        assert_eq!(before, after);
    }
}
