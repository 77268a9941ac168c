//! The bytes that every arm handles: an order of about 256 bytes of JSON, and a small one of two numbers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Twelve fields, one of them an object and one an array.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) status: String,
    pub(crate) currency: String,
    pub(crate) total: i64,
    pub(crate) tax: i64,
    pub(crate) version: u32,
    pub(crate) at: i64,
    pub(crate) paid: bool,
    pub(crate) note: String,
    pub(crate) address: Address,
    pub(crate) items: Vec<Item>,
}

/// The object in an [`Order`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) city: String,
    pub(crate) zip: String,
}

/// One element of the array in an [`Order`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) sku: String,
    /// As the programs write it that read the same topic in other languages.
    #[serde(rename = "n")]
    pub(crate) count: u32,
}

/// Two numbers, so that decoding allocates nothing and what is left is the way to the handler. The same shape and size
/// as the message with which RustStream measures itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Small {
    pub(crate) id: u64,
    pub(crate) quantity: u32,
}

const CITIES: [&str; 4] = ["Lisbon", "Vienna", "Dakar", "Osaka"];
const STATES: [&str; 3] = ["placed", "shipped", "billed"];

impl Order {
    /// The order of that number: the same on every machine.
    pub(crate) fn numbered(number: u64) -> Self {
        let pick = |list: &[&str]| {
            let index = usize::try_from(number % list.len() as u64).expect("less than the length of a list");
            list.get(index).copied().unwrap_or_default().to_owned()
        };
        Self {
            id: format!("o-{number:08}"),
            customer: format!("c-{:06}", scattered(number) % 1_000_000),
            status: pick(&STATES),
            currency: "EUR".into(),
            total: small_amount(number, 37, 90_000),
            tax: small_amount(number, 11, 9_000),
            version: u32::try_from(number % 100).expect("less than 100"),
            at: 1_700_000_000_000 + small_amount(number, 1, 1 << 40),
            paid: number.is_multiple_of(2),
            note: "a gift, wrapped".into(),
            address: Address {
                city: pick(&CITIES),
                zip: format!("{:04}", number % 10_000),
            },
            items: (0..2).map(|line| Item::numbered(number + line)).collect(),
        }
    }

    /// Reads every field, so that no decoder may skip one.
    pub(crate) fn checksum(&self) -> u64 {
        let texts = [&self.id, &self.customer, &self.status, &self.currency, &self.note];
        let lengths: usize = texts.iter().map(|text| text.len()).sum();
        let address = self.address.city.len() + self.address.zip.len();
        let items: u64 = self
            .items
            .iter()
            .map(|item| u64::from(item.count) * item.sku.len() as u64)
            .sum();
        let numbers = [self.total, self.tax, self.at];
        let numbers: u64 = numbers.iter().map(|number| number.unsigned_abs()).sum();
        numbers + u64::from(self.version) + u64::from(self.paid) + (lengths + address) as u64 + items
    }
}

impl Item {
    fn numbered(number: u64) -> Self {
        Self {
            sku: format!("A{:03}", number * 131 % 1000),
            count: u32::try_from(1 + number % 9).expect("less than 10"),
        }
    }
}

/// A key of 16 bytes, out of `keys` different ones, in an order that looks random.
pub(crate) fn key(number: u64, keys: u64) -> Bytes {
    fixed_key(scattered(number) % keys.max(1))
}

/// The key of that number, 16 bytes.
pub(crate) fn fixed_key(number: u64) -> Bytes {
    format!("k{number:015}").into()
}

/// The order of that number as JSON.
pub(crate) fn order_json(number: u64) -> Bytes {
    serde_json::to_vec(&Order::numbered(number))
        .expect("an order has only fields that JSON can hold")
        .into()
}

/// The small message as JSON; always the same bytes.
pub(crate) fn small_json() -> Bytes {
    Bytes::from_static(br#"{"id":1000000,"quantity":37}"#)
}

fn scattered(number: u64) -> u64 {
    number.wrapping_mul(2_654_435_761)
}

fn small_amount(number: u64, factor: u64, limit: u64) -> i64 {
    i64::try_from(number.wrapping_mul(factor) % limit).expect("the limits are far below the largest amount")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_about_256_bytes_and_decodes_to_the_same_checksum() {
        let sizes: Vec<usize> = (0..1000).map(|number| order_json(number).len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((246..=266).contains(&mean), "{mean}");
        for number in [0, 1, 999_999] {
            let decoded: Order = serde_json::from_slice(&order_json(number)).unwrap();
            assert_eq!(decoded.checksum(), Order::numbered(number).checksum());
        }
        assert_ne!(Order::numbered(1).checksum(), Order::numbered(2).checksum());
    }

    #[test]
    fn keys_have_16_bytes_and_there_are_as_many_as_asked_for() {
        let keys: std::collections::BTreeSet<Bytes> = (0..10_000).map(|number| key(number, 100)).collect();
        assert_eq!(keys.len(), 100);
        assert!(keys.iter().all(|key| key.len() == 16));
    }

    #[test]
    fn the_small_message_is_two_numbers() {
        let small: Small = serde_json::from_slice(&small_json()).unwrap();
        assert_eq!((small.id, small.quantity), (1_000_000, 37));
    }
}
