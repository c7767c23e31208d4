//! MP3: every frame says how long it plays, so the length is exact for constant and variable bit
//! rates alike. A recording has 2 MB at most, so all of them are looked at.

/// Kilobits a second by index, of MPEG 1 and of MPEG 2 and 2.5, layer III.
const MPEG1_RATES: [u32; 15] = [
    0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
];
const MPEG2_RATES: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
/// Samples a second of MPEG 1; the later versions have a half and a quarter.
const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];

/// One frame, as its header tells.
struct Frame {
    bytes: usize,
    samples: u64,
    sample_rate: u64,
}

/// Length in milliseconds; nothing when there is no frame.
pub(super) fn millis(bytes: &[u8]) -> Option<u64> {
    let mut left = bytes.get(tag_size(bytes)..)?;
    let mut micros = 0;
    let mut first = true;
    while left.len() >= 4 {
        let Some(frame) = frame(left).filter(|frame| !first || is_followed(left, frame)) else {
            left = left.get(1..)?;
            continue;
        };
        // The first frame of a variable bit rate may be an index, which plays nothing.
        if !first || !is_index(left, &frame) {
            micros += frame.samples * 1_000_000 / frame.sample_rate;
        }
        first = false;
        left = left.get(frame.bytes..).unwrap_or_default();
    }
    (!first).then_some(micros / 1000)
}

/// Bytes of the ID3v2 tag in front.
fn tag_size(bytes: &[u8]) -> usize {
    match bytes {
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] => {
            let size = [a, b, c, d]
                .into_iter()
                .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
            let footer = if flags & 0x10 == 0 { 0 } else { 10 };
            size + footer + 10
        }
        _ => 0,
    }
}

/// Whether another frame, or the end, stands behind `frame`: two bytes alone may be anything.
fn is_followed(bytes: &[u8], of: &Frame) -> bool {
    match bytes.get(of.bytes..) {
        Some(behind) if behind.len() >= 4 => frame(behind).is_some(),
        _ => true,
    }
}

fn is_index(bytes: &[u8], frame: &Frame) -> bool {
    let frame = bytes.get(..frame.bytes).unwrap_or(bytes);
    let holds = |mark: &[u8; 4]| frame.windows(4).take(64).any(|window| window == mark);
    holds(b"Xing") || holds(b"Info") || holds(b"VBRI")
}

/// The frame that begins `bytes`, of layer III.
fn frame(bytes: &[u8]) -> Option<Frame> {
    let &[sync, head, rates, ..] = bytes else {
        return None;
    };
    if sync != 0xff || head & 0xe0 != 0xe0 || head >> 1 & 3 != 1 {
        return None;
    }
    let (table, halvings, samples) = match head >> 3 & 3 {
        3 => (MPEG1_RATES, 0, 1152),
        2 => (MPEG2_RATES, 1, 576),
        0 => (MPEG2_RATES, 2, 576),
        _ => return None,
    };
    let bit_rate = table.get(usize::from(rates >> 4)).copied();
    let bit_rate = bit_rate.filter(|rate| *rate > 0)? * 1000;
    let sample_rate = SAMPLE_RATES.get(usize::from(rates >> 2 & 3))? >> halvings;
    let padding = u32::from(rates >> 1 & 1);
    let bytes = samples / 8 * bit_rate / sample_rate + padding;
    Some(Frame {
        bytes: usize::try_from(bytes).ok()?,
        samples: u64::from(samples),
        sample_rate: u64::from(sample_rate),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of MPEG 1, 128 kbit/s, 44.1 kHz: 417 bytes, 26.122 ms.
    fn frames(count: usize) -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
        frame.resize(417, 0x11);
        frame.repeat(count)
    }

    #[test]
    fn frames_are_counted_behind_a_tag_and_before_a_tail() {
        let tag = b"ID3\x04\0\0\0\0\x01\x02".iter().copied();
        let bytes: Vec<u8> = tag.chain(vec![0xff; 130]).chain(frames(100)).collect();
        assert_eq!(millis(&bytes), Some(2612));
        let mut tailed = frames(100);
        tailed.extend(b"TAG a title");
        assert_eq!(millis(&tailed), Some(2612));
    }

    #[test]
    fn an_index_plays_nothing_and_bit_rates_may_change() {
        let mut bytes = frames(1);
        bytes[36..40].copy_from_slice(b"Xing");
        bytes.extend(frames(10));
        // MPEG 2, 64 kbit/s, 22.05 kHz: 208 bytes, 26.122 ms.
        let mut low = vec![0xff, 0xf3, 0x80, 0x00];
        low.resize(208, 0x11);
        bytes.extend(low.repeat(10));
        assert_eq!(millis(&bytes), Some(522));
    }

    #[test]
    fn what_is_no_recording_has_no_length() {
        assert_eq!(millis(b"OggS and so on, no frame at all"), None);
        assert_eq!(millis(&[0xff; 64]), None);
        assert_eq!(millis(b""), None);
    }
}
