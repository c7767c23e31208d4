//! Form of one stored value: the records of a group, each behind its length. It knows no database.

use bytes::{Buf, BufMut, Bytes};

/// Most bytes of a block, so that reading one record never costs much more; a longer record stands alone.
const MAX_BLOCK: usize = 256 * 1024;
/// Bytes of the length before each record.
const PREFIX: usize = 4;

/// The block is not what was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Packs `records` into as few blocks as [`MAX_BLOCK`] allows: each with the number of records in it.
pub(super) fn pack(records: &[Bytes]) -> Vec<(u64, Vec<u8>)> {
    let mut blocks: Vec<(u64, Vec<u8>)> = Vec::new();
    for record in records {
        let needed = PREFIX + record.len();
        let open = blocks
            .last_mut()
            .filter(|(_, block)| block.len() + needed <= MAX_BLOCK);
        match open {
            Some((count, block)) => {
                *count += 1;
                put(block, record);
            }
            None => {
                let mut block = Vec::with_capacity(needed);
                put(&mut block, record);
                blocks.push((1, block));
            }
        }
    }
    blocks
}

fn put(block: &mut Vec<u8>, record: &Bytes) {
    // A record comes from a frame or a message, and both are far below 4 GiB; a longer one would
    // be read back as broken, never as another one.
    block.put_u32_le(u32::try_from(record.len()).unwrap_or(u32::MAX));
    block.put_slice(record);
}

/// The lengths of the records, read without copying them.
pub(super) fn lengths(mut block: &[u8]) -> Result<Vec<usize>, Broken> {
    let mut lengths = Vec::new();
    while block.has_remaining() {
        let length = usize::try_from(block.try_get_u32_le().map_err(|_| Broken)?);
        let length = length.map_err(|_| Broken)?;
        block = block.get(length..).ok_or(Broken)?;
        lengths.push(length);
    }
    Ok(lengths)
}

/// The records, sharing one copy of the block.
pub(super) fn unpack(block: &[u8]) -> Result<Vec<Bytes>, Broken> {
    let lengths = lengths(block)?;
    let mut rest = Bytes::copy_from_slice(block);
    let mut records = Vec::with_capacity(lengths.len());
    for length in lengths {
        rest.advance(PREFIX);
        records.push(rest.split_to(length));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_back_as_they_went_in(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..40)) {
            let records: Vec<Bytes> = records.into_iter().map(Bytes::from).collect();
            let mut back = Vec::new();
            for (count, block) in pack(&records) {
                let unpacked = unpack(&block).unwrap();
                prop_assert_eq!(u64::try_from(unpacked.len()).unwrap(), count);
                back.extend(unpacked);
            }
            prop_assert_eq!(back, records);
        }

        #[test]
        fn any_bytes_are_read_or_refused(block in prop::collection::vec(any::<u8>(), 0..200)) {
            let read = unpack(&block);
            prop_assert_eq!(read.is_ok(), lengths(&block).is_ok());
        }
    }

    #[test]
    fn a_group_is_cut_at_the_block_size_and_a_longer_record_stands_alone() {
        let small = Bytes::from(vec![1; 100_000]);
        let large = Bytes::from(vec![2; MAX_BLOCK + 1]);
        let blocks = pack(&[small.clone(), small.clone(), small.clone(), large, small]);
        let counts: Vec<u64> = blocks.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
    }
}
