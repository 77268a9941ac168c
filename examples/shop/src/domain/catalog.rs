//! What the shop sells.

use super::Cents;
use serde::{Deserialize, Serialize};

/// Whether the supplier brings more when a product runs low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restocking {
    /// Up to the opening level again.
    WhenLow,
    /// What is gone is gone.
    Never,
}

/// One product.
#[derive(Debug)]
pub struct Product {
    /// The name by which an order calls it.
    pub sku: &'static str,
    /// The name by which people call it.
    pub name: &'static str,
    /// What one costs, tax included.
    pub price: Cents,
    /// How many there are when the shop opens for the first time.
    pub level: u32,
    /// Whether more comes.
    pub restocking: Restocking,
}

const fn product(sku: &'static str, name: &'static str, price: u64, level: u32) -> Product {
    Product {
        sku,
        name,
        price: Cents(price),
        level,
        restocking: Restocking::WhenLow,
    }
}

/// Everything that the shop sells. The last product shows what happens when stock is short.
pub const CATALOG: &[Product] = &[
    product("tea", "Sencha, 100 g", 1_250, 60_000),
    product("oolong", "Oolong, 100 g", 1_800, 40_000),
    product("matcha", "Matcha, 30 g", 2_900, 20_000),
    product("honey", "Lime honey, 250 g", 980, 40_000),
    product("cups", "Two cups", 2_400, 20_000),
    product("teapot", "Cast-iron teapot", 7_900, 20_000),
    product("kettle", "Kettle, 1 l", 6_400, 20_000),
    Product {
        sku: "clock",
        name: "Ship’s clock",
        price: Cents(48_000),
        level: 12,
        restocking: Restocking::Never,
    },
];

/// A product that the shop has: a place in the [`CATALOG`], written as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Sku(usize);

/// The shop has no such product.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no product \"{0}\"; there are {names}", names = names())]
pub struct UnknownSku(String);

fn names() -> String {
    CATALOG
        .iter()
        .map(|product| product.sku)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Sku {
    /// Every product, in the order of the catalogue.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CATALOG.len()).map(Self)
    }

    /// The product.
    pub fn product(self) -> &'static Product {
        CATALOG
            .get(self.0)
            .expect("a Sku is only made from a place in the catalogue")
    }

    /// Its place in the catalogue.
    pub fn place(self) -> usize {
        self.0
    }
}

impl TryFrom<String> for Sku {
    type Error = UnknownSku;

    fn try_from(name: String) -> Result<Self, UnknownSku> {
        let place = CATALOG.iter().position(|product| product.sku == name);
        place
            .map(Self)
            .ok_or_else(|| UnknownSku(name.chars().take(40).collect()))
    }
}

impl From<Sku> for &'static str {
    fn from(sku: Sku) -> Self {
        sku.product().sku
    }
}
