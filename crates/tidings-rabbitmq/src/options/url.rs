//! The parts of a URL: `amqp://user:password@h1:5672,h2/vhost`.

use crate::error::RabbitError;
use percent_encoding::percent_decode_str;
use std::fmt;
use tidings_config::Secret;

/// Where a server listens if the URL does not say.
const PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;
/// Whom RabbitMQ knows from the start, on the machine itself.
const GUEST: &str = "guest";

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) tls: bool,
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) hosts: Vec<Host>,
    pub(super) virtual_host: String,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// A name or an address, without brackets.
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            return write!(f, "[{}]:{}", self.name, self.port);
        }
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// Takes a URL apart.
///
/// # Errors
/// [`RabbitError::Url`]. Whatever stands before an `@` is never shown.
pub(super) fn parse(url: &str) -> Result<Address, RabbitError> {
    parts(url).map_err(|reason| RabbitError::Url {
        url: shown(url),
        reason,
    })
}

fn parts(url: &str) -> Result<Address, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let tls = match scheme {
        "amqp" => false,
        "amqps" => true,
        _ => return Err("it does not begin with amqp: or amqps:".to_owned()),
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    // A password may hold whatever was not encoded; a virtual host with an @ must be.
    let (info, rest) = match rest.rsplit_once('@') {
        Some((info, rest)) => (Some(info), rest),
        None => (None, rest),
    };
    let (hosts, virtual_host) = match rest.split_once('/') {
        Some((hosts, "")) => (hosts, None),
        Some((hosts, host)) => (hosts, Some(host)),
        None => (rest, None),
    };
    if rest.contains(['?', '#']) {
        return Err("it has a query; settings are keys of the binder".to_owned());
    }
    let (user, password) = match info {
        None => (GUEST.to_owned(), GUEST.to_owned()),
        Some(info) => {
            let (user, password) = info.split_once(':').unwrap_or((info, ""));
            (decoded(user, "the user")?, decoded(password, "the password")?)
        }
    };
    let virtual_host = match virtual_host {
        None => "/".to_owned(),
        Some(name) if name.contains('/') => {
            return Err("a slash in the name of a virtual host is written as %2F".to_owned());
        }
        Some(name) => decoded(name, "the virtual host")?,
    };
    if virtual_host.len() > 255 {
        return Err("the name of the virtual host is longer than 255 bytes".to_owned());
    }
    let port = if tls { TLS_PORT } else { PORT };
    let hosts: Result<Vec<Host>, String> = hosts.split(',').map(|text| host(text.trim(), port)).collect();
    Ok(Address {
        tls,
        user,
        password: Secret::new(password),
        hosts: hosts?,
        virtual_host,
    })
}

fn decoded(text: &str, what: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| format!("{what} is no text after percent-decoding"))
}

fn host(text: &str, default_port: u16) -> Result<Host, String> {
    let (name, port) = split(text)?;
    if name.is_empty() {
        return Err("a host is missing".to_owned());
    }
    let port = match port {
        None => default_port,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(format!("\"{port}\" is no port")),
            Ok(port) => port,
        },
    };
    if !name.contains(':') && !name.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)) {
        return Err(format!("\"{name}\" is no host"));
    }
    Ok(Host {
        name: name.to_owned(),
        port,
    })
}

/// Host and port; an IPv6 address stands in brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    let Some(rest) = text.strip_prefix('[') else {
        return match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                Err(format!("an IPv6 address stands in brackets: [{text}]"))
            }
            Some((name, port)) => Ok((name, Some(port))),
            None => Ok((text, None)),
        };
    };
    let (name, after) = rest
        .split_once(']')
        .ok_or_else(|| "a bracket is not closed".to_owned())?;
    if name.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("\"{name}\" is no IPv6 address"));
    }
    match after.strip_prefix(':') {
        Some(port) => Ok((name, Some(port))),
        None if after.is_empty() => Ok((name, None)),
        None => Err(format!("\"{after}\" is no port")),
    }
}

/// The URL without what may be a user and a password.
fn shown(url: &str) -> String {
    match (url.find(':'), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://***{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: &str) -> String {
        let found = parse(url).expect(url);
        let hosts: Vec<_> = found.hosts.iter().map(ToString::to_string).collect();
        let (user, password) = (&found.user, found.password.expose());
        format!(
            "{} {user} {password} {} {}",
            found.tls,
            hosts.join(","),
            found.virtual_host
        )
    }

    #[test]
    fn every_part_is_read_and_what_is_missing_has_a_default() {
        for (url, expected) in [
            ("amqp://h", "false guest guest h:5672 /"),
            ("amqps://h/", "true guest guest h:5671 /"),
            ("amqp:h:1/billing", "false guest guest h:1 billing"),
            ("amqp://ada:pw@h1:5672,h2/%2F", "false ada pw h1:5672,h2:5672 /"),
            ("amqp://a%40b:p%3Aw%2F@h/a%20b", "false a@b p:w/ h:5672 a b"),
            ("amqp://ada:p@ss/w@h/v", "false ada p@ss/w h:5672 v"),
            ("amqp://ada@h", "false ada  h:5672 /"),
            (
                "amqps://[::1]:9, [fe80::1]",
                "true guest guest [::1]:9,[fe80::1]:5671 /",
            ),
        ] {
            assert_eq!(said(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (url, reason) in [
            ("kafka://h", "does not begin with amqp:"),
            ("amqp://", "a host is missing"),
            ("amqp://a,,b", "a host is missing"),
            ("amqp://a:x", "\"x\" is no port"),
            ("amqp://a:0", "\"0\" is no port"),
            ("amqp://::1:5672", "stands in brackets"),
            ("amqp://[::1", "not closed"),
            ("amqp://[zz]:1", "no IPv6 address"),
            ("amqp://a/b/c", "written as %2F"),
            ("amqp://a?heartbeat=1", "has a query"),
            ("amqp://a/v?heartbeat=1", "has a query"),
            ("amqp://a b", "is no host"),
            ("amqp://a/%FF", "the virtual host is no text"),
        ] {
            let Err(error) = parse(url) else {
                panic!("{url} is taken");
            };
            assert!(error.to_string().contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let options = crate::ClientOptions::from_url("amqp://ada:hunter2@h").expect("right");
        let Err(error) = parse("amqp://ada:hunter2@h:x") else {
            panic!("it is taken");
        };
        let shown = format!("{error} {error:?} {options:?}");
        assert!(!shown.contains("hunter2") && shown.contains("ada"), "{shown}");
    }
}
