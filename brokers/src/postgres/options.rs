//! What kind of PostgreSQL is started: [`PostgresOptions`], [`PostgresLayout`].

use std::time::Duration;

/// How much a PostgreSQL keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PostgresLayout {
    /// Quick: nothing is synced, which only a machine that loses power would notice.
    Plain,
    /// Everything that is committed is synced.
    Durable,
    /// As [`Plain`](Self::Plain), with TLS: who comes without it is sent away, and the user `client` has to show the client
    /// certificate, the user `secret` the password `secret`. All others come without.
    Secure,
}

impl PostgresLayout {
    /// Every layout.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Durable, Self::Secure];

    /// What `cargo xtask brokers` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "postgres",
            Self::Durable => "postgres-durable",
            Self::Secure => "postgres-secure",
        }
    }

    /// Settings, beside those that every server here has.
    pub(crate) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plain | Self::Secure => &[
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
            ],
            Self::Durable => &[],
        }
    }
}

/// Which PostgreSQL to start.
#[derive(Debug, Clone)]
#[must_use]
pub struct PostgresOptions {
    pub(crate) layout: PostgresLayout,
    pub(crate) patience: Duration,
    pub(crate) settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// A quick one.
    pub fn plain() -> Self {
        Self::of(PostgresLayout::Plain)
    }

    /// One that syncs what is committed, for tests that harm it.
    pub fn durable() -> Self {
        Self::of(PostgresLayout::Durable)
    }

    /// A quick one with TLS, see [`PostgresLayout::Secure`].
    pub fn secure() -> Self {
        Self::of(PostgresLayout::Secure)
    }

    /// The options of a layout.
    pub fn of(layout: PostgresLayout) -> Self {
        Self {
            layout,
            patience: Duration::from_secs(120),
            settings: Vec::new(),
        }
    }

    /// How long it may take until it is ready; default 120 s, which is meant for busy machines: one that ends is noticed
    /// at once.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// One more setting of `postgresql.conf`; it wins over ours.
    pub fn setting(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }
}
