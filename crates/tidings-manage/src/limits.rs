//! What the server listens on and what a request may take: [`ServerOptions`].

use crate::error::ManageError;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What the server listens on, and what connections and requests may take.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub(crate) address: String,
    pub(crate) connections: usize,
    pub(crate) request_bytes: usize,
    pub(crate) read_bytes: usize,
    pub(crate) page_size: usize,
    pub(crate) request_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:0".to_owned(),
            connections: 64,
            request_bytes: 16 << 20,
            read_bytes: 4 << 20,
            page_size: 1_000,
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl ServerOptions {
    /// Where to listen; `127.0.0.1:0` by default, a free port. Any other address than 127.0.0.1 is refused.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// How many connections there may be at once; 64 by default. Others wait to be accepted.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// The largest request in bytes; 16 MiB by default. A message that is published in this way has to fit.
    #[must_use]
    pub fn request_bytes(mut self, bytes: usize) -> Self {
        self.request_bytes = bytes.max(4 << 10);
        self
    }

    /// How many bytes of messages one answer holds at the most; 4 MiB by default. A larger message comes alone.
    #[must_use]
    pub fn read_bytes(mut self, bytes: usize) -> Self {
        self.read_bytes = bytes.max(4 << 10);
        self
    }

    /// How many entries of a list one answer holds at the most; 1,000 by default.
    #[must_use]
    pub fn page_size(mut self, entries: usize) -> Self {
        self.page_size = entries.max(1);
        self
    }

    /// How long a request may take until its answer begins; 30 s by default. Its head has to be there within a third
    /// of it, and a client that does not read is cut after as long.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout.max(Duration::from_millis(10));
        self
    }

    /// Whether it can be started with these, as far as that is known before.
    ///
    /// # Errors
    /// [`ManageError::Address`].
    pub fn check(&self) -> Result<(), ManageError> {
        self.checked_address().map(|_| ())
    }

    /// The address, if it is one that may be listened on.
    pub(crate) fn checked_address(&self) -> Result<SocketAddr, ManageError> {
        let refused = |reason: &'static str| ManageError::Address {
            address: self.address.clone(),
            reason,
        };
        let address: SocketAddr = self
            .address
            .parse()
            .map_err(|_| refused("it is not an address with a port"))?;
        match address {
            SocketAddr::V4(v4) if *v4.ip() == Ipv4Addr::LOCALHOST => Ok(address),
            _ => Err(refused("other machines must not reach it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_loopback_and_bounded() {
        let options = ServerOptions::default();
        assert_eq!(options.address, "127.0.0.1:0");
        assert_eq!(options.connections, 64);
        assert_eq!(options.request_bytes, 16 << 20);
        assert_eq!(options.read_bytes, 4 << 20);
        assert_eq!(options.page_size, 1_000);
        assert_eq!(options.request_timeout, Duration::from_secs(30));
    }

    #[test]
    fn every_other_address_is_refused_with_the_cure() {
        for address in [
            "0.0.0.0:0",
            "127.0.0.2:80",
            "192.168.1.7:4711",
            "[::]:0",
            "[::1]:0",
            "localhost:0",
            "127.0.0.1",
            "",
        ] {
            let refused = ServerOptions::default().address(address).checked_address();
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("127.0.0.1:0"), "{refused}");
        }
    }
}
