//! Which known word somebody meant: Damerau-Levenshtein distance, with a limit.

/// The candidate that is nearest to `word`, if one is near enough to be what was meant: a third of its letters may
/// be wrong, at least two and at most five. Case and kinds of separators do not count.
///
/// ```
/// assert_eq!(tidings_config::nearest("biling", ["audit", "billing"]), Some("billing"));
/// assert_eq!(tidings_config::nearest("xyz", ["audit", "billing"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).clamp(2, 5);
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(word, candidate, limit)?, candidate)))
        // A word of two letters is within two of every other word of two letters.
        .filter(|(distance, candidate)| *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour; none beyond `limit`. Case
/// does not count, and neither does the kind of separator.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let a: Vec<char> = crate::key::normal(a).chars().collect();
    let b: Vec<char> = crate::key::normal(b).chars().collect();
    // Far longer words are not near; this also bounds the work for hostile names.
    if a.len().abs_diff(b.len()) > limit || a.len() > 256 {
        return None;
    }
    let mut two_before = vec![0; b.len() + 1];
    let mut before: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = before[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(before[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(two_before[j - 2] + 1);
            }
        }
        two_before = std::mem::replace(&mut before, row);
    }
    before.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        let known = [
            "concurrency",
            "group",
            "retry",
            "rate",
            "order",
            "ordering",
            "url",
        ];
        for (word, meant) in [
            ("concurency", Some("concurrency")),
            ("conucrrency", Some("concurrency")),
            ("Group", Some("group")),
            ("retries", Some("retry")),
            ("oder", Some("order")),
            ("ulr", Some("url")),
            ("xyzzy", None),
            ("q", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn a_swap_is_one_mistake() {
        assert_eq!(distance("ulr", "url", 5), Some(1));
        assert_eq!(distance("kitten", "sitting", 5), Some(3));
        assert_eq!(distance("kitten", "sitting", 2), None);
        assert_eq!(distance("BILLING_EU", "billing-eu", 2), Some(0));
    }
}
