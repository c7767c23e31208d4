//! How long a recording plays, read from its bytes. It knows containers and no network; what it
//! cannot read has no length.

mod amr;
mod mp3;
mod mp4;
mod wav;

pub(super) use mp4::video_millis;

/// Length of a voice recording in milliseconds: amr, wav or mp3, told by its first bytes.
pub(super) fn audio_millis(bytes: &[u8]) -> Option<u64> {
    let millis = if bytes.starts_with(b"#!AMR") {
        amr::millis(bytes)
    } else if bytes.starts_with(b"RIFF") {
        wav::millis(bytes)
    } else {
        mp3::millis(bytes)
    };
    millis.filter(|millis| *millis > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            magic in prop::sample::select(vec!["", "#!AMR\n", "#!AMR-WB\n", "RIFF____WAVEfmt ", "ID3", "\u{ff}"]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [magic.as_bytes(), &rest].concat();
            let _ = audio_millis(&bytes);
        }
    }
}
