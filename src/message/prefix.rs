//! The beginning of a text that may be no longer than something allows.

/// As much of a text as takes `most` bytes, whole characters only.
pub(crate) fn prefix(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rfind(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_torn() {
        for (most, expected) in [
            (0, ""),
            (2, ""),
            (3, "钉"),
            (5, "钉"),
            (6, "钉钉"),
            (9, "钉钉"),
        ] {
            assert_eq!(prefix("钉钉", most), expected, "{most}");
        }
    }
}
