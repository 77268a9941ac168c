//! What the shop is about, without events and without HTTP: money, the catalogue, cards, orders.

mod card;
mod catalog;
mod money;
mod order;
mod order_id;
mod recent;
mod time;

pub use card::{CardError, CardToken};
pub use catalog::{CATALOG, Product, Restocking, Sku, UnknownSku};
pub use money::Cents;
pub use order::{Item, Order, summary};
pub use order_id::{MalformedOrderId, OrderId};
pub use recent::Recent;
pub use time::{clock_time, rfc3339};
