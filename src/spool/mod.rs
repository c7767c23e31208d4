//! What could not reach the broker yet: a durable queue of opaque records on local disk, also the
//! journal of `ack = "journal"`. It knows neither NATS nor DingTalk.

use std::path::Path;

use bytes::Bytes;
use thiserror::Error;

/// Why the spool did not take or give a record.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// It holds as many bytes as it may.
    #[error(
        "the spool holds its {max_bytes} bytes; raise spool.max_bytes or bring the broker back"
    )]
    Full {
        /// The limit.
        max_bytes: u64,
    },
    /// The disk refused; the text names the path and the cause.
    #[error("the spool in {path} failed: {detail}")]
    Disk {
        /// Folder of the spool.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// Another bridge uses the folder.
    #[error("another bridge uses the spool in {0}; give each its own spool.dir")]
    Busy(String),
}

/// A durable queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {}

/// What the spool holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Records.
    pub records: u64,
    /// Bytes of the records.
    pub bytes: u64,
}

impl Spool {
    /// Opens the spool in `dir` with whatever a former life left there; a torn tail is cut off.
    ///
    /// # Errors
    /// [`SpoolError::Busy`] or [`SpoolError::Disk`].
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let _ = (dir, max_bytes);
        unimplemented!()
    }

    /// Appends `records` in order. When it returns they are on disk (fsynced); concurrent and
    /// consecutive calls share one fsync.
    ///
    /// # Errors
    /// [`SpoolError::Full`] or [`SpoolError::Disk`]: none of them was kept.
    pub async fn append(&self, records: Vec<Bytes>) -> Result<(), SpoolError> {
        let _ = records;
        unimplemented!()
    }

    /// At most `limit` records after position `after` (0: from the oldest), oldest first, each
    /// with its position. Positions rise and are never used twice.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub async fn read(&self, after: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, SpoolError> {
        let _ = (after, limit);
        unimplemented!()
    }

    /// Removes every record up to and including `position`. Need not be durable: a removed record
    /// may come back after a crash, never a kept one be lost.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub async fn remove_through(&self, position: u64) -> Result<(), SpoolError> {
        let _ = position;
        unimplemented!()
    }

    /// What it holds now.
    pub fn depth(&self) -> Depth {
        unimplemented!()
    }
}
