//! `docs/loss-ledger.md` as a file of two parts: the ledger of a run, and below it the soak. Each is
//! written without touching the other.

use std::fs;
use std::path::Path;

/// The published ledger, in the repository.
pub(crate) const PUBLISHED: &str = "docs/loss-ledger.md";
/// Where the second part begins.
const SOAK: &str = "## Soak\n";

/// Puts a ledger in place of the former one.
pub(crate) fn put_ledger(path: &Path, ledger: &str) {
    let (_, soak) = parts(path);
    put(path, ledger, &soak);
}

/// Puts the result of a soak in place of the former one.
pub(crate) fn put_soak(path: &Path, soak: &str) {
    let (ledger, _) = parts(path);
    put(path, &ledger, &format!("{SOAK}\n{soak}"));
}

fn parts(path: &Path) -> (String, String) {
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.find(SOAK) {
        Some(at) => (text[..at].to_owned(), text[at..].to_owned()),
        None => (text, String::new()),
    }
}

/// Whole or not at all: a run of an hour is not to be cut in half by an interruption.
fn put(path: &Path, ledger: &str, soak: &str) {
    let text = format!("{}\n\n{}\n", ledger.trim_end(), soak.trim_end());
    let text = format!("{}\n", text.trim());
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}
