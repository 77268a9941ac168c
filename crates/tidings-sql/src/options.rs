//! How a database is used: [`SqlOptions`], [`Migrate`].

use crate::error::SqlError;
use std::time::Duration;

/// Whether tables are made and changed when a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Migrate {
    /// What is lacking is applied, under a lock, so that instances may start together. Where nothing is lacking, nothing
    /// is sent that needs the right to create tables. The default.
    #[default]
    AtStart,
    /// Never: tables that are lacking or too old are an error.
    Never,
}

/// How a database is used.
///
/// ```
/// use std::time::Duration;
/// use tidings_sql::{Migrate, SqlOptions};
///
/// let options = SqlOptions::default()
///     .schema("events")
///     .max_connections(20)
///     .timeout(Duration::from_secs(5))
///     .migrate(Migrate::Never);
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SqlOptions {
    pub(crate) schema: String,
    pub(crate) migrate: Migrate,
    pub(crate) max_connections: u32,
    pub(crate) timeout: Duration,
    pub(crate) busy_timeout: Duration,
}

/// PostgreSQL cuts names after 63 bytes; the longest name behind a prefix has its place beside it.
const LONGEST_SCHEMA: usize = 32;

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            schema: "tidings".into(),
            migrate: Migrate::default(),
            max_connections: 10,
            timeout: Duration::from_secs(10),
            busy_timeout: Duration::from_secs(5),
        }
    }
}

impl SqlOptions {
    /// The schema that our tables are in on PostgreSQL; on SQLite, which has none, their names begin with it and `_`.
    /// Default `tidings`; 1 to 32 characters of a-z, 0-9 and _.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Whether tables are made and changed when the store is opened; default [`Migrate::AtStart`].
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// The most connections at a time, default 10. SQLite has one more, the only one that writes. A pool of the user's own
    /// keeps its own number.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How long it is waited for a connection, and for the answer to one of our own statements; default 10 s. Statements of
    /// handlers are bounded by the timeout of their subscription. A pool of the user's own waits for connections as it
    /// was told.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// SQLite: how long a transaction waits for one of another process that writes; default 5 s. A pool of the user's own
    /// waits as it was told.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The names go into statements as they are, so nothing else may be in them.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
        let good = |(index, byte): (usize, u8)| {
            byte.is_ascii_lowercase() || byte == b'_' || (index > 0 && byte.is_ascii_digit())
        };
        let length = 1..=LONGEST_SCHEMA;
        if length.contains(&self.schema.len()) && self.schema.bytes().enumerate().all(good) {
            return Ok(());
        }
        Err(SqlError::Name {
            what: "schema of our tables",
            name: self.schema.clone(),
            limit: LONGEST_SCHEMA,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_name_and_nothing_else() {
        for good in ["tidings", "_", "a1_b2", &"x".repeat(32)] {
            assert!(SqlOptions::default().schema(good).check().is_ok(), "{good}");
        }
        for bad in [
            "",
            "1a",
            "Tidings",
            "a-b",
            "a\"; drop table x; --",
            "ä",
            &"x".repeat(33),
        ] {
            let refused = SqlOptions::default().schema(bad).check();
            assert!(matches!(refused, Err(SqlError::Name { .. })), "{bad}");
        }
    }
}
