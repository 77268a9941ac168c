//! Which known name somebody meant: [`find`].

use crate::error::CliError;
use strsim::damerau_levenshtein;

/// The name that is nearest to `word`, if it is near enough to be what was meant: a third of its letters may be wrong,
/// at least two and at most five. Case does not count.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = length.div_ceil(3).clamp(2, 5);
    let small = word.to_lowercase();
    known
        .into_iter()
        .filter(|name| name.chars().count().abs_diff(length) <= limit)
        .map(|name| (damerau_levenshtein(&small, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// The error for a name that is not among those known.
pub(crate) fn unknown<'a>(
    kind: &'static str,
    name: &str,
    place: impl Into<String>,
    known: impl IntoIterator<Item = &'a str>,
) -> CliError {
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    CliError::Unknown {
        kind,
        name: name.to_owned(),
        place: place.into(),
        nearest: nearest(name, known.iter().copied()).map(str::to_owned),
        known: known.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let known = ["orders", "orders.DLT", "payments", "ab"];
        for (word, meant) in [
            ("ordres", Some("orders")),
            ("order", Some("orders")),
            ("ORDERS", Some("orders")),
            ("orders.dlq", Some("orders.DLT")),
            ("paymnts", Some("payments")),
            ("xyzzy", None),
            ("xy", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
