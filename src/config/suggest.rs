//! The known key that a mistyped one probably meant. It knows no key itself.

/// The candidate nearest to `word`, when it is near enough to be a slip of the hand.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace one character) between two words.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at, l) in left.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        for (cell, r) in row.iter_mut().skip(1).zip(right.chars()) {
            let replaced = diagonal + usize::from(l != r);
            diagonal = *cell;
            before = replaced.min(before + 1).min(*cell + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("conections", "connections"), 1);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_slip_finds_its_key_and_another_word_finds_none() {
        let keys = ["connections", "client_id", "client_secret"];
        assert_eq!(nearest("conections", keys), Some("connections"));
        assert_eq!(nearest("clientSecret", keys), Some("client_secret"));
        assert_eq!(nearest("colour", keys), None);
    }
}
