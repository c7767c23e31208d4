//! A writer of log lines that keeps each event on its one line, whatever stands in its fields. It
//! knows no event.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use tracing_subscriber::fmt::MakeWriter;

/// Begins the colours that the formatter writes; whatever else begins with it is a value's.
const ESCAPE: char = '\u{1b}';

/// Makes writers that take one event at a time.
#[derive(Debug)]
pub(super) struct OneLine<W>(pub(super) W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(&on_one_line(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The event with every character escaped that would end its line, steer a terminal or turn the
/// direction of the text.
fn on_one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(event) else {
        return Cow::Borrowed(event);
    };
    let body = text.strip_suffix('\n').unwrap_or(text);
    if !body.chars().any(|c| breaks(c) || c == ESCAPE) {
        return Cow::Borrowed(event);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for (at, c) in body.char_indices() {
        let colour = || is_colour(body.get(at + c.len_utf8()..).unwrap_or_default());
        if breaks(c) || (c == ESCAPE && !colour()) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push_str(text.get(body.len()..).unwrap_or_default());
    Cow::Owned(line.into_bytes())
}

/// Whether what follows an escape only sets a colour: `[`, numbers, `m`.
fn is_colour(rest: &str) -> bool {
    let numbers = |c: char| c.is_ascii_digit() || c == ';';
    rest.strip_prefix('[')
        .is_some_and(|rest| rest.trim_start_matches(numbers).starts_with('m'))
}

fn breaks(c: char) -> bool {
    (c.is_control() && c != ESCAPE)
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_one_line() {
        let line =
            |text: &str| String::from_utf8(on_one_line(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(line("as it is\n"), "as it is\n");
        assert_eq!(
            line("a\r\nERROR b\u{9b}\u{202e}\n"),
            "a\\r\\nERROR b\\u{9b}\\u{202e}\n"
        );
        assert_eq!(
            line("\u{1b}[32mINFO\u{1b}[0m 钉\n"),
            "\u{1b}[32mINFO\u{1b}[0m 钉\n"
        );
    }
}
