//! Which names: [`Pattern`].

use regex_lite::{Regex, RegexBuilder};
use std::fmt;

/// What a destination begins with that is a pattern of names, as with Kafka's C clients. No broker allows it in a name.
const SIGN: char = '^';
/// The most memory of a compiled pattern: thousands of names in an alternation fit, a repetition of repetitions does not.
const SIZE_LIMIT_BYTES: usize = 1 << 20;

/// A pattern of names of destinations: a regular expression that begins with `^`, such as `^orders\..*`.
///
/// The syntax is that of the crate `regex` for ASCII (the crate `regex-lite`): Perl's without look-around and back
/// references, so that matching takes linear time. As with librdkafka a name matches if the expression is found in it:
/// `^orders` matches `orders-eu` too, `^orders$` only `orders`.
///
/// ```
/// use tidings_runtime::Pattern;
/// let pattern = Pattern::parse(r"^orders\..*")?;
/// assert!(pattern.matches("orders.eu") && !pattern.matches("orders") && !pattern.matches("old.orders.eu"));
/// assert!(Pattern::is_pattern("^orders") && !Pattern::is_pattern("orders.*"));
/// # Ok::<(), tidings_runtime::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern(Regex);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no regular expression: {reason}")]
pub struct PatternError {
    text: String,
    reason: String,
}

impl Pattern {
    /// Whether a destination is meant as a pattern: it begins with `^`.
    pub fn is_pattern(destination: &str) -> bool {
        destination.starts_with(SIGN)
    }

    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`]: it does not begin with `^`, is no regular expression, or too large a one.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let refused = |reason: String| PatternError {
            text: text.to_owned(),
            reason,
        };
        if !Self::is_pattern(text) {
            return Err(refused(format!("it does not begin with {SIGN}")));
        }
        let regex = RegexBuilder::new(text).size_limit(SIZE_LIMIT_BYTES).build();
        regex.map(Self).map_err(|error| refused(error.to_string()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_if_the_expression_is_found_in_it() {
        for (pattern, name, matches) in [
            (r"^orders\..*", "orders.eu", true),
            (r"^orders\..*", "ordersXeu", false),
            (r"^orders\..*", "old.orders.eu", false),
            ("^orders", "orders-eu", true),
            ("^orders$", "orders-eu", false),
            (r"^(orders|refunds)\.(eu|us)$", "refunds.us", true),
            (r"^(orders|refunds)\.(eu|us)$", "refunds.usa", false),
            // As POSIX and Perl alike bind it.
            ("^a|b", "xb", true),
            ("^(?i)orders$", "Orders", true),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_reason() {
        for (text, reason) in [
            ("orders.*", "does not begin with ^"),
            ("^orders(", "no regular expression"),
            (r"^(a)\1$", "no regular expression"),
            ("^(?=a)", "no regular expression"),
            ("^((a{900}){900}){900}", "no regular expression"),
        ] {
            let error = Pattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
    }
}
