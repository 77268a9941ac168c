//! The number of an order: short enough to be read out on the phone.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tidings::EventKey;
use uuid::Uuid;

/// 80 bits, written as four groups of four: `7H2K-9QX4-M1TB-0ZZ3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId([u8; OrderId::BYTES]);

/// Not the number of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order's number looks like 7H2K-9QX4-M1TB-0ZZ3")]
pub struct MalformedOrderId;

/// Digits and letters that are not mistaken for each other when read aloud (no I, L, O, U).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl OrderId {
    const BYTES: usize = 10;
    const GROUP: usize = 4;
    const TEXT: usize = 19;

    /// A new one, at random.
    pub fn random() -> Self {
        // Without the bytes in which a UUID says what kind it is: they are the same in all of them.
        let [a, b, c, d, e, f, _, _, _, g, h, i, j, ..] = *Uuid::new_v4().as_bytes();
        Self([a, b, c, d, e, f, g, h, i, j])
    }

    /// A number that is the same for the same order, for what must vary from order to order but not from run to run.
    pub fn spread(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The first two groups, for where space is short.
    pub fn short(self) -> String {
        self.to_string().chars().take(2 * Self::GROUP + 1).collect()
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self
            .0
            .iter()
            .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        for place in 0..16 {
            if place > 0 && place % Self::GROUP == 0 {
                f.write_str("-")?;
            }
            let digit = (bits >> (75 - 5 * place)) & 31;
            let letter = usize::try_from(digit).ok().and_then(|digit| ALPHABET.get(digit));
            write!(
                f,
                "{}",
                char::from(*letter.expect("five bits are one of 32 letters"))
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrderId {
    type Err = MalformedOrderId;

    fn from_str(text: &str) -> Result<Self, MalformedOrderId> {
        if text.len() != Self::TEXT {
            return Err(MalformedOrderId);
        }
        let mut bits = 0_u128;
        for (place, letter) in text.bytes().enumerate() {
            if place % (Self::GROUP + 1) == Self::GROUP {
                if letter != b'-' {
                    return Err(MalformedOrderId);
                }
                continue;
            }
            let upper = letter.to_ascii_uppercase();
            let digit = ALPHABET
                .iter()
                .position(|known| *known == upper)
                .ok_or(MalformedOrderId)?;
            bits = bits << 5 | u128::try_from(digit).map_err(|_| MalformedOrderId)?;
        }
        let [.., a, b, c, d, e, f, g, h, i, j] = bits.to_be_bytes();
        Ok(Self([a, b, c, d, e, f, g, h, i, j]))
    }
}

impl TryFrom<String> for OrderId {
    type Error = MalformedOrderId;

    fn try_from(text: String) -> Result<Self, MalformedOrderId> {
        text.parse()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.to_string()
    }
}

impl EventKey for OrderId {
    fn to_key(&self) -> Bytes {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for _ in 0..200 {
            let id = OrderId::random();
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
    }

    #[test]
    fn other_text_is_not_an_id() {
        for text in [
            "",
            "7H2K-9QX4-M1TB-0ZZ",
            "7H2K 9QX4 M1TB 0ZZ3",
            "7H2K-9QX4-M1TB-0ZZU",
            "7H2K-9QX4-M1TB-0Zé",
        ] {
            assert_eq!(text.parse::<OrderId>(), Err(MalformedOrderId), "{text}");
        }
    }
}
