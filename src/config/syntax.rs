//! What to say of a file that is not TOML: line, column, table and key, and never the line itself,
//! which may hold a secret.

use std::ops::Range;

use super::error::name_or_mask;
use super::schema::Keys;

/// The fault at `span` of `text`; `message` is the parser's own, of which only the first line is
/// kept, without what it quotes.
pub(super) fn fault(text: &str, span: Option<Range<usize>>, message: &str, keys: &Keys) -> String {
    let reason = without_quotes(message.lines().next().unwrap_or_default(), keys);
    let at = span.map_or(0, |span| span.start).min(text.len());
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    let whole = text.get(start..).and_then(|rest| rest.lines().next());
    let key = whole.and_then(|line| Some(line.split_once('=')?.0.trim()));
    let mut fault = format!("line {line}, column {column} is not valid TOML ({reason})");
    if let Some(key) = key.filter(|key| keys.is_name(key)) {
        fault.push_str(", at key `");
        if let Some(table) = table(before, keys) {
            fault.push_str(&table);
            fault.push('.');
        }
        fault.push_str(key);
        fault.push('`');
    }
    fault
}

/// The last table header in `before`, when it is one of ours.
fn table(before: &str, keys: &Keys) -> Option<String> {
    let header = before.lines().rev().find_map(|line| {
        let line = line.trim().strip_prefix('[')?;
        Some(line.split_once(']')?.0.trim())
    })?;
    let path: Vec<&str> = header.split('.').map(str::trim).collect();
    let plain = path.iter().all(|name| name_or_mask(name) == *name);
    (plain && keys.shape(&path).is_some()).then(|| path.join("."))
}

/// `message` with every quoted word masked that is neither a known key nor a sign.
fn without_quotes(message: &str, keys: &Keys) -> String {
    let mut clean = String::new();
    for (at, part) in message.split('`').enumerate() {
        if at > 0 {
            clean.push('`');
        }
        let quoted = at % 2 == 1;
        let harmless = keys.is_name(part) || !part.bytes().any(|b| b.is_ascii_alphanumeric());
        clean.push_str(if quoted && !(harmless && part.len() <= 32) {
            "…"
        } else {
            part
        });
    }
    clean
}
