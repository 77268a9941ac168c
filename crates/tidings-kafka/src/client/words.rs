//! Errors of librdkafka in words that name the cause and the cure.

use crate::security::Certificate;
use rdkafka::error::RDKafkaErrorCode;

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A broker answers, and this client does not get in: password, token, certificate, protocol. It stays so until
    /// somebody changes something.
    Refused,
    /// This client is in, and may not do it.
    Denied,
    /// A connection could not be made or has ended, as happens in any day of a broker.
    Connection,
    /// No broker is there; why was told before.
    AllAway,
    /// Anything else.
    Other,
}

/// What an error is about, by its code and the words that came with it.
pub(crate) fn kind(code: RDKafkaErrorCode, reason: &str) -> Kind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL => Kind::Refused,
        Code::BrokerTransportFailure if is_of_protocol(reason) => Kind::Refused,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Kind::Denied,
        Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => Kind::Connection,
        Code::AllBrokersDown => Kind::AllAway,
        _ => Kind::Other,
    }
}

/// Words of a connection that ends as one does when one side speaks TLS and the other does not.
fn is_of_protocol(reason: &str) -> bool {
    PROTOCOL.iter().any(|(words, _)| reason.contains(words))
}

/// librdkafka's guesses at a wrong protocol, and what to do.
const PROTOCOL: [(&str, &str); 7] = [
    (
        "PLAINTEXT broker listener",
        "this client speaks TLS and the broker's port does not: correct the port, or \"security.protocol\"",
    ),
    (
        "SSL listener",
        "this client speaks plain text and the broker's port is one of TLS: set \"security.protocol\" to SSL or SASL_SSL",
    ),
    (
        "might require SASL authentication",
        "the broker's port wants a user: set \"security.protocol\" to SASL_SSL or SASL_PLAINTEXT, and \"sasl.mechanism\"",
    ),
    ("alert bad certificate", CLIENT_CERTIFICATE),
    ("alert certificate", CLIENT_CERTIFICATE),
    ("alert unknown ca", CLIENT_CERTIFICATE),
    ("alert unsupported certificate", CLIENT_CERTIFICATE),
];

const CLIENT_CERTIFICATE: &str = "the broker wants a client certificate that it trusts: set \"ssl.certificate.location\" and \"ssl.key.location\"";

/// librdkafka's words without what changes from time to time and helps nobody: the broker by its address, no durations;
/// where a certificate was refused, why.
pub(crate) fn cause(reason: &str, certificate: &Certificate) -> String {
    let reason = reason.split(" (after ").next().unwrap_or(reason).trim();
    let (broker, words) = split_broker(reason);
    let words = match certificate.trouble() {
        Some(trouble) if words.contains("certificate verify failed") => trouble,
        _ => words,
    };
    match broker {
        Some(broker) => format!("{broker}: {words}"),
        None => words.to_owned(),
    }
}

/// `sasl_ssl://host:9093/bootstrap: words` as `host:9093` and `words`.
fn split_broker(reason: &str) -> (Option<&str>, &str) {
    let split = || {
        let (name, words) = reason.split_once(": ")?;
        // A coordinator's connection is called by its role, with the address behind it.
        let address = name.split_once("://").map_or(name, |(_, address)| address);
        let (address, id) = address.rsplit_once('/')?;
        let is_id = id == "bootstrap" || id.parse::<i32>().is_ok();
        (is_id && !address.contains(' ')).then_some((Some(address), words))
    };
    split().unwrap_or((None, reason))
}

/// What to do about an error, where that is known and not said yet; by its code and the words that came with it.
pub(crate) fn cure(code: RDKafkaErrorCode, reason: &str) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    let says = |words: &str| reason.contains(words);
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => return cure_of_login(reason),
        Code::UnsupportedSASLMechanism => return Some(MECHANISM),
        Code::SSL | Code::BrokerTransportFailure => {
            if let Some((_, cure)) = PROTOCOL.iter().find(|(words, _)| says(words)) {
                return Some(cure);
            }
        }
        _ => {}
    }
    Some(match code {
        // It is in the words of the certificate.
        Code::SSL if says("broker's certificate") => return None,
        Code::SSL | Code::BrokerTransportFailure if says("certificate verify failed") => {
            "check that \"ssl.ca.location\" is the broker's CA and that its certificate names the host in the URL"
        }
        Code::SSL | Code::BrokerTransportFailure if says("certificate") => CLIENT_CERTIFICATE,
        Code::SSL if says("wrong version number") || says("packet length too long") => {
            "the broker's port is not one of TLS: correct the port, or \"security.protocol\""
        }
        Code::SSL => "check the properties that begin with \"ssl.\"",
        Code::BrokerTransportFailure if says("refused") => "start the broker, or correct the URL",
        Code::Resolve => "correct the host in the URL, or the name service",
        Code::AllBrokersDown | Code::BrokerTransportFailure => {
            "start the broker, or check the URL and \"security.protocol\""
        }
        Code::TopicAuthorizationFailed => {
            "give this user the right to the topic: Describe with Read to consume, Write to publish, Create to make it"
        }
        Code::GroupAuthorizationFailed => "give this user the right Read on the group",
        Code::ClusterAuthorizationFailed => {
            "give this user the right to do that on the cluster; to publish, Write on the topic is enough"
        }
        Code::TransactionalIdAuthorizationFailed => "give this user the right Write on the transactional id",
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            "another producer has the transactional id now: if that is no successor of this one, give each an id of its own"
        }
        _ => return None,
    })
}

const MECHANISM: &str = "set \"sasl.mechanism\" to one that the broker has at this port";

/// A broker does not say whether the user or the password is wrong, so that nobody learns which users there are.
fn cure_of_login(reason: &str) -> Option<&'static str> {
    let says = |words: &str| reason.contains(words);
    Some(
        if says("mechanism handshake failed") || says("Unsupported SASL mechanism") {
            MECHANISM
        } else if says("Failed to acquire SASL OAUTHBEARER token") || says("no token available") {
            // The source of tokens has said what to do.
            return None;
        } else if says("OAUTHBEARER") || says("invalid_token") || says("oken") {
            "the broker refuses the token: check its issuer, audience, signature and expiry, and the clocks of both machines"
        } else {
            "check \"sasl.username\", \"sasl.password\" and \"sasl.mechanism\""
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;

    #[test]
    fn the_words_of_the_library_lead_to_the_cure() {
        for (code, reason, cured) in [
            (
                Code::Authentication,
                "SASL authentication error: Authentication failed: Invalid username or password",
                "sasl.password",
            ),
            (
                Code::Authentication,
                "SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL mechanism",
                "sasl.mechanism",
            ),
            (
                Code::Authentication,
                "SASL authentication error: {\"status\":\"invalid_token\"}",
                "the token",
            ),
            (
                Code::SSL,
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate",
                "ssl.ca.location",
            ),
            (
                Code::BrokerTransportFailure,
                "SSL connection closed by peer: connecting to a PLAINTEXT broker listener?",
                "security.protocol",
            ),
            (
                Code::BrokerTransportFailure,
                "sslv3 alert bad certificate: SSL alert number 42",
                "ssl.certificate.location",
            ),
            (
                Code::BrokerTransportFailure,
                "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
                "start the broker",
            ),
            (Code::AllBrokersDown, "1/1 brokers are down", "security.protocol"),
            (Code::GroupAuthorizationFailed, "", "Read on the group"),
        ] {
            let found = cure(code, reason).unwrap_or_default();
            assert!(found.contains(cured), "{reason}: {found}");
        }
    }

    #[test]
    fn the_broker_is_named_by_its_address_and_a_certificate_by_what_is_wrong_with_it() {
        let none = Certificate::default();
        for (reason, expected) in [
            (
                "sasl_ssl://localhost:9093/bootstrap: Authentication failed (after 3ms in state AUTH_LEGACY)",
                "localhost:9093: Authentication failed",
            ),
            (
                "h1:9092/1: Disconnected (after 3ms in state UP, 2 identical error(s) suppressed)",
                "h1:9092: Disconnected",
            ),
            ("ssl://[::1]:9093/12: Disconnected", "[::1]:9093: Disconnected"),
            ("1/1 brokers are down", "1/1 brokers are down"),
            (
                "Failed to acquire SASL OAUTHBEARER token: no: way",
                "Failed to acquire SASL OAUTHBEARER token: no: way",
            ),
        ] {
            assert_eq!(cause(reason, &none), expected);
            assert_eq!(cause(expected, &none), expected, "twice is once");
        }
        let failed =
            "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086: certificate verify failed: look";
        for (number, words) in [
            (62, "another host"),
            (19, "not trusted"),
            (20, "ssl.ca.location"),
            (10, "has expired"),
        ] {
            let words_of_it = cause(failed, &Certificate::refused(number));
            assert!(
                words_of_it.starts_with("h:1: the broker's certificate"),
                "{words_of_it}"
            );
            assert!(words_of_it.contains(words), "{words_of_it}");
            assert_eq!(cure(Code::SSL, &words_of_it), None, "it is said already");
            let other = cause("h:1/1: Connection refused", &Certificate::refused(number));
            assert_eq!(other, "h:1: Connection refused");
        }
    }

    #[test]
    fn who_is_not_let_in_is_told_apart_from_who_finds_nobody() {
        for (code, reason, expected) in [
            (Code::Authentication, "Authentication failed", Kind::Refused),
            (Code::SSL, "certificate verify failed", Kind::Refused),
            (
                Code::BrokerTransportFailure,
                "(connecting to a SSL listener?)",
                Kind::Refused,
            ),
            (
                Code::BrokerTransportFailure,
                "Connection refused",
                Kind::Connection,
            ),
            (Code::AllBrokersDown, "1/1 brokers are down", Kind::AllAway),
            (Code::TopicAuthorizationFailed, "", Kind::Denied),
            (Code::UnknownTopic, "", Kind::Other),
        ] {
            assert_eq!(kind(code, reason), expected, "{code:?} {reason}");
        }
    }
}
