//! How much room a text takes at DingTalk.

/// Least fill of a part, in hundredths, before a worse place to cut is taken.
const FILL: usize = 25;
/// How much text there is, or fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dingtalk::api) struct Size {
    /// UTF-16 code units, which is how DingTalk counts characters.
    pub(in crate::dingtalk::api) units: usize,
    /// Bytes once it stands in a JSON string.
    pub(in crate::dingtalk::api) bytes: usize,
}

impl Size {
    pub(super) const ZERO: Self = Self { units: 0, bytes: 0 };

    /// The size of `text`.
    pub(in crate::dingtalk::api) fn of(text: &str) -> Self {
        text.chars().fold(Self::ZERO, |size, c| Self {
            units: size.units + c.len_utf16(),
            bytes: size.bytes + json_len(c),
        })
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            units: self.units.saturating_add(other.units),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            units: self.units.saturating_sub(other.units),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    pub(super) fn fits(self, room: Self) -> bool {
        self.units <= room.units && self.bytes <= room.bytes
    }

    /// Whether it fills at least [`FILL`] hundredths of the room in either measure.
    pub(super) fn fills(self, room: Self) -> bool {
        let enough = |part: usize, whole: usize| part.saturating_mul(100) / FILL >= whole;
        enough(self.units, room.units) || enough(self.bytes, room.bytes)
    }
}

/// Bytes of a character inside a JSON string, as serde_json writes it.
fn json_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}
