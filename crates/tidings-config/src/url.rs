//! The address of a broker: [`BinderUrl`].

use crate::redact::redact_url;
use std::fmt;

/// The address of a broker, for example `embedded:./data` or `amqp://user:password@host/vhost`. `Debug` and `Display`
/// show it without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct BinderUrl {
    text: String,
    scheme: usize,
    /// What is shown in place of it, where a secret may be in any part.
    shown: Option<String>,
}

impl BinderUrl {
    /// Takes text as a broker's address; none if it has no scheme.
    ///
    /// A scheme of one letter is refused: it is the drive of a Windows path whose `embedded:` was forgotten.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let valid = scheme.len() > 1
            && scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c))
            && !rest.chars().any(char::is_control);
        valid.then(|| Self {
            text: text.to_owned(),
            scheme: scheme.len(),
            shown: None,
        })
    }

    /// This address, shown as that text.
    pub(crate) fn shown_as(mut self, text: Option<&str>) -> Self {
        self.shown = text.map(str::to_owned);
        self
    }

    /// Names the driver: `embedded`, `memory`, `kafka`, `amqp`, …
    pub fn scheme(&self) -> &str {
        self.text
            .get(..self.scheme)
            .expect("the scheme was measured on this text")
    }

    /// What follows the scheme and its colon, password included: a directory for `embedded`.
    pub fn expose_rest(&self) -> &str {
        self.text
            .get(self.scheme + 1..)
            .expect("a colon follows the scheme")
    }

    /// The whole address, password included: for the driver that connects.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for BinderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Some(shown) => f.write_str(shown),
            None => f.write_str(&redact_url(&self.text)),
        }
    }
}

impl fmt::Debug for BinderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_hides_its_password() {
        let url = BinderUrl::parse("amqp://ada:pw@host").expect("valid");
        assert_eq!((url.scheme(), url.expose_rest()), ("amqp", "//ada:pw@host"));
        assert_eq!(
            format!("{url} {url:?}"),
            "amqp://ada:***@host amqp://ada:***@host"
        );
        assert_eq!(BinderUrl::parse("memory:").expect("valid").expose_rest(), "");
        for wrong in [
            "",
            "data",
            ":x",
            "C:\\data",
            "Kafka://h",
            "k fka:x",
            "embedded:a\nb",
        ] {
            assert!(BinderUrl::parse(wrong).is_none(), "{wrong}");
        }
    }
}
