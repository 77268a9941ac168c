//! What a customer sends, and whether it can be an order. Nothing of it is believed before it was checked here.

use crate::domain::{CardToken, Item, Order, OrderId, Sku};
use serde::{Deserialize, Serialize};

/// Different products in one order.
pub const MAX_ITEMS: usize = 100;
/// Pieces of one product in one order.
pub const MAX_QUANTITY: u32 = 1_000;
const MAX_CUSTOMER: usize = 80;

/// An order as it is sent to the shop.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// Who orders.
    pub customer: String,
    /// What.
    pub items: Vec<RequestItem>,
    /// The number of a card.
    pub card: String,
}

/// A part of an order as it is sent to the shop.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestItem {
    /// A product.
    pub sku: String,
    /// How many. Signed, so that a negative number gets an answer that says what is wrong with it.
    pub quantity: i64,
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Which part, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

/// Why a request is not an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// It is JSON of another shape.
    #[error("the body is not an order: {0}")]
    Shape(String),
    /// It has the right shape and cannot be fulfilled.
    #[error("the order has {} mistake(s)", .0.len())]
    Invalid(Vec<FieldError>),
}

impl OrderRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`RequestError::Syntax`] and [`RequestError::Shape`].
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                RequestError::Shape(error.to_string())
            } else {
                RequestError::Syntax(error.to_string())
            }
        })
    }

    /// Checks everything and says all that is wrong at once.
    ///
    /// # Errors
    /// [`RequestError::Invalid`].
    pub fn into_order(self) -> Result<Order, RequestError> {
        let mut mistakes = Mistakes::default();
        let customer = mistakes.keep("#/customer".to_owned(), check_customer(&self.customer));
        let items = check_items(&self.items, &mut mistakes);
        let card = CardToken::for_number(&self.card).map_err(|error| error.to_string());
        let card = mistakes.keep("#/card".to_owned(), card);
        match (customer, card, mistakes.0) {
            (Some(customer), Some(card), mistakes) if mistakes.is_empty() => {
                Ok(Order::new(OrderId::random(), customer, items, card))
            }
            (_, _, mistakes) => Err(RequestError::Invalid(mistakes)),
        }
    }
}

#[derive(Default)]
struct Mistakes(Vec<FieldError>);

impl Mistakes {
    fn keep<T>(&mut self, pointer: String, checked: Result<T, String>) -> Option<T> {
        checked
            .map_err(|detail| self.0.push(FieldError { pointer, detail }))
            .ok()
    }
}

fn check_customer(customer: &str) -> Result<String, String> {
    let customer = customer.trim();
    let length = customer.chars().count();
    if length == 0 {
        return Err("say who orders".to_owned());
    }
    if length > MAX_CUSTOMER {
        return Err(format!(
            "{length} characters are too many: {MAX_CUSTOMER} at the most"
        ));
    }
    if customer.chars().any(char::is_control) {
        return Err("a name has no control characters".to_owned());
    }
    Ok(customer.to_owned())
}

/// The items, each product once. A product that is named twice is ordered as often as both say.
fn check_items(requested: &[RequestItem], mistakes: &mut Mistakes) -> Vec<Item> {
    let count = match requested.len() {
        0 => Err("order at least one thing".to_owned()),
        count if count > MAX_ITEMS => Err(format!("{count} items are too many: {MAX_ITEMS} at the most")),
        _ => Ok(()),
    };
    if mistakes.keep("#/items".to_owned(), count).is_none() {
        return Vec::new();
    }
    let mut items: Vec<Item> = Vec::new();
    for (place, item) in requested.iter().enumerate() {
        let sku = Sku::try_from(item.sku.clone()).map_err(|error| error.to_string());
        let sku = mistakes.keep(format!("#/items/{place}/sku"), sku);
        let Some(sku) = sku else { continue };
        let ordered = items
            .iter()
            .find(|other| other.sku == sku)
            .map_or(0, |other| other.quantity);
        let quantity = check_quantity(item.quantity, ordered);
        let Some(quantity) = mistakes.keep(format!("#/items/{place}/quantity"), quantity) else {
            continue;
        };
        match items.iter_mut().find(|other| other.sku == sku) {
            Some(other) => other.quantity = quantity,
            None => items.push(Item { sku, quantity }),
        }
    }
    items
}

/// The quantity together with what was ordered of the product before.
fn check_quantity(quantity: i64, ordered: u32) -> Result<u32, String> {
    if quantity < 1 {
        return Err(format!("{quantity} is not a quantity: order at least 1"));
    }
    let sum = u32::try_from(quantity)
        .ok()
        .and_then(|quantity| quantity.checked_add(ordered));
    sum.filter(|sum| *sum <= MAX_QUANTITY)
        .ok_or_else(|| format!("more than {MAX_QUANTITY} of one product: ask us for an offer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "4242424242424242";

    fn parse(customer: &str, items: &str, card: &str) -> Result<Order, RequestError> {
        let body = format!(r#"{{"customer":{customer},"items":{items},"card":"{card}"}}"#);
        OrderRequest::from_json(body.as_bytes())?.into_order()
    }

    #[test]
    fn a_good_request_becomes_an_order() {
        let items = r#"[{"sku":"tea","quantity":2},{"sku":"cups","quantity":1},{"sku":"tea","quantity":1}]"#;
        let order = parse(r#"" ada ""#, items, CARD).unwrap();
        assert_eq!(
            (order.customer.as_str(), order.items.len(), order.total.0),
            ("ada", 2, 3 * 1_250 + 2_400)
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let long = format!("\"{}\"", "x".repeat(81));
        let many = format!("[{}]", vec![r#"{"sku":"tea","quantity":1}"#; 101].join(","));
        let one = r#"[{"sku":"tea","quantity":1}]"#;
        for (customer, items, card, pointers) in [
            (
                r#""ada""#,
                r#"[{"sku":"tea","quantity":-2}]"#,
                CARD,
                vec!["#/items/0/quantity"],
            ),
            (
                r#""ada""#,
                r#"[{"sku":"tea","quantity":0}]"#,
                CARD,
                vec!["#/items/0/quantity"],
            ),
            (
                r#""ada""#,
                r#"[{"sku":"tea","quantity":1001}]"#,
                CARD,
                vec!["#/items/0/quantity"],
            ),
            (
                r#""ada""#,
                r#"[{"sku":"tea","quantity":600},{"sku":"tea","quantity":600}]"#,
                CARD,
                vec!["#/items/1/quantity"],
            ),
            (
                r#""ada""#,
                r#"[{"sku":"gold","quantity":1}]"#,
                CARD,
                vec!["#/items/0/sku"],
            ),
            (r#""ada""#, "[]", CARD, vec!["#/items"]),
            (r#""ada""#, many.as_str(), CARD, vec!["#/items"]),
            (long.as_str(), one, CARD, vec!["#/customer"]),
            (r#""a\u0007da""#, one, CARD, vec!["#/customer"]),
            (r#""  ""#, one, "4242424242424241", vec!["#/customer", "#/card"]),
        ] {
            let Err(RequestError::Invalid(mistakes)) = parse(customer, items, card) else {
                panic!("{customer} {items} {card} is accepted");
            };
            assert_eq!(
                mistakes
                    .iter()
                    .map(|mistake| &mistake.pointer)
                    .collect::<Vec<_>>(),
                pointers
            );
        }
    }

    #[test]
    fn what_is_not_json_is_told_from_what_is_not_an_order() {
        for body in ["", "{", "customer=ada", "{\"customer\":\"\u{0}\"}"] {
            assert!(
                matches!(
                    OrderRequest::from_json(body.as_bytes()),
                    Err(RequestError::Syntax(_))
                ),
                "{body:?}"
            );
        }
        let deep = "[".repeat(10_000);
        assert!(OrderRequest::from_json(deep.as_bytes()).is_err());
        for body in [
            "[]",
            "{}",
            r#"{"customer":1,"items":[],"card":""}"#,
            r#"{"customer":"a","items":[],"card":"","x":1}"#,
        ] {
            assert!(
                matches!(
                    OrderRequest::from_json(body.as_bytes()),
                    Err(RequestError::Shape(_))
                ),
                "{body:?}"
            );
        }
        let huge = r#"{"customer":"a","items":[{"sku":"tea","quantity":1e400}],"card":""}"#;
        assert!(OrderRequest::from_json(huge.as_bytes()).is_err());
    }
}
