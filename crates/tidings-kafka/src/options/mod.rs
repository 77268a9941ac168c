//! How the clients of one Kafka are set up: [`ClientOptions`].

mod check;
mod clients;
mod configured;
mod names;
mod url;

use crate::error::KafkaError;
use crate::security::{SharedTokenSource, TokenSource};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
pub use tidings_core::WhenFull;

/// The brokers, the client's properties, and what Tidings adds. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientOptions {
    servers: String,
    properties: BTreeMap<String, String>,
    request_timeout: Duration,
    retry_trim_interval: Duration,
    when_full: WhenFull,
    existing: Existing,
    replication: Option<u16>,
    topic_settings: BTreeMap<String, String>,
    token_source: Option<SharedTokenSource>,
    binder: Option<String>,
}

/// What preparing a topic that exists checks. It is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Existing {
    /// It is taken as it is.
    #[default]
    Take,
    /// A number of partitions, retention or clean-up that differs from what is asked for is an error.
    Validate,
}

impl ClientOptions {
    /// The brokers of a URL: `kafka://h1:9092,h2`. A port that is missing is 9092; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// [`KafkaError::Url`].
    pub fn from_url(url: &str) -> Result<Self, KafkaError> {
        Ok(Self {
            servers: url::bootstrap_servers(url)?,
            properties: BTreeMap::new(),
            request_timeout: Duration::from_secs(10),
            retry_trim_interval: Duration::from_secs(60),
            when_full: WhenFull::default(),
            existing: Existing::default(),
            replication: None,
            topic_settings: BTreeMap::new(),
            token_source: None,
            binder: None,
        })
    }

    /// With properties of librdkafka, by their names there. `consumer.` or `producer.` before a name gives a property
    /// to clients of that kind only, and wins over the same name without it.
    ///
    /// # Errors
    /// [`KafkaError::UnknownProperty`], [`KafkaError::BadValue`], or [`KafkaError::Reserved`] for what a promise of
    /// Tidings depends on.
    pub fn with_properties<N, V>(
        mut self,
        properties: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, KafkaError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let added = properties
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        self.properties.extend(added);
        check::check(&self.properties)?;
        Ok(self)
    }

    /// With another time for a question to the broker (topics, groups, offsets) than 10 s.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// With another interval than 60 s after which a binder deletes what groups have finished of their retry topics.
    #[must_use]
    pub fn with_retry_trim_interval(mut self, interval: Duration) -> Self {
        self.retry_trim_interval = interval;
        self
    }

    /// With the name that this binder has in its program. Two that lead to one Kafka do not take the right to send as the only
    /// one ([`Sink::sole`](tidings_core::Sink::sole)) from each other then.
    #[must_use]
    pub fn with_binder(mut self, name: impl Into<String>) -> Self {
        self.binder = Some(name.into());
        self
    }

    /// The name that this binder has in its program.
    pub(crate) fn binder(&self) -> Option<&str> {
        self.binder.as_deref()
    }

    /// With a choice of what publishing does when its buffer is full.
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// With a choice of what preparing a topic that exists checks.
    #[must_use]
    pub fn with_existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// With a number of replicas for topics that are made; otherwise the broker's `default.replication.factor`.
    #[must_use]
    pub fn with_replication(mut self, replicas: u16) -> Self {
        self.replication = Some(replicas);
        self
    }

    /// With a setting of topics that are made, by its name on the broker: `min.insync.replicas`. Retry topics and dead
    /// letters keep what is in them whatever is said here of retention and clean-up.
    #[must_use]
    pub fn with_topic_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.topic_settings.insert(name.into(), value.into());
        self
    }

    /// With a source of tokens for OAUTHBEARER. It goes with `security.protocol` = `SASL_SSL`; `sasl.mechanism` need not
    /// be set.
    #[must_use]
    pub fn with_token_source(mut self, source: impl TokenSource) -> Self {
        self.token_source = Some(SharedTokenSource(Arc::new(source)));
        self
    }

    /// The brokers: `host:port`, comma separated.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// How long a question to the broker may take.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(crate) fn retry_trim_interval(&self) -> Duration {
        self.retry_trim_interval
    }

    pub(crate) fn when_full(&self) -> WhenFull {
        self.when_full
    }

    pub(crate) fn existing(&self) -> Existing {
        self.existing
    }

    pub(crate) fn replication(&self) -> Option<u16> {
        self.replication
    }

    pub(crate) fn given_token_source(&self) -> Option<&SharedTokenSource> {
        self.token_source.as_ref()
    }

    /// The value of a property that may have several names, for whichever kind of client it was written.
    pub(crate) fn property(&self, names: &[&str]) -> Option<&str> {
        let of = |wanted: fn(Option<check::Role>) -> bool| {
            self.properties.iter().find_map(|(written, value)| {
                let (role, name) = check::role_of(written);
                (wanted(role) && names.contains(&name)).then_some(value.as_str())
            })
        };
        of(|role| role.is_none()).or_else(|| of(|role| role.is_some()))
    }

    pub(crate) fn topic_settings(&self) -> &BTreeMap<String, String> {
        &self.topic_settings
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<_, _> = self
            .properties
            .iter()
            .map(|(name, value)| (name, check::shown(name, value)))
            .collect();
        f.debug_struct("ClientOptions")
            .field("servers", &self.servers)
            .field("properties", &shown)
            .field("request_timeout", &self.request_timeout)
            .field("retry_trim_interval", &self.retry_trim_interval)
            .field("when_full", &self.when_full)
            .field("existing", &self.existing)
            .field("replication", &self.replication)
            .field("topic_settings", &self.topic_settings)
            .field("token_source", &self.token_source)
            .field("binder", &self.binder)
            .finish()
    }
}
