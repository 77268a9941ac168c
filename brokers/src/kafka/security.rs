//! Certificates, passwords and tokens of the secure broker: [`Security`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::options::Listener;
use crate::error::BrokersError;
use crate::security::{self, Certificates, Login, directory};

const AUDIENCE: &str = "tidings";
const ISSUER: &str = "https://issuer.test";

/// What a client needs to get into the secure broker, and what it needs to be turned away.
///
/// [`ALICE`](Self::ALICE), and whoever shows the client certificate, may do everything with topics, groups and
/// transactional ids whose names start with [`ALLOWED_PREFIX`](Self::ALLOWED_PREFIX), and nothing else.
/// [`BOB`](Self::BOB) gets in and may do nothing.
#[derive(Debug)]
pub struct Security {
    certificates: Certificates,
}

impl Security {
    /// A user with rights.
    pub const ALICE: Login = Login::ALICE;
    /// A user without any.
    pub const BOB: Login = Login::BOB;
    /// How names start that the rules allow.
    pub const ALLOWED_PREFIX: &'static str = security::ALLOWED_PREFIX;
    /// Who the holder of the client certificate is to the broker.
    pub const CLIENT_PRINCIPAL: &'static str = "User:CN=client";

    /// The certificate of the authority that the broker's own certificate comes from.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.certificates.authority()
    }

    /// An authority that vouches for nothing here.
    #[must_use]
    pub fn other_authority(&self) -> PathBuf {
        self.certificates.other_authority()
    }

    /// The client's certificate, for [`Listener::Mtls`].
    #[must_use]
    pub fn client_certificate(&self) -> PathBuf {
        self.certificates.client_certificate()
    }

    /// Its key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.certificates.client_key()
    }

    /// Signs a token for [`Listener::OAuth`].
    ///
    /// # Errors
    /// `openssl` is missing or fails.
    pub fn token(&self, token: &Token) -> Result<String, BrokersError> {
        let content = token.content(SystemTime::now());
        let key = match token.key {
            TokenKey::Trusted => "jwt.key",
            TokenKey::Stranger => "stranger.key",
        };
        let arguments = ["dgst", "-sha256", "-sign", key, "-binary"];
        let signature = self
            .certificates
            .openssl(&arguments, content.clone().into_bytes())?;
        Ok(format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Makes everything anew.
    pub(crate) fn create(directory: PathBuf) -> Result<Self, BrokersError> {
        let certificates = Certificates::create(directory)?;
        let security = Self { certificates };
        security.make_token_keys()?;
        Ok(security)
    }

    /// What was made before.
    pub(crate) fn at(directory: PathBuf) -> Self {
        let certificates = Certificates::at(directory);
        Self { certificates }
    }

    fn make_token_keys(&self) -> Result<(), BrokersError> {
        let certificates = &self.certificates;
        for key in ["jwt.key", "stranger.key"] {
            certificates.openssl(&["genrsa", "-out", key, "2048"], Vec::new())?;
        }
        let question = ["rsa", "-in", "jwt.key", "-noout", "-modulus"];
        let printed = certificates.openssl(&question, Vec::new())?;
        let printed = String::from_utf8_lossy(&printed);
        let modulus = URL_SAFE_NO_PAD.encode(from_hex(printed.trim().trim_start_matches("Modulus=")));
        let keys = format!(
            r#"{{"keys":[{{"kty":"RSA","kid":"k1","use":"sig","alg":"RS256","e":"AQAB","n":"{modulus}"}}]}}"#
        );
        certificates.write("jwks.json", &keys)
    }
}

/// What is no digit is left out; openssl prints nothing else.
fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect()
}

/// Java reads a token's keys from an address only when it is allowed by name.
pub(crate) fn java_flags(server: &Path) -> Vec<OsString> {
    let mut flag = OsString::from("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://");
    flag.push(directory(server).join("jwks.json"));
    vec![flag]
}

/// The users, as the storage is told when it is formatted.
pub(crate) fn format_arguments() -> Vec<OsString> {
    let users = [Security::ALICE, Security::BOB];
    let mechanisms = ["SCRAM-SHA-512", "SCRAM-SHA-256"];
    mechanisms
        .iter()
        .flat_map(|mechanism| {
            users.map(|user| format!("{mechanism}=[name={},password={}]", user.name, user.password))
        })
        .flat_map(|user| ["--add-scram".into(), user.into()])
        .collect()
}

/// The rules that [`Security`] promises, for `kafka-acls`.
pub(crate) fn rules() -> Vec<OsString> {
    let alice = format!("User:{}", Security::ALICE.name);
    let prefix = Security::ALLOWED_PREFIX;
    [
        "--add",
        "--allow-principal",
        &alice,
        "--allow-principal",
        Security::CLIENT_PRINCIPAL,
    ]
    .into_iter()
    .chain(["--operation", "All", "--resource-pattern-type", "prefixed"])
    .chain(["--topic", prefix, "--group", prefix, "--transactional-id", prefix])
    .map(OsString::from)
    .collect()
}

/// The part of `server.properties` that makes a broker secure.
pub(crate) fn properties(server: &Path) -> String {
    const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer";
    let tls = directory(server);
    let tls = tls.display();
    let users: Vec<String> = [Security::ALICE, Security::BOB]
        .iter()
        .map(|user| format!("user_{}=\"{}\"", user.name, user.password))
        .collect();
    let door = |listener: Listener| format!("listener.name.{}", listener.name().to_lowercase());
    let (sasl, wrong, oauth, mtls) = (
        door(Listener::SaslSsl),
        door(Listener::WrongHost),
        door(Listener::OAuth),
        door(Listener::Mtls),
    );
    // The default validator of tokens lets forged ones in, hence `BrokerJwtValidator`.
    [
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={tls}/server.pem"),
        "ssl.truststore.type=PEM".to_owned(),
        format!("ssl.truststore.location={tls}/ca.crt"),
        format!("{wrong}.ssl.keystore.type=PEM"),
        format!("{wrong}.ssl.keystore.location={tls}/wronghost.pem"),
        format!("{mtls}.ssl.client.auth=required"),
        format!("{sasl}.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN"),
        format!("{sasl}.scram-sha-512.sasl.jaas.config={SCRAM}"),
        format!("{sasl}.scram-sha-256.sasl.jaas.config={SCRAM}"),
        format!(
            "{sasl}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {};",
            users.join(" ")
        ),
        format!("{wrong}.sasl.enabled.mechanisms=SCRAM-SHA-512"),
        format!("{wrong}.scram-sha-512.sasl.jaas.config={SCRAM}"),
        format!("{oauth}.sasl.enabled.mechanisms=OAUTHBEARER"),
        format!("{oauth}.oauthbearer.sasl.jaas.config={OAUTH}.OAuthBearerLoginModule required;"),
        format!(
            "{oauth}.oauthbearer.sasl.server.callback.handler.class={OAUTH}.OAuthBearerValidatorCallbackHandler"
        ),
        format!("{oauth}.sasl.oauthbearer.jwt.validator.class={OAUTH}.BrokerJwtValidator"),
        format!("{oauth}.sasl.oauthbearer.jwks.endpoint.url=file://{tls}/jwks.json"),
        format!("{oauth}.sasl.oauthbearer.expected.audience={AUDIENCE}"),
        format!("{oauth}.sasl.oauthbearer.expected.issuer={ISSUER}"),
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        "allow.everyone.if.no.acl.found=false".to_owned(),
        "super.users=User:ANONYMOUS".to_owned(),
        String::new(),
    ]
    .join("\n")
}

/// Who signs a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKey {
    /// The key that the broker trusts.
    Trusted,
    /// Another one under the trusted one's name: a forged token.
    Stranger,
}

/// A token for OAUTHBEARER; a good one unless told otherwise.
#[derive(Debug, Clone)]
#[must_use]
pub struct Token {
    subject: String,
    audience: String,
    issuer: String,
    /// Seconds from now; past when negative.
    expires_in_s: i64,
    key: TokenKey,
}

impl Token {
    /// A token for that user, good for an hour.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            audience: AUDIENCE.into(),
            issuer: ISSUER.into(),
            expires_in_s: 3600,
            key: TokenKey::Trusted,
        }
    }

    /// Made out to somebody else, who the broker is not.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self {
            audience: audience.into(),
            ..self
        }
    }

    /// From another issuer.
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            ..self
        }
    }

    /// Good for so many seconds; a negative number makes one that has expired.
    pub fn expires_in_s(self, expires_in_s: i64) -> Self {
        Self { expires_in_s, ..self }
    }

    /// Signed with that key.
    pub fn signed_by(self, key: TokenKey) -> Self {
        Self { key, ..self }
    }

    /// Header and claims, without the signature.
    fn content(&self, now: SystemTime) -> String {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        let expires = now + self.expires_in_s;
        let issued = now.min(expires) - 60;
        let header = r#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#;
        let claims = format!(
            r#"{{"sub":"{}","iat":{issued},"exp":{expires},"aud":"{}","iss":"{}"}}"#,
            self.subject, self.audience, self.issuer
        );
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_expired_token_was_issued_before_it_expired() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let content = Token::new("alice").expires_in_s(-3600).content(now);
        let claims = URL_SAFE_NO_PAD
            .decode(content.split('.').nth(1).unwrap())
            .unwrap();
        assert_eq!(
            String::from_utf8(claims).unwrap(),
            r#"{"sub":"alice","iat":6340,"exp":6400,"aud":"tidings","iss":"https://issuer.test"}"#
        );
    }

    #[test]
    fn hex_becomes_bytes() {
        assert_eq!(from_hex("00FFa1"), [0, 255, 161]);
    }
}
