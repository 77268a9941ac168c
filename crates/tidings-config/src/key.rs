//! The path of a value: [`KeyPath`], `subscription.billing.retry.attempts`.

use std::fmt;

/// The path of a value, one segment per table. Names may contain dots, so it is never plain text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct KeyPath(Vec<String>);

impl KeyPath {
    pub(crate) fn new<S: Into<String>>(segments: impl IntoIterator<Item = S>) -> Self {
        Self(segments.into_iter().map(Into::into).collect())
    }

    pub(crate) fn segments(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn child(&self, segment: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.to_owned());
        Self(segments)
    }

    pub(crate) fn join(&self, more: &[String]) -> Self {
        Self(self.0.iter().chain(more).cloned().collect())
    }

    pub(crate) fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The first `count` segments, or all there are.
    pub(crate) fn first(&self, count: usize) -> Self {
        Self(self.0.iter().take(count).cloned().collect())
    }

    pub(crate) fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The form in which paths from variables are compared.
    pub(crate) fn loose(&self) -> Self {
        Self(self.0.iter().map(|segment| normal(segment)).collect())
    }

    /// The environment variable that sets this key.
    pub(crate) fn variable(&self) -> String {
        let parts: Vec<_> = self
            .0
            .iter()
            .map(|segment| normal(segment).to_ascii_uppercase())
            .collect();
        format!("TIDINGS__{}", parts.join("__"))
    }
}

impl fmt::Display for KeyPath {
    /// As TOML writes it: segments that are not plain words are quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            let plain = !segment.is_empty()
                && segment
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
            if plain {
                f.write_str(segment)?
            } else {
                write!(f, "{segment:?}")?
            }
        }
        Ok(())
    }
}

/// The form in which names from environment variables are compared: lower case, every separator an underscore.
pub(crate) fn normal(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_toml_and_as_a_variable() {
        let path = KeyPath::new(["channel", "orders.eu-1", "partitions"]);
        assert_eq!(path.to_string(), r#"channel."orders.eu-1".partitions"#);
        assert_eq!(path.variable(), "TIDINGS__CHANNEL__ORDERS_EU_1__PARTITIONS");
    }
}
