//! The database file: groups of records under the position of their first. It knows no queue, no
//! callers and no limit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition,
};
use thiserror::Error;

use super::Depth;
use super::block::{self, Broken};
use super::file::SyncedGrowth;
use super::frozen::Frozen;

/// Name of the file in the folder of the spool.
const FILE: &str = "spool.redb";
/// Blocks by the position of their first record.
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
/// Pages that redb keeps in memory, in bytes: the spool is written once and read once.
const CACHE: usize = 1024 * 1024;
/// Most bytes of one read.
const MAX_READ: usize = 4 * 1024 * 1024;
/// After removing so many bytes the removal is made durable, so that its pages are used again.
const RELEASE: u64 = 4 * 1024 * 1024;
/// A file above this size is compacted when nothing is left in it.
const COMPACT_ABOVE: u64 = 16 * 1024 * 1024;
/// Why a frozen store takes nothing.
pub(super) const FROZEN: &str = "its disk takes no writes any more";
/// What the position of a record counts against the limit, in bytes.
pub(super) const POSITION_BYTES: u64 = 8;

/// Why the database failed.
#[derive(Debug, Error)]
pub(super) enum StoreError {
    /// Another process has it open.
    #[error("it is in use")]
    Busy,
    /// The system or the database refused.
    #[error("{0}")]
    Failed(String),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Failed(error.into().to_string())
    }
}

impl From<Broken> for StoreError {
    fn from(_: Broken) -> Self {
        Self::Failed(format!(
            "{FILE} holds a block that is not the spool's; move the file away to go on without it"
        ))
    }
}

/// How far a store had come that failed, so that its successor goes on there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Position that the next record gets.
    pub(super) next: u64,
    /// Position of the last record removed.
    pub(super) head: u64,
}

/// The open database and where its queue begins and ends.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    path: PathBuf,
    marks: Marks,
    depth: Depth,
    unreleased: u64,
    /// Whether the disk takes no writes, so that changes are made in memory only.
    frozen: bool,
}

impl Store {
    /// Opens the file in `dir`. With `former` marks, records at and after `former.next` are removed:
    /// they belong to an append that was answered with an error.
    pub(super) fn open(dir: &Path, former: Option<Marks>) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::Failed(error.to_string());
        create_private(dir).map_err(failed)?;
        let path = dir.join(FILE);
        let database = opened(SyncedGrowth::open(&path))?;
        // The entry of a new file in its folder needs a sync of its own to survive a power cut.
        fs::File::open(dir)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Self::with(database, path, former, false)
    }

    /// Opens the file of a store that failed, on a disk that takes no writes: its records can be read and
    /// removed, but none added. A crash brings back what was removed.
    pub(super) fn open_frozen(dir: &Path, former: Marks) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let database = opened(Frozen::open(&path))?;
        Self::with(database, path, Some(former), true)
    }

    fn with(
        database: Database,
        path: PathBuf,
        former: Option<Marks>,
        frozen: bool,
    ) -> Result<Self, StoreError> {
        let mut store = Self {
            database,
            path,
            marks: former.unwrap_or(Marks { next: 1, head: 0 }),
            depth: Depth::default(),
            unreleased: 0,
            frozen,
        };
        store.cut(former)?;
        store.count()?;
        Ok(store)
    }

    /// Whether changes are made in memory only.
    pub(super) fn frozen(&self) -> bool {
        self.frozen
    }

    /// Where the queue begins and ends.
    pub(super) fn marks(&self) -> Marks {
        self.marks
    }

    /// What it holds.
    pub(super) fn depth(&self) -> Depth {
        self.depth
    }

    /// Makes sure that the table is there, and takes off what nobody was promised.
    fn cut(&self, former: Option<Marks>) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(BLOCKS)?;
            if let Some(marks) = former {
                table.retain_in(marks.next.., |_, _| false)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn count(&mut self) -> Result<(), StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(BLOCKS)?;
        let mut depth = Depth::default();
        for entry in table.iter()? {
            let (first, block) = entry?;
            let lengths = block::lengths(block.value())?;
            let taken = tally(first.value(), &lengths, self.marks.head + 1, u64::MAX);
            depth.records += taken.records;
            depth.bytes += taken.bytes;
            let end = first.value() + length(&lengths);
            self.marks.next = self.marks.next.max(end);
        }
        self.depth = depth;
        Ok(())
    }

    /// Stores `records` in order, durably, all or none.
    pub(super) fn append(&mut self, records: &[Bytes]) -> Result<(), StoreError> {
        if self.frozen {
            return Err(StoreError::Failed(FROZEN.to_owned()));
        }
        let mut next = self.marks.next;
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(BLOCKS)?;
            for (count, block) in block::pack(records) {
                table.insert(next, block.as_slice())?;
                next += count;
            }
        }
        transaction.commit()?;
        self.marks.next = next;
        self.depth.records += length(records);
        self.depth.bytes += records
            .iter()
            .map(|record| weight(record.len()))
            .sum::<u64>();
        Ok(())
    }

    /// At most `limit` records after `after` and after the head, at most [`MAX_READ`] bytes or one record.
    pub(super) fn read(&self, after: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let from = after.max(self.marks.head).saturating_add(1);
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(BLOCKS)?;
        // The block that holds `from` may begin before it.
        let start = match table.range(..=from)?.next_back() {
            Some(entry) => entry?.0.value(),
            None => from,
        };
        let mut records = Vec::new();
        let mut bytes = 0;
        for entry in table.range(start..)? {
            let (first, block) = entry?;
            for (position, record) in (first.value()..).zip(block::unpack(block.value())?) {
                if position < from {
                    continue;
                }
                bytes += record.len();
                if records.len() >= limit || (bytes > MAX_READ && !records.is_empty()) {
                    return Ok(records);
                }
                records.push((position, record));
            }
        }
        Ok(records)
    }

    /// Removes everything up to `position`. A block goes when all of its records are removed.
    pub(super) fn remove_through(&mut self, position: u64) -> Result<(), StoreError> {
        let position = position.min(self.marks.next.saturating_sub(1));
        if position <= self.marks.head {
            return Ok(());
        }
        let empties = position + 1 == self.marks.next;
        let mut transaction = self.database.begin_write()?;
        if !empties && self.unreleased < RELEASE {
            transaction
                .set_durability(Durability::None)
                .map_err(|error| StoreError::Failed(error.to_string()))?;
        }
        let mut removed = Depth::default();
        {
            let mut table = transaction.open_table(BLOCKS)?;
            let mut whole = None;
            for entry in table.range(..=position)? {
                let (first, block) = entry?;
                let lengths = block::lengths(block.value())?;
                let taken = tally(first.value(), &lengths, self.marks.head + 1, position);
                removed.records += taken.records;
                removed.bytes += taken.bytes;
                if first.value() + length(&lengths) <= position + 1 {
                    whole = Some(first.value());
                }
            }
            if let Some(last) = whole {
                table.retain_in(..=last, |_, _| false)?;
            }
        }
        transaction.commit()?;
        self.unreleased = if empties || self.unreleased >= RELEASE {
            0
        } else {
            self.unreleased + removed.bytes
        };
        self.marks.head = position;
        self.depth.records = self.depth.records.saturating_sub(removed.records);
        self.depth.bytes = self.depth.bytes.saturating_sub(removed.bytes);
        if empties {
            self.shrink()?;
        }
        Ok(())
    }

    /// Moves the head past `position` without touching the disk. What stands before it comes back when
    /// the file is opened without marks.
    pub(super) fn pass(&mut self, position: u64) -> Result<(), StoreError> {
        let last = self.marks.next.saturating_sub(1);
        self.marks.head = self.marks.head.max(position.min(last));
        self.count()
    }

    /// Begins a new file in place of one that has nothing left, which gives the disk its room back.
    pub(super) fn renew(self) -> Result<Self, StoreError> {
        let Self {
            database,
            path,
            marks,
            ..
        } = self;
        drop(database);
        let failed = |error: io::Error| StoreError::Failed(error.to_string());
        fs::remove_file(&path).map_err(failed)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        Self::open(dir, Some(marks))
    }

    fn shrink(&mut self) -> Result<(), StoreError> {
        let size = fs::metadata(&self.path).map_or(0, |file| file.len());
        if size > COMPACT_ABOVE && !self.frozen {
            self.database.compact()?;
        }
        Ok(())
    }
}

fn opened<B: StorageBackend>(backend: Result<B, DatabaseError>) -> Result<Database, StoreError> {
    let opened = backend.and_then(|backend| {
        Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
    });
    match opened {
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::Busy),
        other => Ok(other?),
    }
}

/// What a record of `length` bytes counts against the limit.
pub(super) fn weight(length: usize) -> u64 {
    u64::try_from(length)
        .unwrap_or(u64::MAX)
        .saturating_add(POSITION_BYTES)
}

fn length<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// Counts the records of a block that begins at `first` whose position lies from `from` to `to`.
fn tally(first: u64, lengths: &[usize], from: u64, to: u64) -> Depth {
    let mut depth = Depth::default();
    for (position, length) in (first..).zip(lengths) {
        if (from..=to).contains(&position) {
            depth.records += 1;
            depth.bytes += weight(*length);
        }
    }
    depth
}

/// Creates a folder that only its owner may read: it will hold messages.
fn create_private(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(dir)
}
