//! An order as every event of it carries it.

use super::{CardToken, Cents, OrderId, Sku};
use serde::{Deserialize, Serialize};

/// So many of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The product.
    pub sku: Sku,
    /// How many; at least 1.
    pub quantity: u32,
}

/// An order that was accepted. Events carry it whole, so that no service has to ask another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub id: OrderId,
    /// Who ordered.
    pub customer: String,
    /// What; each product once.
    pub items: Vec<Item>,
    /// What it costs, tax included.
    pub total: Cents,
    /// What it is paid with.
    pub card: CardToken,
}

impl Order {
    /// An order of these items, at the catalogue's prices.
    pub fn new(id: OrderId, customer: String, items: Vec<Item>, card: CardToken) -> Self {
        let total = items
            .iter()
            .map(|item| item.sku.product().price.times(item.quantity))
            .sum();
        Self {
            id,
            customer,
            items,
            total,
            card,
        }
    }
}

/// `2 × tea, 1 × cups`
pub fn summary(items: &[Item]) -> String {
    let each = items
        .iter()
        .map(|item| format!("{} × {}", item.quantity, item.sku.product().sku));
    each.collect::<Vec<_>>().join(", ")
}
