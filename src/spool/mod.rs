//! What could not reach the broker yet: a durable queue of opaque records on local disk, also the
//! journal of `ack = "journal"`. It knows neither NATS nor DingTalk.
//!
//! # Why redb, and why whole groups
//!
//! A hand-written segment file is the fastest (487 000 records/s at groups of 64, docs/reference/nats.md,
//! "Local journal"), but its torn tails, checksums, locks and recovery would be ours to get right.
//! One bridge receives at most 82 000 frames/s, so a store that does this for us may be slower:
//!
//! | | 64 records a group | idle memory | one page of the last group torn |
//! |---|---:|---:|---|
//! | fjall 3.1, a key each | 169 000/s | caches and a memtable | refuses to open when the page lies inside one record (`ChecksumMismatch`) |
//! | redb 4.4, a key each | 63 000/s | 0.9 MiB | rolls back to the commit before |
//! | redb 4.4, a group each | 162 000/s (256: 245 000/s) | 0.9 MiB | the same |
//!
//! Records of 1 KiB, two cores, an fsync of 0.1 ms. A power cut in the middle of an fsync leaves exactly
//! such a page, so fjall may not be asked to keep an acknowledged frame. redb writes copy-on-write pages
//! and swaps two checksummed roots; storing each group as one value makes a commit one insert, and lifts
//! it to fjall's rate.
//!
//! One thread owns the database; callers reach it over a bounded queue, and whatever queued up while
//! an fsync ran shares the next one.

mod block;
mod file;
mod frozen;
mod keeper;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use keeper::Keeper;

/// Why the spool did not take or give a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
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

/// What the spool holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Records.
    pub records: u64,
    /// Bytes of the records, 8 more for the position of each.
    pub bytes: u64,
}

/// A durable queue; cheap to clone. The last clone that is dropped waits for the commit in progress
/// and releases the folder.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Keeper>);

impl Spool {
    /// Opens the spool in `dir`, created when missing, with whatever a former life left there; a
    /// torn tail is cut off. Blocks while it reads what is there once: call it at start.
    ///
    /// # Errors
    /// [`SpoolError::Busy`] or [`SpoolError::Disk`].
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        Ok(Self(Arc::new(Keeper::start(dir, max_bytes)?)))
    }

    /// Appends `records` in order. When it returns they are on disk (fsynced); concurrent and
    /// consecutive calls share one fsync. Dropping the future does not take back what it asked for.
    ///
    /// # Errors
    /// [`SpoolError::Full`] or [`SpoolError::Disk`]: none of them was kept. A disk that refused is asked
    /// again by a later call, at most once a second; what the spool holds can be read all the same.
    pub async fn append(&self, records: Vec<Bytes>) -> Result<(), SpoolError> {
        if records.is_empty() {
            return Ok(());
        }
        self.0.append(records).await
    }

    /// At most `limit` records after position `after` (0: from the oldest), oldest first, each
    /// with its position; fewer when they come to more than 4 MiB, but at least one when there is
    /// one. Positions rise and are never used twice while the bridge lives.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub async fn read(&self, after: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, SpoolError> {
        self.0.read(after, limit).await
    }

    /// Removes every record up to and including `position`. Need not be durable: a removed record
    /// may come back after a crash, never a kept one be lost. The file shrinks when nothing is left.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub async fn remove_through(&self, position: u64) -> Result<(), SpoolError> {
        self.0.remove_through(position).await
    }

    /// Whether it is there and at least half of it is free: what a spool that took nothing is asked
    /// before it is called healthy again. Opens a failed database anew, which writes to the disk.
    ///
    /// # Errors
    /// [`SpoolError::Full`] or [`SpoolError::Disk`].
    pub async fn probe(&self) -> Result<(), SpoolError> {
        self.0.probe().await
    }

    /// What it holds now.
    pub fn depth(&self) -> Depth {
        self.0.depth()
    }
}
