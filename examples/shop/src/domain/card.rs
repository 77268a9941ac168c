//! Cards: a number is checked once, at the door, and never enters an event.

use serde::{Deserialize, Serialize};

/// What stands for a card inside the shop: enough for the bank of this example, useless to a thief.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CardToken(String);

/// Why a card number was not accepted. It never repeats the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Something else than digits, spaces and hyphens, or not 13 to 19 digits.
    #[error("a card number has 13 to 19 digits")]
    Length,
    /// Mistyped.
    #[error("the card number is mistyped: its check digit is wrong")]
    CheckDigit,
}

impl CardToken {
    /// Checks a card number and puts a token in its place.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn for_number(number: &str) -> Result<Self, CardError> {
        let digits: Option<Vec<u32>> = number
            .chars()
            .filter(|character| !matches!(character, ' ' | '-'))
            .take(20)
            .map(|character| character.to_digit(10))
            .collect();
        let digits = digits
            .filter(|digits| (13..=19).contains(&digits.len()))
            .ok_or(CardError::Length)?;
        if !passes_luhn(&digits) {
            return Err(CardError::CheckDigit);
        }
        let last: String = digits.iter().skip(digits.len() - 4).map(u32::to_string).collect();
        Ok(Self(format!("tok_{last}")))
    }

    /// The last four digits of the number.
    pub fn last_four(&self) -> &str {
        self.0.strip_prefix("tok_").unwrap_or_default()
    }
}

/// The check of ISO/IEC 7812-1: every second digit from the right is doubled, and all digits add up to a multiple of 10.
fn passes_luhn(digits: &[u32]) -> bool {
    let weighted = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        });
    weighted.sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_right_check_digit_become_tokens() {
        for (number, expected) in [
            ("4242424242424242", Ok("4242")),
            ("4000 0000 0000 0002", Ok("0002")),
            ("4000-0000-0000-9995", Ok("9995")),
            ("4242424242424243", Err(CardError::CheckDigit)),
            ("4242", Err(CardError::Length)),
            ("", Err(CardError::Length)),
            ("42424242424242424242424242", Err(CardError::Length)),
            ("42424242424242４2", Err(CardError::Length)),
        ] {
            let token = CardToken::for_number(number);
            assert_eq!(
                token.as_ref().map(CardToken::last_four).map_err(|error| *error),
                expected,
                "{number}"
            );
        }
    }

    #[test]
    fn a_token_does_not_hold_the_number() {
        let token = CardToken::for_number("4242424242424242").unwrap();
        assert_eq!(serde_json::to_string(&token).unwrap(), r#""tok_4242""#);
    }
}
