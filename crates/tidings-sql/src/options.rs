//! How a database is used: [`SqlOptions`], [`Migrate`].

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::relay::{RelayMode, RelayOptions, RelayPlan};
use crate::replication::ReplicationOptions;
use std::time::Duration;
use tidings_config::SqlConfig;

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
    pub(crate) pruning: Pruning,
    pub(crate) relay: RelayPlan,
}

/// When claims of an inbox are forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pruning {
    pub(crate) retention: Duration,
    pub(crate) interval: Duration,
    pub(crate) rows: u32,
}

/// What our tables are in if nobody says anything.
pub(crate) const SCHEMA: &str = "tidings";
/// PostgreSQL cuts names after 63 bytes; the longest name behind a prefix has its place beside it.
const LONGEST_SCHEMA: usize = 32;

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            schema: SCHEMA.into(),
            migrate: Migrate::default(),
            max_connections: 10,
            timeout: Duration::from_secs(10),
            busy_timeout: Duration::from_secs(5),
            pruning: Pruning {
                retention: Duration::from_secs(7 * 86_400),
                interval: Duration::from_secs(60),
                rows: 1_000,
            },
            relay: RelayPlan::default(),
        }
    }
}

impl SqlOptions {
    /// The defaults, and what configuration says in `[sql]`, `[sql.relay]` and `[sql.replication]` (`config.sql()`).
    ///
    /// ```
    /// use tidings_config::Config;
    /// use tidings_sql::SqlOptions;
    ///
    /// # fn main() -> Result<(), tidings_config::ConfigError> {
    /// let config = Config::from_toml("[sql]\ninbox_retention = \"30d\"", "tidings.toml")?;
    /// let options = SqlOptions::configured(&config.sql());
    /// # drop(options);
    /// # Ok(())
    /// # }
    /// ```
    pub fn configured(config: &SqlConfig) -> Self {
        let migrate = config.migrate.as_ref().is_none_or(|said| said.value);
        let relay = RelayPlan::configured(config);
        let mut options = Self {
            relay,
            ..Self::default()
        }
        .migrate(if migrate { Migrate::AtStart } else { Migrate::Never });
        macro_rules! take {
            ($($key:ident),*) => {$(
                if let Some(said) = &config.$key {
                    options = options.$key(said.value.clone());
                }
            )*};
        }
        take!(schema, max_connections, timeout, busy_timeout);
        take!(inbox_retention, inbox_prune_interval, inbox_prune_rows);
        options
    }

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

    /// How long an inbox knows a message that was handled; default 7 days. One that comes again after that is handled
    /// again, so it is to be longer than any broker, retry or redrive takes to bring a message again.
    pub fn inbox_retention(mut self, retention: Duration) -> Self {
        self.pruning.retention = retention;
        self
    }

    /// How often an inbox looks for messages that it may forget; default 60 s.
    pub fn inbox_prune_interval(mut self, interval: Duration) -> Self {
        self.pruning.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How many messages an inbox forgets at a time; default 1,000. While there are more it goes on after a tenth of a
    /// second.
    pub fn inbox_prune_rows(mut self, rows: u32) -> Self {
        self.pruning.rows = rows.max(1);
        self
    }

    /// Who sends what is in the outbox; default [`RelayMode::Polling`]: the app that publishes by the store.
    pub fn relay_mode(mut self, mode: RelayMode) -> Self {
        self.relay.mode = mode;
        self
    }

    /// How the relay of an app works.
    pub fn relay(mut self, options: RelayOptions) -> Self {
        self.relay.options = options;
        self
    }

    /// How the relay of an app reads with [`RelayMode::Replication`].
    pub fn replication(mut self, options: ReplicationOptions) -> Self {
        self.relay.replication = options;
        self
    }

    /// Whether a store of that kind can be opened with them.
    pub(crate) fn check<DB: Dialect>(&self) -> Result<(), SqlError> {
        self.check_schema()?;
        self.relay.check::<DB>()
    }

    /// The name goes into statements as it is, so nothing else may be in it.
    pub(crate) fn check_schema(&self) -> Result<(), SqlError> {
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
    fn every_key_of_the_configuration_counts() {
        let config = "[sql]\nschema = \"events\"\nmigrate = false\nmax_connections = 3\ntimeout = \"4s\"\nbusy_timeout = \"5s\"\n\
                      inbox_retention = \"6s\"\ninbox_prune_interval = \"7s\"\ninbox_prune_rows = 8\n";
        let config = tidings_config::Config::from_toml(config, "tidings.toml").unwrap();
        let options = SqlOptions::configured(&config.sql());
        let secs = Duration::from_secs;
        assert_eq!(
            (options.schema.as_str(), options.migrate),
            ("events", Migrate::Never)
        );
        assert_eq!(options.max_connections, 3);
        assert_eq!((options.timeout, options.busy_timeout), (secs(4), secs(5)));
        let Pruning {
            retention,
            interval,
            rows,
        } = options.pruning;
        assert_eq!((retention, interval, rows), (secs(6), secs(7), 8));
    }

    #[test]
    fn a_schema_is_a_name_and_nothing_else() {
        for good in ["tidings", "_", "a1_b2", &"x".repeat(32)] {
            assert!(
                SqlOptions::default().schema(good).check_schema().is_ok(),
                "{good}"
            );
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
            let refused = SqlOptions::default().schema(bad).check_schema();
            assert!(matches!(refused, Err(SqlError::Name { .. })), "{bad}");
        }
    }
}
