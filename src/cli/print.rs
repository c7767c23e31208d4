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

/// `text` without control characters, which could steer a terminal; line breaks are indented.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => plain.push_str("\n    "),
            '\t' => plain.push(' '),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// JSON of several lines as one: a line break inside a string is always escaped, so every bare one
/// stands between tokens.
pub(super) fn one_line(json: &[u8]) -> String {
    String::from_utf8_lossy(json).replace(['\n', '\r'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc"), "a[31mb\n    c");
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
