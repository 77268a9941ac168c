//! Tokens for OAUTHBEARER and where they come from: [`Token`], [`TokenSource`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidings_core::BoxFuture;

/// A token for OAUTHBEARER. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: String,
    expires: SystemTime,
    principal: String,
    extensions: Vec<(String, String)>,
}

impl Token {
    /// A token that is good until then.
    pub fn new(value: impl Into<String>, expires: SystemTime) -> Self {
        Self {
            value: value.into(),
            expires,
            principal: String::new(),
            extensions: Vec::new(),
        }
    }

    /// A JSON web token: until when it is good is read from its claim `exp`, for whom from `sub`. Its signature is the
    /// broker's to check.
    ///
    /// # Errors
    /// It is no JSON web token, or has no `exp`.
    pub fn from_jwt(value: impl Into<String>) -> Result<Self, TokenError> {
        let value = value.into();
        let claims = claims(&value).ok_or_else(|| {
            TokenError::new("what it gave is no JSON web token; an opaque token has to come with its expiry")
        })?;
        let expires = claims.get("exp").and_then(Value::as_f64);
        let expires = expires
            .filter(|seconds| (0.0..1e11).contains(seconds))
            .ok_or_else(|| {
                TokenError::new("the token has no claim \"exp\": nobody knows until when it is good")
            })?;
        let token = Self::new(value, SystemTime::UNIX_EPOCH + Duration::from_secs_f64(expires));
        Ok(match claims.get("sub").and_then(Value::as_str) {
            Some(subject) => token.with_principal(subject),
            None => token,
        })
    }

    /// For whom it is. The broker decides by the token itself; this is for its words.
    #[must_use]
    pub fn with_principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = principal.into();
        self
    }

    /// With an extension that the broker is told beside the token, as some clouds ask for.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// Until when it is good.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn principal(&self) -> &str {
        &self.principal
    }

    pub(super) fn extensions(&self) -> &[(String, String)] {
        &self.extensions
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// What stands between the dots of a JSON web token.
fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// Why there is no token. What it says is shown in logs and in health, so it must not hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TokenError {
    reason: String,
}

impl TokenError {
    /// With the cause and, where it is known, the cure.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Where tokens for OAUTHBEARER come from.
///
/// All clients of one Kafka share a source. It is asked on a thread of its own, so it may block; it may as well await,
/// since the thread runs a tokio runtime. It is asked again when four fifths of a token's life are over; after a failure
/// again and again, with waits that grow from half a second to half a minute.
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is good now.
    ///
    /// It has half a minute; then the attempt counts as a failure. A call that blocks is waited for.
    ///
    /// # Errors
    /// Why there is none.
    fn token(&self) -> impl Future<Output = Result<Token, TokenError>> + Send;
}

/// [`TokenSource`] as an object.
pub(crate) trait DynTokenSource: Send + Sync {
    fn token(&self) -> BoxFuture<'_, Result<Token, TokenError>>;
}

impl<S: TokenSource> DynTokenSource for S {
    fn token(&self) -> BoxFuture<'_, Result<Token, TokenError>> {
        Box::pin(TokenSource::token(self))
    }
}

/// A source that options hold. Two are equal if they are the same one.
#[derive(Clone)]
pub(crate) struct SharedTokenSource(pub(crate) Arc<dyn DynTokenSource>);

impl PartialEq for SharedTokenSource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedTokenSource {}

impl fmt::Debug for SharedTokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A source of somebody else's may show its secrets.
        f.write_str("TokenSource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_json_web_token_says_for_whom_and_until_when_it_is_good() {
        let token = Token::from_jwt(jwt(r#"{"sub":"shop","exp":1767323045}"#)).unwrap();
        assert_eq!(token.principal(), "shop");
        assert_eq!(
            token.expires(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)
        );
        let fraction = Token::from_jwt(jwt(r#"{"exp":1767323045.5}"#)).unwrap();
        assert_eq!(fraction.principal(), "");
        for (token, words) in [
            (jwt(r#"{"sub":"shop"}"#), "\"exp\""),
            (jwt(r#"{"exp":-1}"#), "\"exp\""),
            (jwt(r#"{"exp":1e300}"#), "\"exp\""),
            ("sesame".to_owned(), "no JSON web token"),
            ("a.b.c".to_owned(), "no JSON web token"),
        ] {
            let error = Token::from_jwt(token.clone()).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains(&token), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::new("hunter2", SystemTime::now()).with_extension("x", "hunter2");
        assert!(!format!("{token:?}").contains("hunter2"));
    }
}
