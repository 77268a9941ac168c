//! What must not be printed: [`Secret`], and how values that may hold a secret are shown.

use serde::Deserialize;
use std::fmt;

/// Stands for what is not shown.
pub(crate) const HIDDEN: &str = "***";

/// Text that is never printed: not by `Debug`, not in errors, not by `describe`. A program's own section may use it
/// for its passwords.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Words that mark a key whose value is a secret.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "jaas",
    "apikey",
    "oauthbearer.config",
];
/// What stands before `key` (or `key.pem`) when a key means key material and not the key of a message.
const KEY_MATERIAL: [&str; 6] = ["api", "access", "private", "signing", "encryption", "ssl"];

/// Whether a key of that name holds a secret. Rather too often than too seldom.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace(['_', '-'], ".");
    SECRET_WORDS.iter().any(|word| key.contains(word))
        || KEY_MATERIAL
            .iter()
            .any(|word| key.contains(&format!("{word}.key")) || key.contains(&format!("{word}key")))
        || key.split('.').any(|word| word == "pem")
}

/// A URL (or any text) without the password it may carry. Everything between the first `:` after the scheme and the
/// last `@` goes, because a password may itself contain any separator; and the value of every query parameter that
/// is named like a secret.
pub fn redact_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once(':') else {
        return text.to_owned();
    };
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:{HIDDEN}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    format!("{scheme}:{}", redact_query(&shown))
}

fn redact_query(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if is_secret_key(name) => format!("{name}={HIDDEN}"),
        _ => part.to_owned(),
    });
    format!("{path}?{}", parts.collect::<Vec<_>>().join("&"))
}

/// The value of a key whose meaning is not known: hidden if the name is that of a secret, else without passwords.
pub(crate) fn show(key: &str, text: &str) -> String {
    if is_secret_key(key) {
        HIDDEN.to_owned()
    } else {
        shorten(&redact_url(text))
    }
}

/// Long text is cut: it stands in a message, not for itself.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 120;
    let clean: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        clean + "…"
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_part_of_a_shown_url() {
        for (url, shown) in [
            ("amqp://ada:pw@host/vhost", "amqp://ada:***@host/vhost"),
            ("amqp://ada:p/w?x#@1@host/vhost", "amqp://ada:***@host/vhost"),
            ("kafka://a:pw@h1:9092,b:pw@h2", "kafka://a:***@h2"),
            ("kafka:a:pw@h1", "kafka:a:***@h1"),
            ("kafka://h1:9092,h2:9092", "kafka://h1:9092,h2:9092"),
            ("amqp://ada@host", "amqp://ada@host"),
            ("amqp://host?Password=pw&x=1", "amqp://host?Password=***&x=1"),
            ("embedded:./data", "embedded:./data"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn keys_of_secrets_are_recognised_by_name() {
        for key in [
            "sasl.password",
            "SASL_PASSWORD",
            "ssl.key.pem",
            "api-key",
            "apiKey",
            "sasl.jaas.config",
            "db_token",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in [
            "security.protocol",
            "message.key",
            "bootstrap.servers",
            "keyspace",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(
            format!("{:?} {:#?}", Secret::new("hunter2"), Some(Secret::new("hunter2"))),
            "*** Some(\n    ***,\n)"
        );
    }
}
