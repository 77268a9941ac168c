//! Tokens from a token endpoint, by a client's id and secret: [`ClientCredentials`].

use super::token::{Token, TokenError, TokenSource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fmt;
use std::time::{Duration, SystemTime};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Answers are some kilobytes.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;

/// A token endpoint that is asked by the client credentials grant of OAuth 2.0, with the id and the secret in the header
/// as RFC 6749 has it. `Debug` shows no secret.
///
/// The same as the properties `sasl.oauthbearer.method = oidc`, `sasl.oauthbearer.token.endpoint.url`,
/// `sasl.oauthbearer.client.id`, `sasl.oauthbearer.client.secret`, `sasl.oauthbearer.scope`,
/// `sasl.oauthbearer.extensions`, `https.ca.location` and `https.ca.pem`.
#[derive(Clone)]
pub struct ClientCredentials {
    endpoint: String,
    id: String,
    secret: String,
    scope: Option<String>,
    extensions: Vec<(String, String)>,
    authority: Option<String>,
}

impl ClientCredentials {
    /// The endpoint, `https://…`, and the client's id and secret.
    pub fn new(endpoint: impl Into<String>, id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            id: id.into(),
            secret: secret.into(),
            scope: None,
            extensions: Vec::new(),
            authority: None,
        }
    }

    /// With the scope to ask for.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// With an extension that the broker is told beside every token.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// With the authorities that vouch for the endpoint, as PEM, in place of those of the system.
    #[must_use]
    pub fn with_authority_pem(mut self, pem: impl Into<String>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// Whether it can work at all.
    pub(super) fn check(&self) -> Result<(), TokenError> {
        self.check_endpoint()?;
        self.roots().map(drop)
    }

    /// A secret goes over TLS only; this machine talks to itself as it likes.
    fn check_endpoint(&self) -> Result<(), TokenError> {
        let plain = self.endpoint.strip_prefix("http://");
        let local = ["localhost", "127.0.0.1", "[::1]"];
        let local = plain.is_some_and(|rest| {
            let host = rest.split('/').next().unwrap_or(rest);
            local.iter().any(|name| {
                let port = host.strip_prefix(name);
                port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
            })
        });
        let credentials = self.endpoint.contains('@');
        match credentials {
            true => Err(TokenError::new(
                "the token endpoint's address holds credentials: set the client's id and secret",
            )),
            false if local || self.endpoint.starts_with("https://") => Ok(()),
            false => Err(TokenError::new(format!(
                "the token endpoint \"{}\" does not begin with https://, and the secret would go in plain text",
                self.endpoint
            ))),
        }
    }

    fn roots(&self) -> Result<RootCerts, TokenError> {
        let Some(pem) = &self.authority else {
            return Ok(RootCerts::PlatformVerifier);
        };
        let mut all: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(pem.as_bytes()) {
            match item {
                Ok(PemItem::Certificate(certificate)) => all.push(certificate),
                Ok(_) => {}
                Err(error) => {
                    return Err(TokenError::new(format!(
                        "the token endpoint's authority is no PEM: {error}"
                    )));
                }
            }
        }
        match all.is_empty() {
            true => Err(TokenError::new(
                "the token endpoint's authority holds no certificate in PEM",
            )),
            false => Ok(RootCerts::new_with_certs(&all)),
        }
    }

    /// Asks the endpoint, and waits.
    fn ask(&self) -> Result<Token, TokenError> {
        self.check_endpoint()?;
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(self.roots()?);
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // Nobody else is given the secret.
            .max_redirects(0)
            .user_agent(concat!("tidings-kafka/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build());
        let agent: Agent = config.build().into();
        let grant = [("grant_type", "client_credentials")];
        let form = grant
            .into_iter()
            .chain(self.scope.iter().map(|scope| ("scope", scope.as_str())));
        let asked = SystemTime::now();
        let answer = agent
            .post(&self.endpoint)
            .header("authorization", self.authorization())
            .header("accept", "application/json")
            .send_form(form);
        let mut answer = answer.map_err(|error| self.away(&error))?;
        let status = answer.status().as_u16();
        let body = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_string();
        let body = body.map_err(|error| self.away(&error))?;
        let body = serde_json::from_str(&body).unwrap_or(Value::Null);
        match status {
            200 => self.token(&body, asked),
            _ => Err(self.refused(status, &body)),
        }
    }

    fn authorization(&self) -> String {
        let pair = format!("{}:{}", form_encoded(&self.id), form_encoded(&self.secret));
        format!("Basic {}", STANDARD.encode(pair))
    }

    fn away(&self, error: &ureq::Error) -> TokenError {
        let words = error.to_string();
        let cure = match words.contains("certificate") {
            true => {
                "set \"https.ca.location\" or \"https.ca.pem\" to its CA, and use the name in its certificate"
            }
            false => "look whether it runs, and correct \"sasl.oauthbearer.token.endpoint.url\"",
        };
        TokenError::new(self.without_secret(format!(
            "the token endpoint {} does not answer: {words}: {cure}",
            self.endpoint
        )))
    }

    fn refused(&self, status: u16, body: &Value) -> TokenError {
        let said = |name| {
            body.get(name)
                .and_then(Value::as_str)
                .map(|text| text.chars().take(200).collect::<String>())
        };
        let words = match (said("error"), said("error_description")) {
            (Some(error), Some(words)) => format!(", {error}: {words}"),
            (Some(error), None) => format!(", {error}"),
            _ => String::new(),
        };
        let cure = match status {
            400 | 401 | 403 => {
                "check \"sasl.oauthbearer.client.id\", \"sasl.oauthbearer.client.secret\" and \"sasl.oauthbearer.scope\""
            }
            300..=399 | 404 | 405 => "correct \"sasl.oauthbearer.token.endpoint.url\"",
            _ => "it is tried again",
        };
        TokenError::new(self.without_secret(format!(
            "the token endpoint {} gives none (status {status}{words}): {cure}",
            self.endpoint
        )))
    }

    /// An endpoint may repeat what it was told.
    fn without_secret(&self, words: String) -> String {
        match self.secret.is_empty() {
            true => words,
            false => words.replace(&self.secret, "***"),
        }
    }

    fn token(&self, body: &Value, asked: SystemTime) -> Result<Token, TokenError> {
        let value = body.get("access_token").and_then(Value::as_str).ok_or_else(|| {
            TokenError::new(format!(
                "the token endpoint {} answers without an access_token",
                self.endpoint
            ))
        })?;
        let seconds = body.get("expires_in").and_then(|seconds| match seconds {
            Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        });
        let of_jwt = Token::from_jwt(value);
        let mut token = match seconds.filter(|seconds| (0.0..1e10).contains(seconds)) {
            Some(seconds) => {
                let token = Token::new(value, asked + Duration::from_secs_f64(seconds));
                let principal = of_jwt.ok().map(|token| token.principal().to_owned());
                token.with_principal(
                    principal
                        .filter(|name| !name.is_empty())
                        .unwrap_or_else(|| self.id.clone()),
                )
            }
            None => of_jwt?,
        };
        for (name, value) in &self.extensions {
            token = token.with_extension(name, value);
        }
        Ok(token)
    }
}

/// As RFC 6749, section 2.3.1, wants id and secret in the header.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl TokenSource for ClientCredentials {
    async fn token(&self) -> Result<Token, TokenError> {
        self.ask()
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("endpoint", &self.endpoint)
            .field("id", &self.id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> ClientCredentials {
        ClientCredentials::new("https://id.example.com/token", "shop", "hunter2&+ /")
    }

    #[test]
    fn a_secret_goes_over_tls_or_stays_on_this_machine() {
        for good in [
            "https://id.example.com/token",
            "http://localhost:8080/t",
            "http://127.0.0.1/t",
            "http://[::1]:1",
        ] {
            ClientCredentials::new(good, "a", "b").check().expect(good);
        }
        for bad in [
            "http://id.example.com",
            "http://localhost.example.com/t",
            "ftp://x",
            "https://a:b@h",
            "",
        ] {
            assert!(ClientCredentials::new(bad, "a", "b").check().is_err(), "{bad}");
        }
        let error = source().with_authority_pem("no PEM").check().unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
    }

    #[test]
    fn the_header_is_encoded_twice_as_the_rfc_has_it() {
        // "shop:hunter2%26%2B+%2F"
        assert_eq!(source().authorization(), "Basic c2hvcDpodW50ZXIyJTI2JTJCKyUyRg==");
    }

    #[test]
    fn an_answer_becomes_a_token_or_an_error_without_the_secret() {
        let now = SystemTime::now();
        let body = serde_json::json!({"access_token": "opaque", "expires_in": "300"});
        let token = source().with_extension("pool", "7").token(&body, now).unwrap();
        assert_eq!(token.expires(), now + Duration::from_secs(300));
        assert_eq!((token.principal(), token.extensions().len()), ("shop", 1));
        for body in [
            serde_json::json!({"access_token": "opaque"}),
            serde_json::json!({"access_token": 7, "expires_in": 300}),
            Value::Null,
        ] {
            assert!(source().token(&body, now).is_err(), "{body}");
        }
        let said =
            serde_json::json!({"error": "invalid_client", "error_description": "no client hunter2&+ /"});
        let error = source().refused(401, &said).to_string();
        assert!(error.contains("invalid_client: no client ***"), "{error}");
        assert!(
            error.contains("client.secret") && !format!("{error}{:?}", source()).contains("hunter2"),
            "{error}"
        );
    }
}
