//! Section `spool`: what could not reach the broker yet.

use std::path::PathBuf;

/// The local spool, which is also the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Spool {
    /// Folder; one bridge each.
    pub dir: PathBuf,
    /// Most bytes of messages it holds; default 1 GiB. Beyond it acknowledgements are withheld.
    pub max_bytes: u64,
}
