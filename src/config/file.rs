//! Reads small text files, and says in plain words why one cannot be read. It knows no key.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The text of the regular file at `path`, at most `limit` bytes of it.
///
/// Pipes and devices are refused: a reload would wait on them for ever.
///
/// # Errors
/// The reason in words, without path or content.
pub(super) fn read(path: &Path, limit: u64) -> Result<String, String> {
    let bytes = read_bytes(path, limit)?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// The bytes of the regular file at `path`, at most `limit` of them.
///
/// # Errors
/// As for [`read`].
pub(super) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let metadata = path.metadata().map_err(|error| reason(&error))?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| reason(&error))?;
    let mut bytes = Vec::new();
    let length = file.take(limit + 1).read_to_end(&mut bytes);
    let length = length.map_err(|error| reason(&error))?;
    if u64::try_from(length).is_ok_and(|length| length > limit) {
        return Err(format!("it is larger than {limit} bytes"));
    }
    Ok(bytes)
}

/// Whether the regular file at `path` can be opened.
///
/// # Errors
/// As for [`read`].
pub(super) fn probe(path: &Path) -> Result<(), String> {
    let metadata = path.metadata().map_err(|error| reason(&error))?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    File::open(path).map(drop).map_err(|error| reason(&error))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        other => other.to_string(),
    }
}
