//! Bytes of a file that somebody sends: real ones, and after them a filler that is the same every
//! time and is never held whole. It knows no network.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes that are made or copied at a time.
const CHUNK: u64 = 64 * 1024;

/// What a file holds: its first bytes, then filler up to its size.
#[derive(Debug, Clone)]
pub(super) struct Content {
    head: Bytes,
    size: u64,
}

impl Content {
    /// `head`, followed by filler until there are `size` bytes.
    pub(super) fn new(head: Bytes, size: u64) -> Self {
        let size = size.max(head.len() as u64);
        Self { head, size }
    }

    /// How many bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from the first to the last, in pieces.
    pub(super) fn chunks(&self) -> Chunks {
        Chunks {
            content: self.clone(),
            at: 0,
        }
    }

    /// SHA-256 of all bytes in hex.
    pub(super) fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        for chunk in self.chunks() {
            digest.update(&chunk);
        }
        hex(&digest.finalize())
    }
}

/// The pieces of a [`Content`].
pub(super) struct Chunks {
    content: Content,
    at: u64,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let left = self.content.size - self.at;
        if left == 0 {
            return None;
        }
        let head = self.content.head.len() as u64;
        let chunk = match self.at.checked_sub(head) {
            Some(offset) => filler(offset, left.min(CHUNK)),
            None => self.content.head.clone().split_off(small(self.at)),
        };
        self.at += chunk.len() as u64;
        Some(chunk)
    }
}

/// `len` bytes of filler from `offset` on, which is a multiple of eight.
fn filler(offset: u64, len: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(small(len) + 8);
    let mut word = offset / 8;
    while (bytes.len() as u64) < len {
        bytes.extend_from_slice(&mixed(word).to_le_bytes());
        word += 1;
    }
    bytes.truncate(small(len));
    Bytes::from(bytes)
}

/// A number that looks like any other (SplitMix64).
fn mixed(word: u64) -> u64 {
    let mut z = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn small(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// A digest as lower-case hex.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(content: &Content) -> Vec<u8> {
        content.chunks().flatten().collect()
    }

    #[test]
    fn the_filler_follows_the_given_bytes_and_is_the_same_every_time() {
        let content = Content::new(Bytes::from_static(b"%PDF-"), 200_001);
        let bytes = whole(&content);
        assert_eq!(bytes.len(), 200_001);
        assert!(bytes.starts_with(b"%PDF-"));
        assert_eq!(bytes, whole(&content));
        assert_eq!(content.sha256(), hex(&Sha256::digest(&bytes)));
        let longer = Content::new(Bytes::from_static(b"%PDF-"), 300_000);
        assert!(whole(&longer).starts_with(&bytes));
    }

    #[test]
    fn the_given_bytes_are_never_cut() {
        let content = Content::new(Bytes::from_static(b"abc"), 1);
        assert_eq!(whole(&content), b"abc");
        assert!(whole(&Content::new(Bytes::new(), 0)).is_empty());
    }
}
