//! Section `spool`: what could not reach the broker yet.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::section::Section;
use super::text::Size;

/// Smallest spool, in bytes: one frame of the largest size fits.
const MIN_BYTES: u64 = 1024 * 1024;
/// Bytes of the default spool.
const DEFAULT_BYTES: u64 = 1024 * 1024 * 1024;

/// The local spool, which is also the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Spool {
    /// Folder; one bridge each.
    pub dir: PathBuf,
    /// Most bytes of messages it holds; default 1 GiB. Beyond it acknowledgements are withheld.
    pub max_bytes: u64,
}

/// The local spool, which is also the journal.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSpool {
    /// Folder, one bridge each. Default: `spool` in the data folder (`$XDG_DATA_HOME/nats-dingtalk`,
    /// `~/.local/share/nats-dingtalk`, or `/var/lib/nats-dingtalk` without a home).
    dir: Option<PathBuf>,
    /// Most bytes it holds, at least 1 MiB, such as "512MiB" or 536870912. Beyond it acknowledgements
    /// are withheld. Default: "1GiB".
    max_bytes: Option<Size>,
}

impl RawSpool {
    /// The checked section; `data_dir` is the folder for state.
    pub(super) fn check(self, section: &mut Section<'_>, data_dir: &Path) -> Spool {
        let max_bytes = self
            .max_bytes
            .map_or(Some(DEFAULT_BYTES), |size| size.bytes());
        let max_bytes = max_bytes.filter(|bytes| *bytes >= MIN_BYTES);
        if max_bytes.is_none() {
            section.refuse(
                "max_bytes",
                "must be a size of at least 1MiB",
                "write a number of bytes, or one with its unit such as \"512MiB\" or \"2GiB\"",
            );
        }
        Spool {
            dir: section
                .path("dir", self.dir)
                .unwrap_or_else(|| data_dir.join("spool")),
            max_bytes: max_bytes.unwrap_or(DEFAULT_BYTES),
        }
    }
}
