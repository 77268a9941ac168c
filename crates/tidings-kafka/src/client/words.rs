//! Errors of librdkafka in words that name the cause and the cure.

use rdkafka::error::RDKafkaErrorCode;

/// What to do about an error, where that is known; by its code and the words that came with it.
pub(crate) fn cure(code: RDKafkaErrorCode, reason: &str) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    let says = |words: &str| reason.contains(words);
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed if says("mechanism handshake failed") => {
            "set \"sasl.mechanism\" to one that the broker supports"
        }
        Code::Authentication | Code::SaslAuthenticationFailed if says("oken") => {
            "check the token: its issuer, audience and time"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "check \"sasl.username\", \"sasl.password\" and \"sasl.mechanism\""
        }
        Code::SSL | Code::BrokerTransportFailure if says("certificate verify failed") => {
            "check that \"ssl.ca.location\" is the broker's CA and that its certificate names the host in the URL"
        }
        Code::BrokerTransportFailure if says("PLAINTEXT broker listener") => {
            "the broker's port is not one of TLS: correct the port or \"security.protocol\""
        }
        Code::BrokerTransportFailure | Code::SSL if says("certificate") => {
            "the broker wants a client certificate: set \"ssl.certificate.location\" and \"ssl.key.location\""
        }
        Code::SSL => "check the properties that begin with \"ssl.\"",
        Code::BrokerTransportFailure if says("refused") => "start the broker, or correct the URL",
        Code::Resolve => "correct the host in the URL, or the name service",
        Code::AllBrokersDown | Code::BrokerTransportFailure => {
            "start the broker, or check the URL and \"security.protocol\""
        }
        Code::TopicAuthorizationFailed => "give this user the right to the topic",
        Code::GroupAuthorizationFailed => "give this user the right to the group",
        Code::ClusterAuthorizationFailed => "give this user the right to the cluster",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_library_lead_to_the_cure() {
        use RDKafkaErrorCode as Code;
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
        ] {
            let found = cure(code, reason).unwrap_or_default();
            assert!(found.contains(cured), "{reason}: {found}");
        }
    }
}
