//! The addresses in a URL: `kafka://h1:9092,h2:9092`.

use crate::error::KafkaError;

/// Where a broker listens if the URL does not say.
const DEFAULT_PORT: u16 = 9092;

/// The brokers of a URL as the client wants them: `host:port`, comma separated.
///
/// # Errors
/// [`KafkaError::Url`]. Whatever stands before an `@` is never shown.
pub(super) fn bootstrap_servers(url: &str) -> Result<String, KafkaError> {
    let wrong = |reason: String| KafkaError::Url {
        url: shown(url),
        reason,
    };
    let rest = url
        .strip_prefix("kafka:")
        .ok_or_else(|| wrong("it does not begin with kafka:".into()))?;
    let hosts = rest.strip_prefix("//").unwrap_or(rest).trim_end_matches('/');
    if hosts.contains('@') {
        return Err(wrong(
            "it has a user or a password; set the properties \"sasl.username\" and \"sasl.password\"".into(),
        ));
    }
    if hosts.contains(['/', '?', '#']) {
        return Err(wrong("it has a path or a query; settings are properties".into()));
    }
    let hosts: Result<Vec<String>, String> =
        hosts.split(',').map(|host| host_and_port(host.trim())).collect();
    hosts.map(|hosts| hosts.join(",")).map_err(wrong)
}

fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = split(text)?;
    if host.is_empty() {
        return Err("a host is missing".into());
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(format!("\"{port}\" is no port")),
            Ok(port) => port,
        },
    };
    if host.contains(':') {
        return Ok(format!("[{host}]:{port}"));
    }
    if !host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)) {
        return Err(format!("\"{host}\" is no host"));
    }
    Ok(format!("{host}:{port}"))
}

/// Host and port; an IPv6 address stands in brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    let Some(rest) = text.strip_prefix('[') else {
        return match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                Err(format!("an IPv6 address stands in brackets: [{text}]"))
            }
            Some((host, port)) => Ok((host, Some(port))),
            None => Ok((text, None)),
        };
    };
    let (host, after) = rest
        .split_once(']')
        .ok_or_else(|| "a bracket is not closed".to_owned())?;
    if host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("\"{host}\" is no IPv6 address"));
    }
    match after.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if after.is_empty() => Ok((host, None)),
        None => Err(format!("\"{after}\" is no port")),
    }
}

/// The URL without what may be a user and a password.
fn shown(url: &str) -> String {
    match (url.find(':'), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://***{}", &url[..scheme], &url[at..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_read_with_ports_and_ipv6() {
        for (url, servers) in [
            ("kafka://h1:9092,h2:9093", "h1:9092,h2:9093"),
            ("kafka://broker", "broker:9092"),
            ("kafka:broker:1", "broker:1"),
            ("kafka://a, b:2/", "a:9092,b:2"),
            ("kafka://[::1]:9094,[fe80::1]", "[::1]:9094,[fe80::1]:9092"),
        ] {
            assert_eq!(bootstrap_servers(url).as_deref(), Ok(servers), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (url, reason) in [
            ("amqp://h", "does not begin with kafka:"),
            ("kafka://", "a host is missing"),
            ("kafka://a,,b", "a host is missing"),
            ("kafka://a:x", "\"x\" is no port"),
            ("kafka://a:0", "\"0\" is no port"),
            ("kafka://a:70000", "\"70000\" is no port"),
            ("kafka://::1:9092", "stands in brackets"),
            ("kafka://[::1", "not closed"),
            ("kafka://[zz]:1", "no IPv6 address"),
            ("kafka://a/orders", "a path or a query"),
            ("kafka://a?acks=1", "a path or a query"),
            ("kafka://a b", "is no host"),
        ] {
            let error = bootstrap_servers(url).expect_err(url).to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_shown() {
        let error = bootstrap_servers("kafka://ada:hunter2@h1:9092").expect_err("refused");
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("hunter2") && shown.contains("sasl.password"),
            "{shown}"
        );
    }
}
