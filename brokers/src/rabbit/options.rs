//! What kind of RabbitMQ is started: [`RabbitOptions`], [`RabbitLayout`], [`RabbitListener`].

use std::time::Duration;

/// How many nodes there are and how they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RabbitLayout {
    /// One node without encryption.
    Plain,
    /// One node with TLS, client certificates and users with and without rights.
    Secure,
    /// Three nodes in a cluster, for quorum queues. A minority stops working (`pause_minority`), and a silent node is
    /// given up after 8 s.
    Cluster,
}

impl RabbitLayout {
    /// Every layout.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Secure, Self::Cluster];

    /// What `cargo xtask brokers` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "rabbitmq",
            Self::Secure => "rabbitmq-secure",
            Self::Cluster => "rabbitmq-cluster",
        }
    }

    /// How many nodes it has. Their numbers count from 1.
    #[must_use]
    pub fn nodes(self) -> u32 {
        match self {
            Self::Plain | Self::Secure => 1,
            Self::Cluster => 3,
        }
    }

    pub(crate) fn listeners(self) -> &'static [RabbitListener] {
        match self {
            Self::Plain | Self::Cluster => &[RabbitListener::Plain],
            Self::Secure => &[
                RabbitListener::Plain,
                RabbitListener::Tls,
                RabbitListener::WrongHost,
                RabbitListener::Mtls,
            ],
        }
    }
}

/// A door of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RabbitListener {
    /// No encryption. Who comes in as `guest` may do everything.
    Plain,
    /// TLS with a name and a password, or with a certificate as at [`Mtls`](Self::Mtls) where the client shows one.
    Tls,
    /// TLS with a certificate that is valid for another host.
    WrongHost,
    /// TLS that demands a certificate of the client, whose common name is the user's name with the mechanism EXTERNAL.
    Mtls,
}

impl RabbitListener {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::WrongHost => "wrong-host",
            Self::Mtls => "mtls",
        }
    }

    /// How an address of it begins, and the host that certificates are made out to.
    pub(crate) fn scheme_and_host(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("amqp", "127.0.0.1"),
            Self::Tls | Self::WrongHost | Self::Mtls => ("amqps", "localhost"),
        }
    }
}

/// Which RabbitMQ to start.
#[derive(Debug, Clone)]
#[must_use]
pub struct RabbitOptions {
    pub(crate) layout: RabbitLayout,
    pub(crate) patience: Duration,
    pub(crate) lines: Vec<(String, String)>,
}

impl RabbitOptions {
    /// One node without encryption.
    pub fn plain() -> Self {
        Self::of(RabbitLayout::Plain)
    }

    /// Three nodes in a cluster.
    pub fn cluster() -> Self {
        Self::of(RabbitLayout::Cluster)
    }

    /// One node with TLS, client certificates and users.
    pub fn secure() -> Self {
        Self::of(RabbitLayout::Secure)
    }

    /// The options of a layout.
    pub fn of(layout: RabbitLayout) -> Self {
        Self {
            layout,
            patience: Duration::from_secs(240),
            lines: Vec::new(),
        }
    }

    /// How long a node may take until it is ready; default 240 s, which is meant for busy machines: one that ends is
    /// noticed at once.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// One more line of `rabbitmq.conf`; it wins over ours.
    pub fn line(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.lines.push((key.into(), value.into()));
        self
    }
}
