//! What kind of Kafka is started: [`Options`], [`Layout`], [`Listener`].

use std::time::Duration;

/// How many brokers there are and how they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// One broker without encryption and passwords.
    Plain,
    /// One broker with TLS, SASL and access control.
    Secure,
    /// Three brokers; `min.insync.replicas` is 2, and a silent broker is given up after 3 s.
    Cluster,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Secure, Self::Cluster];

    /// What `cargo xtask brokers` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "kafka",
            Self::Secure => "kafka-secure",
            Self::Cluster => "kafka-cluster",
        }
    }

    /// How many brokers it has. Their ids count from 1.
    #[must_use]
    pub fn nodes(self) -> u32 {
        match self {
            Self::Plain | Self::Secure => 1,
            Self::Cluster => 3,
        }
    }

    /// The listener that clients use unless a test wants another one.
    pub(crate) fn usual(self) -> Listener {
        match self {
            Self::Plain | Self::Cluster => Listener::Plain,
            Self::Secure => Listener::SaslSsl,
        }
    }

    pub(crate) fn listeners(self) -> &'static [Listener] {
        match self {
            Self::Plain | Self::Cluster => &[Listener::Plain],
            Self::Secure => &[
                Listener::Plain,
                Listener::SaslSsl,
                Listener::OAuth,
                Listener::WrongHost,
                Listener::Mtls,
            ],
        }
    }
}

/// A door of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Listener {
    /// No encryption, no password. On a secure broker it is for its own tools: whoever comes in may do everything.
    Plain,
    /// TLS with SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.
    SaslSsl,
    /// TLS with OAUTHBEARER; signature, audience, issuer and expiry of tokens are checked.
    OAuth,
    /// TLS with a certificate that is valid for another host, and SCRAM-SHA-512.
    WrongHost,
    /// TLS that demands a certificate of the client.
    Mtls,
    /// [`Plain`](Self::Plain) behind a [`FaultProxy`](crate::FaultProxy), see [`Options::with_proxies`].
    Proxied,
}

impl Listener {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
            Self::OAuth => "OAUTH",
            Self::WrongHost => "WRONGHOST",
            Self::Mtls => "MTLS",
            Self::Proxied => "PROXIED",
        }
    }

    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::Plain | Self::Proxied => "PLAINTEXT",
            Self::SaslSsl | Self::OAuth | Self::WrongHost => "SASL_SSL",
            Self::Mtls => "SSL",
        }
    }

    /// What clients are told: certificates are made out to a name.
    pub(crate) fn host(self) -> &'static str {
        match self.protocol() {
            "PLAINTEXT" => "127.0.0.1",
            _ => "localhost",
        }
    }
}

/// Which Kafka to start.
#[derive(Debug, Clone)]
#[must_use]
pub struct Options {
    pub(crate) layout: Layout,
    pub(crate) heap_mb: u32,
    pub(crate) patience: Duration,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) proxies: bool,
    pub(crate) compiler: Compiler,
}

/// How much Java compiles: the last step costs seconds of processor time at start and pays off after minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compiler {
    Quick,
    Thorough,
}

impl Options {
    /// One broker without encryption and passwords.
    pub fn plain() -> Self {
        Self::of(Layout::Plain)
    }

    /// Three brokers that replicate.
    pub fn cluster() -> Self {
        Self::of(Layout::Cluster)
    }

    /// One broker with TLS, SASL and access control.
    pub fn secure() -> Self {
        Self::of(Layout::Secure)
    }

    /// The options of a layout.
    pub fn of(layout: Layout) -> Self {
        Self {
            layout,
            heap_mb: if layout == Layout::Cluster { 384 } else { 512 },
            patience: Duration::from_secs(240),
            properties: Vec::new(),
            proxies: false,
            compiler: Compiler::Quick,
        }
    }

    /// The largest heap of each broker; default 512, in a cluster 384.
    pub fn heap_mb(self, heap_mb: u32) -> Self {
        Self { heap_mb, ..self }
    }

    /// How long a broker may take until it is ready; default 240 s, which is meant for busy machines: one that ends is noticed at once.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// One more line of `server.properties`; it wins over ours.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((key.into(), value.into()));
        self
    }

    /// Puts a [`FaultProxy`](crate::FaultProxy) before each broker, which clients meet at
    /// [`Listener::Proxied`]; brokers name the proxies in their metadata, so no client gets past them.
    pub fn with_proxies(self) -> Self {
        Self {
            proxies: true,
            ..self
        }
    }

    /// For a broker that lives for minutes and whose speed counts. Without this Java compiles quickly and not well, which
    /// halves the work of a start.
    pub fn for_measuring(self) -> Self {
        Self {
            compiler: Compiler::Thorough,
            ..self
        }
    }
}
