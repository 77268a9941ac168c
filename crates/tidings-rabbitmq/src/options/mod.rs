//! How the clients of one RabbitMQ are set up: [`ClientOptions`].

mod arguments;
mod configured;
mod configured_destination;
mod consuming;
mod destination;
mod destination_check;
mod destination_words;
mod kinds;
mod routing_key;
mod tls;
mod url;

use crate::error::RabbitError;
pub(crate) use arguments::{arguments, headers_of};
pub(crate) use consuming::Consuming;
pub use consuming::QueueType;
pub use destination::DestinationOptions;
pub use kinds::{ExchangeType, Overflow};
pub use routing_key::RoutingKey;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tidings_config::Secret;
pub use tidings_core::WhenFull;
pub(crate) use tls::TlsFiles;
use url::Address;
pub(crate) use url::Host;

/// The servers, who comes, and how messages are published. `Debug` shows no secret.
#[derive(Clone, PartialEq)]
pub struct ClientOptions {
    address: Address,
    auth: Auth,
    tls: TlsFiles,
    name: String,
    heartbeat: Duration,
    connect_timeout: Duration,
    close_timeout: Duration,
    publishing: Publishing,
    consuming: Consuming,
    destinations: BTreeMap<String, DestinationOptions>,
}

/// How the server learns who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Auth {
    /// By the user and the password of the address.
    #[default]
    Plain,
    /// By the client's certificate.
    External,
}

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publishing {
    pub(crate) confirm_timeout: Duration,
    pub(crate) message_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_in_flight_bytes: usize,
    pub(crate) max_message_bytes: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) mandatory: bool,
}

impl Default for Publishing {
    fn default() -> Self {
        Self {
            confirm_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(120),
            max_in_flight: 10_000,
            max_in_flight_bytes: 32 << 20,
            max_message_bytes: 128 << 20,
            when_full: WhenFull::default(),
            mandatory: true,
        }
    }
}

impl ClientOptions {
    /// The servers of a URL: `amqp://user:password@h1:5672,h2/vhost`, or `amqps:` for TLS. What is missing is `guest`, port
    /// 5672 (5671 with TLS) and the virtual host `/`; an IPv6 address stands in brackets; user, password and virtual host
    /// may be percent-encoded.
    ///
    /// # Errors
    /// [`RabbitError::Url`].
    pub fn from_url(url: &str) -> Result<Self, RabbitError> {
        Ok(Self {
            address: url::parse(url)?,
            auth: Auth::default(),
            tls: TlsFiles::default(),
            name: "tidings".to_owned(),
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            publishing: Publishing::default(),
            consuming: Consuming::default(),
            destinations: BTreeMap::new(),
        })
    }

    /// With a certificate authority that vouches for the servers, in place of those that the system trusts.
    #[must_use]
    pub fn with_tls_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(file.into());
        self
    }

    /// With a certificate and its key that this client shows.
    #[must_use]
    pub fn with_tls_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.certificate = Some(certificate.into());
        self.tls.key = Some(key.into());
        self
    }

    /// With another way to tell who comes.
    #[must_use]
    pub fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// With a name of the program, which the server's pages show for each of its connections.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// With another time than 10 s after which a silent server is asked whether it is there; after twice that it is given
    /// up. Whole seconds, at least one; a server may want fewer.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// With another time than 10 s for a connection to one server to come about.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// With another time than 10 s that closing waits for what is on its way.
    #[must_use]
    pub fn with_close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// With another time than 30 s after which a message that was sent is sent again on another connection.
    #[must_use]
    pub fn with_confirm_timeout(mut self, timeout: Duration) -> Self {
        self.publishing.confirm_timeout = timeout;
        self
    }

    /// With another time than 2 minutes after which a message is given up.
    #[must_use]
    pub fn with_message_timeout(mut self, timeout: Duration) -> Self {
        self.publishing.message_timeout = timeout;
        self
    }

    /// With other bounds than 10,000 messages and 32 MiB of what was sent and is not confirmed.
    #[must_use]
    pub fn with_max_in_flight(mut self, messages: usize, bytes: usize) -> Self {
        self.publishing.max_in_flight = messages.max(1);
        self.publishing.max_in_flight_bytes = bytes.max(1);
        self
    }

    /// With a lower limit of a message's size than the 128 MiB of the server.
    #[must_use]
    pub fn with_max_message_bytes(mut self, bytes: usize) -> Self {
        self.publishing.max_message_bytes = bytes;
        self
    }

    /// With a choice of what publishing does when as much is on its way as may be.
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.publishing.when_full = when_full;
        self
    }

    /// With or without the demand that a message reaches a queue. Without it, RabbitMQ drops and confirms what no queue
    /// wants.
    #[must_use]
    pub fn with_mandatory(mut self, mandatory: bool) -> Self {
        self.publishing.mandatory = mandatory;
        self
    }

    /// With a destination that is something else on the server than it would be by itself.
    #[must_use]
    pub fn with_destination(mut self, name: impl Into<String>, options: DestinationOptions) -> Self {
        self.destinations.insert(name.into(), options);
        self
    }

    /// What is said of a destination.
    pub(crate) fn destination(&self, name: &str) -> Option<&DestinationOptions> {
        self.destinations.get(name)
    }

    /// The servers with their ports, comma separated.
    pub fn servers(&self) -> String {
        let hosts: Vec<_> = self.address.hosts.iter().map(ToString::to_string).collect();
        hosts.join(",")
    }

    /// The virtual host.
    pub fn virtual_host(&self) -> &str {
        &self.address.virtual_host
    }

    /// The address without user and password.
    pub(crate) fn shown(&self) -> String {
        let scheme = if self.address.tls { "amqps" } else { "amqp" };
        format!("{scheme}://{}", self.servers())
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.address.hosts
    }

    pub(crate) fn user(&self) -> &str {
        &self.address.user
    }

    pub(crate) fn password(&self) -> &Secret {
        &self.address.password
    }

    pub(crate) fn auth(&self) -> Auth {
        self.auth
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.address.tls
    }

    pub(crate) fn tls(&self) -> &TlsFiles {
        &self.tls
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.close_timeout
    }

    pub(crate) fn publishing(&self) -> &Publishing {
        &self.publishing
    }

    /// Checks what goes with what.
    pub(crate) fn check(&self) -> Result<(), RabbitError> {
        let wrong = |reason: &str| RabbitError::Security {
            reason: reason.to_owned(),
        };
        if !self.is_tls() && self.tls != TlsFiles::default() {
            return Err(wrong(
                "there are files for TLS, and the address is without it: write amqps: in place of amqp:",
            ));
        }
        if self.auth == Auth::External && self.tls.certificate.is_none() {
            return Err(wrong(
                "\"auth\" is \"external\", which is by a client's certificate: set \"tls_certificate\" and \"tls_key\"",
            ));
        }
        for (name, options) in &self.destinations {
            options.check(name, self.consuming.queue_type)?;
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(wrong(
                "a client's certificate goes with its key: set both of \"tls_certificate\" and \"tls_key\"",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("servers", &self.shown())
            .field("virtual_host", &self.virtual_host())
            .field("user", &self.user())
            .field("auth", &self.auth)
            .field("tls", &self.tls)
            .field("name", &self.name)
            .field("heartbeat", &self.heartbeat)
            .field("connect_timeout", &self.connect_timeout)
            .field("close_timeout", &self.close_timeout)
            .field("publishing", &self.publishing)
            .field("consuming", &self.consuming)
            .field("destinations", &self.destinations)
            .finish()
    }
}
