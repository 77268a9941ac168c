//! Which known name somebody meant: [`unknown`].

use crate::error::CliError;
use tidings_config::nearest;

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
