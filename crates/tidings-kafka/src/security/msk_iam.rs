//! Amazon MSK with IAM: the token is an address that was signed: [`MskIam`].

use super::token::{Token, TokenError, TokenSource};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidings_core::BoxFuture;

/// How long a token is good. The brokers take no longer ones.
const LIFE: Duration = Duration::from_secs(900);
const SERVICE: &str = "kafka-cluster";
const ACTION: &str = "kafka-cluster%3AConnect";

/// Tokens for Amazon MSK with IAM, signed here: nobody is asked but the source of the credentials.
///
/// The same as the property `sasl.mechanism = AWS_MSK_IAM`, which takes the credentials of the environment and the region
/// of the brokers' names or of `AWS_REGION`.
#[derive(Clone)]
pub struct MskIam {
    region: String,
    credentials: Arc<dyn DynCredentials>,
}

/// Keys of AWS. `Debug` shows no secret.
#[derive(Clone)]
pub struct AwsCredentials {
    key_id: String,
    secret: String,
    session_token: Option<String>,
    expires: Option<SystemTime>,
}

/// Where keys of AWS come from. The SDK's providers can stand behind it: for a role of an instance, a pod or a task.
pub trait AwsCredentialsSource: Send + Sync + 'static {
    /// Keys that are good now.
    ///
    /// # Errors
    /// Why there are none.
    fn credentials(&self) -> impl Future<Output = Result<AwsCredentials, TokenError>> + Send;
}

trait DynCredentials: Send + Sync {
    fn credentials(&self) -> BoxFuture<'_, Result<AwsCredentials, TokenError>>;
}

impl<S: AwsCredentialsSource> DynCredentials for S {
    fn credentials(&self) -> BoxFuture<'_, Result<AwsCredentials, TokenError>> {
        Box::pin(AwsCredentialsSource::credentials(self))
    }
}

impl AwsCredentials {
    /// A key and its secret.
    pub fn new(key_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            key_id: key_id.into(),
            secret: secret.into(),
            session_token: None,
            expires: None,
        }
    }

    /// With the session token that comes with keys of a role.
    #[must_use]
    pub fn with_session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into());
        self
    }

    /// With the time until which the keys are good: no token outlives its keys.
    #[must_use]
    pub fn with_expiry(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }
}

/// Keys that do not change.
impl AwsCredentialsSource for AwsCredentials {
    async fn credentials(&self) -> Result<AwsCredentials, TokenError> {
        Ok(self.clone())
    }
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials")
            .field("key_id", &self.key_id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The keys in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EnvironmentCredentials;

impl AwsCredentialsSource for EnvironmentCredentials {
    async fn credentials(&self) -> Result<AwsCredentials, TokenError> {
        keys_of(|name| std::env::var(name).ok())
    }
}

fn keys_of(variable: impl Fn(&str) -> Option<String>) -> Result<AwsCredentials, TokenError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let needed = |name: &str| {
        set(name).ok_or_else(|| {
            TokenError::new(format!(
                "{name} is not set: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give other credentials with \
                 MskIam::with_credentials"
            ))
        })
    };
    let keys = AwsCredentials::new(needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?);
    Ok(match set("AWS_SESSION_TOKEN") {
        Some(token) => keys.with_session_token(token),
        None => keys,
    })
}

impl MskIam {
    /// For brokers in that region, with the keys of the environment.
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            credentials: Arc::new(EnvironmentCredentials),
        }
    }

    /// With other keys.
    #[must_use]
    pub fn with_credentials(mut self, source: impl AwsCredentialsSource) -> Self {
        self.credentials = Arc::new(source);
        self
    }

    /// The region in the brokers' names, `b-1.shop.x.c2.kafka.eu-west-1.amazonaws.com`, or in the environment.
    pub(super) fn region_of(servers: &str) -> Option<String> {
        let named = servers.split(',').find_map(region_in);
        let set = |name| std::env::var(name).ok().filter(|region| !region.is_empty());
        named
            .map(str::to_owned)
            .or_else(|| set("AWS_REGION"))
            .or_else(|| set("AWS_DEFAULT_REGION"))
    }

    fn token_at(&self, keys: &AwsCredentials, now: SystemTime) -> Result<Token, TokenError> {
        let url = self.signed_url(keys, now)?;
        let expires = keys.expires.map_or(now + LIFE, |expires| expires.min(now + LIFE));
        Ok(Token::new(URL_SAFE_NO_PAD.encode(url), expires).with_principal("aws-msk-iam"))
    }

    fn signed_url(&self, keys: &AwsCredentials, now: SystemTime) -> Result<String, TokenError> {
        let is_region = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if self.region.is_empty() || !self.region.chars().all(is_region) {
            return Err(TokenError::new(format!("{:?} is no region of AWS", self.region)));
        }
        let host = format!("kafka.{}.amazonaws.com", self.region);
        let url = format!("https://{host}/?Action={ACTION}");
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(LIFE);
        settings.signature_location = SignatureLocation::QueryParams;
        let session = keys.session_token.clone();
        let identity = Credentials::new(&keys.key_id, &keys.secret, session, None, "tidings").into();
        let failed =
            |error: &dyn fmt::Display| TokenError::new(format!("the token cannot be signed: {error}"));
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let headers = [("host", host.as_str())].into_iter();
        let request = SignableRequest::new("GET", url.as_str(), headers, SignableBody::empty());
        let request = request.map_err(|error| failed(&error))?;
        let signed = sign(request, &parameters).map_err(|error| failed(&error))?;
        let (instructions, _) = signed.into_parts();
        let mut url = url;
        for (name, value) in instructions.params() {
            url.push_str(&format!("&{name}={}", utf8_percent_encode(value, &ENCODED)));
        }
        // As Amazon's own libraries do: not part of what is signed, for their logs.
        url.push_str("&User-Agent=tidings-kafka");
        Ok(url)
    }
}

/// What a signed address writes by its number: everything but letters, digits and `-._~`.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn region_in(server: &str) -> Option<&str> {
    let host = server.split(':').next()?;
    let mut labels = host.split('.');
    labels.find(|label| matches!(*label, "kafka" | "kafka-serverless"))?;
    let region = labels.next()?;
    (labels.next() == Some("amazonaws")).then_some(region)
}

impl TokenSource for MskIam {
    async fn token(&self) -> Result<Token, TokenError> {
        let keys = self.credentials.credentials().await?;
        self.token_at(&keys, SystemTime::now())
    }
}

impl fmt::Debug for MskIam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MskIam")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashMap};

    /// 2026-01-02T03:04:05Z
    const NOW: Duration = Duration::from_secs(1_767_323_045);

    /// Made by botocore 1.43.11: `SigV4QueryAuth(keys, "kafka-cluster", region, expires=900)` over
    /// `https://kafka.REGION.amazonaws.com/?Action=kafka-cluster:Connect`, at that time.
    const SIGNED: [(&str, &str, Option<&str>, &str, &str); 3] = [
        (
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            None,
            "us-east-1",
            "24ebada2ed545858377591fc84af1a1bff3c40c5e8ab0c1fc85eee156cfb42da",
        ),
        (
            "ASIAEXAMPLE7",
            "zZ/+abc=defGHIjklMNO0123456789pqrstuVWXYZ",
            Some("FwoGZXIvYXdzEBYaD+/abc=="),
            "eu-central-1",
            "727f377327df1553a130f5056629499211feb4fd01cd4a7bb9a6e5a3441aad0c",
        ),
        (
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            None,
            "cn-north-1",
            "a3f44b31b1c72c8d9c8f95dcd0969d82b0a8ab82a322a5aece5bd60b03d4e7d3",
        ),
    ];

    fn keys(id: &str, secret: &str, session: Option<&str>) -> AwsCredentials {
        let keys = AwsCredentials::new(id, secret);
        match session {
            Some(token) => keys.with_session_token(token),
            None => keys,
        }
    }

    #[test]
    fn a_token_is_the_address_that_another_signer_signs() {
        for (id, secret, session, region, signature) in SIGNED {
            let now = SystemTime::UNIX_EPOCH + NOW;
            let token = MskIam::new(region)
                .token_at(&keys(id, secret, session), now)
                .unwrap();
            assert_eq!(token.expires(), now + Duration::from_secs(900));
            let url = String::from_utf8(URL_SAFE_NO_PAD.decode(token.value()).unwrap()).unwrap();
            let (address, query) = url.split_once('?').unwrap();
            assert_eq!(address, format!("https://kafka.{region}.amazonaws.com/"));
            let parameters: BTreeMap<_, _> = query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap())
                .collect();
            let credential = format!("{id}%2F20260102%2F{region}%2Fkafka-cluster%2Faws4_request");
            let mut expected = BTreeMap::from([
                ("Action", "kafka-cluster%3AConnect"),
                ("User-Agent", "tidings-kafka"),
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", credential.as_str()),
                ("X-Amz-Date", "20260102T030405Z"),
                ("X-Amz-Expires", "900"),
                ("X-Amz-SignedHeaders", "host"),
                ("X-Amz-Signature", signature),
            ]);
            if session.is_some() {
                expected.insert("X-Amz-Security-Token", "FwoGZXIvYXdzEBYaD%2B%2Fabc%3D%3D");
            }
            assert_eq!(parameters, expected);
        }
    }

    #[test]
    fn a_token_does_not_outlive_its_keys_and_shows_no_secret() {
        let now = SystemTime::UNIX_EPOCH + NOW;
        let soon = now + Duration::from_secs(60);
        let keys = AwsCredentials::new("AKID", "hunter2")
            .with_session_token("hunter2")
            .with_expiry(soon);
        let source = MskIam::new("us-east-1").with_credentials(keys.clone());
        assert_eq!(source.token_at(&keys, now).unwrap().expires(), soon);
        assert!(!format!("{keys:?} {source:?}").contains("hunter2"));
        assert!(MskIam::new("evil.example.com/").token_at(&keys, now).is_err());
    }

    #[test]
    fn the_region_is_in_the_names_of_the_brokers() {
        for (servers, region) in [
            (
                "b-1.shop.abc.c2.kafka.eu-west-1.amazonaws.com:9098",
                Some("eu-west-1"),
            ),
            (
                "h:1,boot-x.c1.kafka-serverless.us-east-2.amazonaws.com:9098",
                Some("us-east-2"),
            ),
            (
                "b-1.shop.abc.c2.kafka.cn-north-1.amazonaws.com.cn:9098",
                Some("cn-north-1"),
            ),
            ("kafka.example.com:9098", None),
        ] {
            assert_eq!(servers.split(',').find_map(region_in), region, "{servers}");
        }
    }

    #[test]
    fn keys_of_the_environment_are_complete_or_an_error_that_names_the_variable() {
        let set = |pairs: &[(&str, &str)]| {
            let map: HashMap<String, String> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            keys_of(|name| map.get(name).cloned())
        };
        let keys = set(&[
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_SESSION_TOKEN", "c"),
        ]);
        assert_eq!(keys.unwrap().session_token.as_deref(), Some("c"));
        let missing = set(&[("AWS_ACCESS_KEY_ID", "hunter2"), ("AWS_SECRET_ACCESS_KEY", "")]).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("AWS_SECRET_ACCESS_KEY is not set"),
            "{missing}"
        );
        assert!(!missing.to_string().contains("hunter2"));
    }
}
