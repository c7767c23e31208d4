//! The file under the database on a disk that takes no writes any more: read from the file, written to
//! memory. So what it holds can still be read in order and moved on. Nothing written here outlives the
//! process. It knows no records.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// Bytes that are kept in memory as one piece.
const PIECE: u64 = 4096;
/// The same, as the length of a buffer.
const PIECE_LENGTH: usize = 4096;

/// A locked file that is never written to.
#[derive(Debug)]
pub(super) struct Frozen {
    backend: FileBackend,
    /// Whether the file could be opened for writing, which a lock against everybody else takes. Where
    /// nobody can write, one against writers is as good.
    exclusive: bool,
    /// Bytes that the file itself has.
    there: u64,
    written: Mutex<Written>,
}

/// What stands over the file.
#[derive(Debug)]
struct Written {
    length: u64,
    pieces: BTreeMap<u64, Box<[u8; PIECE_LENGTH]>>,
}

impl Frozen {
    /// Opens `path`, which has to be there.
    pub(super) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let (file, exclusive) = match File::options().read(true).write(true).open(path) {
            Ok(file) => (file, true),
            Err(_) => (File::open(path)?, false),
        };
        let there = file.metadata()?.len();
        let written = Written {
            // redb refuses a torn last page; what it held belongs to a commit that it rolls back.
            length: there.next_multiple_of(PIECE),
            pieces: BTreeMap::new(),
        };
        Ok(Self {
            backend: FileBackend::new(file)?,
            exclusive,
            there,
            written: Mutex::new(written),
        })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece as the file has it; zeros behind its end.
    fn original(&self, piece: u64) -> io::Result<Box<[u8; PIECE_LENGTH]>> {
        let mut bytes = Box::new([0; PIECE_LENGTH]);
        let start = piece * PIECE;
        let length = self.there.saturating_sub(start).min(PIECE);
        let length = usize::try_from(length).unwrap_or(PIECE_LENGTH);
        if let Some(part) = bytes.get_mut(..length).filter(|part| !part.is_empty()) {
            self.backend.read(start, part)?;
        }
        Ok(bytes)
    }
}

/// Where a byte lies: its piece, and its place in there.
fn place(offset: u64) -> (u64, usize) {
    let within = usize::try_from(offset % PIECE).unwrap_or_default();
    (offset / PIECE, within)
}

impl StorageBackend for Frozen {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        while !out.is_empty() {
            let (piece, within) = place(offset);
            let count = out.len().min(PIECE_LENGTH - within);
            let original;
            let bytes = match written.pieces.get(&piece) {
                Some(bytes) => bytes,
                None => {
                    original = self.original(piece)?;
                    &original
                }
            };
            let (part, rest) = out.split_at_mut(count);
            let found = bytes.get(within..within + count);
            part.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            out = rest;
            offset += count as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        written.length = len;
        // What lies behind the end reads as zeros should the file grow again.
        let behind = len.div_ceil(PIECE);
        written.pieces.split_off(&behind);
        for piece in behind..self.there.div_ceil(PIECE) {
            written.pieces.insert(piece, Box::new([0; PIECE_LENGTH]));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        while !data.is_empty() {
            let (piece, within) = place(offset);
            let (part, rest) = data.split_at(data.len().min(PIECE_LENGTH - within));
            let mut bytes = match written.pieces.remove(&piece) {
                Some(bytes) => bytes,
                None => self.original(piece)?,
            };
            let place = bytes.get_mut(within..within + part.len());
            place
                .ok_or(io::ErrorKind::UnexpectedEof)?
                .copy_from_slice(part);
            written.pieces.insert(piece, bytes);
            offset += part.len() as u64;
            data = rest;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match self.exclusive {
            true => self.backend.try_lock_range(start, end),
            false => self.backend.try_lock_shared_range(start, end),
        }
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        match self.exclusive {
            true => self.backend.lock_range(start, end),
            false => self.backend.lock_shared_range(start, end),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_over_a_frozen_file_is_read_again_and_never_reaches_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("file");
        let original: Vec<u8> = (0..10_000).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &original).unwrap();
        let frozen = Frozen::open(&path).unwrap();
        assert_eq!(frozen.len().unwrap(), 3 * PIECE);
        let mut expected = original.clone();
        expected.resize(3 * PIECE_LENGTH, 0);
        let read = |length: usize| {
            let mut bytes = vec![1; length];
            frozen.read(0, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(expected.len()), expected);
        frozen.write(4000, &[7; 5000]).unwrap();
        expected[4000..9000].fill(7);
        assert_eq!(read(expected.len()), expected);
        frozen.set_len(PIECE).unwrap();
        frozen.set_len(4 * PIECE).unwrap();
        expected[PIECE_LENGTH..].fill(0);
        expected.resize(4 * PIECE_LENGTH, 0);
        assert_eq!(read(expected.len()), expected);
        drop(frozen);
        assert_eq!(std::fs::read(&path).unwrap(), original);
    }
}
