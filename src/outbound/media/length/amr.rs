//! AMR, narrow band and wide band: frames of 20 ms each behind a magic line (RFC 4867, section 5).

const FRAME_MILLIS: u64 = 20;
/// Bytes of a frame behind its first one, by frame type; types that do not occur end the reading.
const NARROW: [Option<usize>; 16] = [
    Some(12),
    Some(13),
    Some(15),
    Some(17),
    Some(19),
    Some(20),
    Some(26),
    Some(31),
    Some(5),
    None,
    None,
    None,
    None,
    None,
    None,
    Some(0),
];
const WIDE: [Option<usize>; 16] = [
    Some(17),
    Some(23),
    Some(32),
    Some(36),
    Some(40),
    Some(46),
    Some(50),
    Some(58),
    Some(60),
    Some(5),
    None,
    None,
    None,
    None,
    Some(0),
    Some(0),
];

/// Length in milliseconds; nothing for recordings of several channels.
pub(super) fn millis(bytes: &[u8]) -> Option<u64> {
    let (mut frames, sizes) = match bytes.strip_prefix(b"#!AMR-WB\n") {
        Some(frames) => (frames, WIDE),
        None => (bytes.strip_prefix(b"#!AMR\n")?, NARROW),
    };
    let mut count = 0;
    while let Some((head, rest)) = frames.split_first() {
        let kind = usize::from(head >> 3 & 0x0f);
        let size = sizes.get(kind).copied().flatten();
        let Some(behind) = size.and_then(|size| rest.get(size..)) else {
            break;
        };
        count += 1;
        frames = behind;
    }
    Some(count * FRAME_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(magic: &str, frames: &[(u8, usize)]) -> Vec<u8> {
        let mut bytes = magic.as_bytes().to_vec();
        for (kind, size) in frames {
            bytes.push(kind << 3 | 0x04);
            bytes.extend(vec![0x55; *size]);
        }
        bytes
    }

    #[test]
    fn frames_of_every_size_are_counted() {
        let narrow = recording("#!AMR\n", &[(7, 31), (0, 12), (8, 5), (15, 0)]);
        assert_eq!(millis(&narrow), Some(80));
        let wide = recording("#!AMR-WB\n", &[(8, 60), (9, 5)]);
        assert_eq!(millis(&wide), Some(40));
    }

    #[test]
    fn a_frame_that_breaks_off_is_not_counted() {
        let mut cut = recording("#!AMR\n", &[(7, 31), (7, 31)]);
        cut.pop();
        assert_eq!(millis(&cut), Some(20));
        assert_eq!(millis(b"#!AMR_MC1.0\n"), None);
    }
}
