//! Money: whole cents, never a float.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount in cents of a euro.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(pub u64);

impl Cents {
    /// That many of it; as much as there can be if it would be more.
    #[must_use]
    pub fn times(self, quantity: u32) -> Self {
        Self(self.0.saturating_mul(u64::from(quantity)))
    }

    /// Both together; as much as there can be if it would be more.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is contained in this gross amount as tax of `percent`, rounded half up.
    #[must_use]
    pub fn tax_within(self, percent: u32) -> Self {
        let (percent, whole) = (u128::from(percent), 100 + u128::from(percent));
        let tax = (u128::from(self.0) * percent * 2 + whole) / (whole * 2);
        Self(u64::try_from(tax).expect("a part of an amount is no larger than the amount"))
    }

    /// As a plain decimal number, `12.50`.
    pub fn decimal(self) -> String {
        format!("{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl std::iter::Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self(0), Self::plus)
    }
}

/// As people read it: `€1,234.50`.
impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let euros = (self.0 / 100).to_string();
        f.write_str("€")?;
        for (place, digit) in euros.chars().enumerate() {
            if place > 0 && (euros.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        write!(f, ".{:02}", self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        for (cents, text) in [
            (0, "€0.00"),
            (5, "€0.05"),
            (123_450, "€1,234.50"),
            (100_000_000, "€1,000,000.00"),
        ] {
            assert_eq!(Cents(cents).to_string(), text);
        }
    }

    #[test]
    fn the_tax_in_a_gross_amount_is_rounded_half_up() {
        for (gross, tax) in [(120, 20), (100, 17), (3, 1), (0, 0), (u64::MAX, u64::MAX / 6 + 1)] {
            assert_eq!(Cents(gross).tax_within(20), Cents(tax), "{gross}");
        }
    }
}
