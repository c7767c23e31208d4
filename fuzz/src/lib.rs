//! The functions that the fuzz targets run; the replay of their corpora in `tests/it/corpus.rs` runs
//! the same.

#![forbid(unsafe_code)]

mod doors;

pub use doors::{answer, frame, markdown, request, spool, subject, wire};
