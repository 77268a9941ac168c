//! What proves that a request may be made: [`Token`].

use std::fmt;
use subtle::ConstantTimeEq;

/// How many random bytes it has.
const BYTES: usize = 32;

/// A secret of 256 random bits, as hexadecimal digits. It is compared in constant time and never printed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// A new one, from the operating system's source of randomness.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0u8; BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// One that was written before; none if it cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let possible = text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        possible.then(|| Self(text.to_owned()))
    }

    /// Whether this is it. How long that takes says nothing about how much of it is right.
    pub(crate) fn is(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }

    /// The digits, for the file and for the header of a request.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_differ_and_do_not_show() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(one.expose().len(), 64);
        assert_ne!(one.expose(), other.expose());
        assert!(!format!("{one:?}").contains(one.expose()));
        assert!(one.is(one.expose().as_bytes()));
        assert!(!one.is(other.expose().as_bytes()));
        assert!(!one.is(&one.expose().as_bytes()[..63]) && !one.is(b""));
    }

    #[test]
    fn what_is_no_token_is_not_read_as_one() {
        for wrong in ["", "00", &"x".repeat(64), &"0".repeat(63), &"0".repeat(65)] {
            assert!(Token::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Token::parse(&"0a".repeat(32)).is_some());
    }
}
