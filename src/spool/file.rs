//! The file under the database: redb's own, but growth is on disk before anything relies on it.
//! It knows no records.
//!
//! redb 4.4 syncs a new length together with the pages behind it. When the power goes between the
//! two, its header may name pages that the file never got, and it refuses to open instead of rolling
//! back. Growth is rare (the file doubles), so syncing it at once costs nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// Bytes of a page of redb's file format.
const PAGE: u64 = 4096;

/// A locked file whose length is synced as soon as it changes.
#[derive(Debug)]
pub(super) struct SyncedGrowth {
    backend: FileBackend,
    file: File,
}

impl SyncedGrowth {
    /// Opens or creates `path`, and completes a last page that was torn off.
    pub(super) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let length = file.metadata()?.len();
        if !length.is_multiple_of(PAGE) {
            // redb refuses such a length; what the page held belongs to a commit that it rolls back.
            file.set_len(length.next_multiple_of(PAGE))?;
        }
        file.sync_all()?;
        let backend = FileBackend::new(file.try_clone()?)?;
        Ok(Self { backend, file })
    }
}

impl StorageBackend for SyncedGrowth {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)?;
        self.file.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}
