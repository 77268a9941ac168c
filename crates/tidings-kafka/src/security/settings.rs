//! What the properties say about security, taken together: [`Settings`].

use super::token::DynTokenSource;
use crate::error::KafkaError;
use crate::options::ClientOptions;
use std::sync::Arc;

/// The mechanism of Amazon MSK by the name that its Java library has for it. To the broker it is OAUTHBEARER.
pub(crate) const AWS_MSK_IAM: &str = "AWS_MSK_IAM";

/// Properties of librdkafka's own way to a token endpoint. That needs libcurl, which is not linked; we ask the endpoint
/// ourselves, under the same names.
pub(crate) const OURS: [&str; 10] = [
    "https.ca.location",
    "https.ca.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
];

/// Whether a property is not librdkafka's to see.
pub(crate) fn is_ours(name: &str) -> bool {
    OURS.contains(&name)
}

/// Security as the properties have it.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    options: &'a ClientOptions,
    protocol: Option<String>,
    mechanism: Option<String>,
}

impl<'a> Settings<'a> {
    pub(crate) fn of(options: &'a ClientOptions) -> Self {
        let upper = |names: &[&str]| options.property(names).map(str::to_ascii_uppercase);
        Self {
            options,
            protocol: upper(&["security.protocol"]),
            mechanism: upper(&["sasl.mechanism", "sasl.mechanisms"]),
        }
    }

    /// Refuses what librdkafka would take and not do: send in plain text what was meant to be encrypted, or wait for a
    /// token that nobody brings. Where tokens come from, if any are needed.
    pub(crate) fn token_source(&self) -> Result<Option<Arc<dyn DynTokenSource>>, KafkaError> {
        self.check_protocol()?;
        if !self.is_sasl() {
            return Ok(None);
        }
        let given = self.options.given_token_source();
        match (self.mechanism.as_deref(), given) {
            (None | Some("OAUTHBEARER"), Some(given)) => Ok(Some(given.0.clone())),
            (Some("OAUTHBEARER"), None) => self.by_properties(),
            (Some(AWS_MSK_IAM), None) => self.of_msk().map(Some),
            (Some(other), Some(_)) => Err(refused(format!(
                "there is a token source, but \"sasl.mechanism\" is {other}: set it to OAUTHBEARER"
            ))),
            (Some(mechanism @ ("PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512")), None) => {
                self.check_password(mechanism).map(|()| None)
            }
            (Some(other), None) => Err(refused(format!(
                "this build does not speak \"sasl.mechanism\" = {other}: {MECHANISMS}"
            ))),
            (None, None) => Err(refused(format!("\"sasl.mechanism\" is missing: {MECHANISMS}"))),
        }
    }

    /// What to do where brokers close every connection without a word.
    pub(crate) fn if_closed(&self) -> Option<&'static str> {
        match self.protocol.as_deref() {
            None | Some("PLAINTEXT") => Some(
                "the broker's port is one of TLS, or wants a user: set \"security.protocol\" to SSL, SASL_SSL or \
                 SASL_PLAINTEXT",
            ),
            Some("SASL_PLAINTEXT") => {
                Some("the broker's port is one of TLS: set \"security.protocol\" to SASL_SSL")
            }
            Some("SSL") => Some(
                "the broker's port wants a user: set \"security.protocol\" to SASL_SSL, and \"sasl.mechanism\"",
            ),
            _ => None,
        }
    }

    fn is_sasl(&self) -> bool {
        self.protocol
            .as_ref()
            .is_some_and(|protocol| protocol.starts_with("SASL_"))
    }

    /// Without a protocol nothing is encrypted and nobody is asked for a password. Who writes PLAINTEXT means it, and may
    /// leave the rest where it is.
    fn check_protocol(&self) -> Result<(), KafkaError> {
        let names = [
            "sasl.mechanism",
            "sasl.mechanisms",
            "sasl.username",
            "sasl.password",
        ];
        let sasl = names.into_iter().chain(OURS).find(|name| self.has(name));
        let tls = [
            "ssl.ca.location",
            "ssl.ca.pem",
            "ssl.certificate.location",
            "ssl.certificate.pem",
        ];
        let tls = tls
            .into_iter()
            .chain(["ssl.key.location", "ssl.key.pem", "ssl.keystore.location"]);
        let wish = match (&self.protocol, sasl, self.options.given_token_source()) {
            (Some(_), ..) => return Ok(()),
            (None, Some(name), _) => Some((format!("\"{name}\""), "SASL_SSL")),
            (None, None, Some(_)) => Some(("a token source".to_owned(), "SASL_SSL")),
            (None, None, None) => tls
                .into_iter()
                .find(|name| self.has(name))
                .map(|name| (format!("\"{name}\""), "SSL")),
        };
        match wish {
            None => Ok(()),
            Some((what, protocol)) => Err(refused(format!(
                "{what} is set, but \"security.protocol\" is not, so all would go in plain text: set it to {protocol}"
            ))),
        }
    }

    fn check_password(&self, mechanism: &str) -> Result<(), KafkaError> {
        let missing = ["sasl.username", "sasl.password"]
            .into_iter()
            .find(|name| !self.has(name));
        match missing {
            None => Ok(()),
            Some(name) => Err(refused(format!(
                "\"sasl.mechanism\" = {mechanism} needs \"{name}\""
            ))),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.options.property(&[name]).is_some()
    }

    /// The source that librdkafka's own properties describe.
    fn by_properties(&self) -> Result<Option<Arc<dyn DynTokenSource>>, KafkaError> {
        let value = |name| self.options.property(&[name]).map(str::to_ascii_lowercase);
        if value("sasl.oauthbearer.method").as_deref() == Some("oidc") {
            return self.of_endpoint().map(Some);
        }
        if value("enable.sasl.oauthbearer.unsecure.jwt")
            .is_some_and(|value| matches!(&*value, "true" | "1" | "t"))
        {
            // librdkafka makes them itself; no broker that is set up well takes them.
            return Ok(None);
        }
        Err(refused(
            "\"sasl.mechanism\" = OAUTHBEARER needs tokens: set \"sasl.oauthbearer.method\" = oidc with \
             \"sasl.oauthbearer.token.endpoint.url\", \"sasl.oauthbearer.client.id\" and \
             \"sasl.oauthbearer.client.secret\", or give a source with ClientOptions::with_token_source",
        ))
    }

    #[cfg(feature = "oauth")]
    fn of_endpoint(&self) -> Result<Arc<dyn DynTokenSource>, KafkaError> {
        use super::ClientCredentials;
        let needed = |names: &[&str]| {
            let missing = || {
                let name = names.first().copied().unwrap_or_default();
                refused(format!("\"sasl.oauthbearer.method\" = oidc needs \"{name}\""))
            };
            self.options.property(names).ok_or_else(missing)
        };
        let mut source = ClientCredentials::new(
            needed(&["sasl.oauthbearer.token.endpoint.url"])?,
            needed(&[
                "sasl.oauthbearer.client.id",
                "sasl.oauthbearer.client.credentials.client.id",
            ])?,
            needed(&[
                "sasl.oauthbearer.client.secret",
                "sasl.oauthbearer.client.credentials.client.secret",
            ])?,
        );
        let optional = |name| self.options.property(&[name]);
        if let Some(scope) = optional("sasl.oauthbearer.scope") {
            source = source.with_scope(scope);
        }
        let pairs = optional("sasl.oauthbearer.extensions").unwrap_or_default();
        for pair in pairs.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                refused("\"sasl.oauthbearer.extensions\" is no list of name=value,name=value")
            })?;
            source = source.with_extension(name.trim(), value.trim());
        }
        if let Some(pem) = optional("https.ca.pem") {
            source = source.with_authority_pem(pem);
        }
        if let Some(path) = optional("https.ca.location") {
            let read = std::fs::read_to_string(path);
            let pem = read.map_err(|error| refused(format!("\"https.ca.location\" = {path}: {error}")))?;
            source = source.with_authority_pem(pem);
        }
        source.check().map_err(|error| refused(error.to_string()))?;
        Ok(Arc::new(source))
    }

    #[cfg(not(feature = "oauth"))]
    fn of_endpoint(&self) -> Result<Arc<dyn DynTokenSource>, KafkaError> {
        Err(refused(
            "\"sasl.oauthbearer.method\" = oidc is not in this build: enable the feature \"oauth\" of tidings-kafka",
        ))
    }

    #[cfg(feature = "msk-iam")]
    fn of_msk(&self) -> Result<Arc<dyn DynTokenSource>, KafkaError> {
        use super::MskIam;
        let region = MskIam::region_of(self.options.servers()).ok_or_else(|| {
            refused("\"sasl.mechanism\" = AWS_MSK_IAM needs a region: the URL names none, so set AWS_REGION")
        })?;
        Ok(Arc::new(MskIam::new(region)))
    }

    #[cfg(not(feature = "msk-iam"))]
    fn of_msk(&self) -> Result<Arc<dyn DynTokenSource>, KafkaError> {
        Err(refused(
            "\"sasl.mechanism\" = AWS_MSK_IAM is not in this build: enable the feature \"msk-iam\" of tidings-kafka",
        ))
    }
}

const MECHANISMS: &str = "set it to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM";

fn refused(reason: impl Into<String>) -> KafkaError {
    KafkaError::Security {
        reason: reason.into(),
    }
}
