//! WAV: the bytes a second of its format, and the bytes of its samples.

/// Length in milliseconds.
pub(super) fn millis(bytes: &[u8]) -> Option<u64> {
    let mut chunks = bytes
        .strip_prefix(b"RIFF")?
        .get(4..)?
        .strip_prefix(b"WAVE")?;
    let mut rate = 0;
    loop {
        let (head, body) = chunks.split_at_checked(8)?;
        let (id, size) = head.split_at_checked(4)?;
        let size = usize::try_from(u32::from_le_bytes(size.try_into().ok()?)).ok()?;
        if id == b"fmt " {
            rate = u64::from(u32::from_le_bytes(body.get(8..12)?.try_into().ok()?));
        } else if id == b"data" {
            // What was recorded as a stream does not know its size.
            let samples = u64::try_from(size.min(body.len())).ok()?;
            return (samples * 1000).checked_div(rate);
        }
        // Chunks begin at even offsets.
        chunks = body.get(size.checked_add(size % 2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(samples: usize, stated: u32) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend(8000_u32.to_le_bytes());
        bytes.extend(16_000_u32.to_le_bytes());
        bytes.extend(b"\x02\0\x10\0data");
        bytes.extend(stated.to_le_bytes());
        bytes.extend(vec![0; samples]);
        bytes
    }

    #[test]
    fn samples_are_counted_by_the_rate_of_the_format() {
        assert_eq!(millis(&recording(24_000, 24_000)), Some(1500));
    }

    #[test]
    fn a_stream_without_a_size_is_as_long_as_its_bytes() {
        assert_eq!(millis(&recording(8000, u32::MAX)), Some(500));
        assert_eq!(millis(b"RIFF\0\0\0\0WAVE"), None);
    }
}
