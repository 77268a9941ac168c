//! What lapin and the server complain about, in words that name the cause and the cure: [`Trouble`].

use crate::options::{Auth, Host};
use lapin::{Error, ErrorKind};
use std::fmt;

/// Why a connection or a channel is no more, or was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The code of AMQP, if the server said it.
    pub(crate) code: Option<u16>,
    pub(crate) kind: Kind,
    reason: String,
    cure: Option<&'static str>,
}

/// What helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Time: the server or the way to it is away.
    Away,
    /// A person: somebody is not let in, or not trusted.
    Denied,
}

impl Trouble {
    /// Something that passes.
    pub(crate) fn away(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            kind: Kind::Away,
            reason: reason.into(),
            cure: None,
        }
    }

    /// Something that a person must change.
    pub(crate) fn denied(reason: impl Into<String>) -> Self {
        Self {
            kind: Kind::Denied,
            ..Self::away(reason)
        }
    }

    fn cured(mut self, kind: Kind, cure: &'static str) -> Self {
        self.kind = kind;
        self.cure = Some(cure);
        self
    }

    /// What a connection or a channel ended with.
    pub(crate) fn of(error: &Error, auth: Auth) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(error) => {
                Self::of_server(error.get_id(), error.get_message().as_str(), auth)
            }
            ErrorKind::IOError(error) => Self::of_io(error),
            ErrorKind::RuntimeShutdownError(_) => Self::away("the client is being closed"),
            ErrorKind::MissingHeartbeatError => Self::away("the server is silent, also when it is asked"),
            ErrorKind::InvalidProtocolVersion(version) => {
                Self::denied(format!("it speaks AMQP {version} and not 0.9.1"))
                    .cured(Kind::Denied, "check that the address is one of RabbitMQ")
            }
            ErrorKind::ParsingError(_) => Self::away("what came is no AMQP").cured(
                Kind::Away,
                "check that the address is one of RabbitMQ, and with TLS where amqps: stands",
            ),
            ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => {
                Self::away("the connection has ended")
            }
            ErrorKind::ChannelsLimitReached => Self::away("there are as many channels as the server allows")
                .cured(Kind::Away, "raise channel_max"),
            _ => Self::away(error.to_string()),
        }
    }

    fn of_server(code: u16, words: &str, auth: Auth) -> Self {
        let trouble = Self {
            code: Some(code),
            ..Self::away(words)
        };
        match code {
            320 => trouble,
            403 if words.contains("Login was refused") && auth == Auth::External => trouble.cured(
                Kind::Denied,
                "there must be a user with the name that the certificate has (ssl_cert_login_from)",
            ),
            403 if words.contains("Login was refused") => trouble.cured(
                Kind::Denied,
                "check the user and the password of the address; guest is let in from the server's own machine only",
            ),
            403 => trouble.cured(Kind::Denied, "give the user the right: rabbitmqctl set_permissions"),
            530 if words.contains("not found") => {
                trouble.cured(Kind::Denied, "check the address, or make it: rabbitmqctl add_vhost")
            }
            530 if words.contains("refused for user") => trouble.cured(
                Kind::Denied,
                "give the user rights in the virtual host: rabbitmqctl set_permissions -p",
            ),
            530 => trouble.cured(Kind::Denied, "ask who runs the server for what is not allowed"),
            406 if words.contains("delivery acknowledgement") => trouble.cured(
                Kind::Away,
                "a message was held for longer than consumer_timeout of the server: give the subscription a shorter timeout, or raise consumer_timeout",
            ),
            501..=541 => trouble.cured(Kind::Away, "the log of the server says more"),
            _ => trouble,
        }
    }

    fn of_io(error: &std::io::Error) -> Self {
        let words = chain(error);
        let has = |part: &str| words.contains(part);
        if has("UnknownIssuer") {
            return Self::denied("the certificate of the server is from an authority that is not trusted")
                .cured(Kind::Denied, "set \"tls_ca\" to the authority that it is from");
        }
        if has("NotValidForName") || has("not valid for name") {
            return Self::denied("the certificate of the server is made out to another host").cured(
                Kind::Denied,
                "write the host as the certificate names it, or renew the certificate",
            );
        }
        if has("Expired") || has("expired") {
            return Self::denied("the certificate has expired").cured(Kind::Denied, "renew it");
        }
        if has("CertificateRequired") || has("HandshakeFailure") {
            return Self::denied("the server wants a certificate of the client")
                .cured(Kind::Denied, "set \"tls_certificate\" and \"tls_key\"");
        }
        if has("invalid peer certificate") || has("received fatal alert") {
            return Self::denied(words).cured(Kind::Denied, "check the certificates on both sides");
        }
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Self::away("nobody listens there")
                .cured(Kind::Away, "start the server, or correct the address"),
            std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::UnexpectedEof => {
                Self::away("the server ended the connection")
            }
            std::io::ErrorKind::InvalidData => {
                Self::away(words).cured(Kind::Away, "check that the server speaks TLS there")
            }
            _ => Self::away(words),
        }
    }

    /// Whether the server has closed a channel only.
    pub(crate) fn is_of_channel(&self) -> bool {
        matches!(self.code, Some(311 | 313 | 403..=406))
    }

    /// With the server that it is about.
    pub(crate) fn at(mut self, host: &Host) -> Self {
        self.reason = format!("{host}: {}", self.reason.trim_end_matches('.'));
        self
    }

    /// The exchange that an error of a channel is about.
    pub(crate) fn exchange(&self) -> Option<&str> {
        let (_, after) = self.reason.split_once("exchange '")?;
        let (name, _) = after.rsplit_once("' in vhost")?;
        // So the server calls the one without a name when it speaks of rights.
        Some(if name == "amq.default" { "" } else { name })
    }

    /// The size and the limit, if the server found a message too large.
    pub(crate) fn too_large(&self) -> Option<(usize, usize)> {
        let (_, after) = self.reason.split_once("message size ")?;
        let (size, limit) = after.split_once(" is larger than configured max size ")?;
        Some((size.trim().parse().ok()?, limit.trim().parse().ok()?))
    }
}

/// An error with all that caused it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !words.contains(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        cause = inner.source();
    }
    words
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.trim_end_matches('.'))?;
        match self.cure {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_of_a_channel_is_about_is_found() {
        for (words, exchange) in [
            ("NOT_FOUND - no exchange 'orders' in vhost '/'", Some("orders")),
            (
                "ACCESS_REFUSED - access to exchange 'it's' in vhost 'v' refused for user 'ada'",
                Some("it's"),
            ),
            (
                "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'a'",
                Some(""),
            ),
            ("PRECONDITION_FAILED - invalid expiration", None),
        ] {
            let trouble = Trouble::of_server(404, words, Auth::Plain);
            assert_eq!(trouble.exchange(), exchange, "{words}");
        }
        let words = "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1000";
        let trouble = Trouble::of_server(406, words, Auth::Plain);
        assert_eq!(trouble.too_large(), Some((2000, 1000)));
    }

    #[test]
    fn a_person_is_told_what_to_do() {
        for (code, words, cure) in [
            (
                403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
                "password",
            ),
            (530, "NOT_ALLOWED - vhost x not found", "add_vhost"),
            (
                530,
                "NOT_ALLOWED - access to vhost '/' refused for user 'bob'",
                "set_permissions",
            ),
        ] {
            let trouble = Trouble::of_server(code, words, Auth::Plain);
            assert_eq!(trouble.kind, Kind::Denied);
            assert!(trouble.to_string().contains(cure), "{trouble}");
        }
        let shutdown = Trouble::of_server(
            320,
            "CONNECTION_FORCED - broker forced connection closure",
            Auth::Plain,
        );
        assert_eq!(shutdown.kind, Kind::Away);
    }
}
