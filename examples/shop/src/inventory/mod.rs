//! Inventory: reserves stock for orders, releases it when the payment is declined, and orders more when it runs low.
//!
//! Its state is in memory and nothing is lost with it: everything that it decides is an event on `stock`, and at start
//! it reads them all again before it decides anything new. There is no database beside the log that could disagree.

mod warehouse;

pub use warehouse::{StockLevel, Warehouse};

use crate::channel::{ORDERS, PAYMENTS, STOCK};
use crate::domain::{Order, Sku};
use crate::event::ShopEvent;
use crate::order::OrderPlaced;
use crate::payment::PaymentDeclined;
use serde::{Deserialize, Serialize};
use tidings::prelude::*;
use tidings::{Ordering, Position, Start};

/// The name of the subscription by which inventory knows what it has decided.
pub const RECALL: &str = "inventory-recall";
/// The name of the subscription that puts stock back.
pub const RELEASE: &str = "inventory-release";

/// The stock for this order is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "stock.reserved", key = "order.id")]
pub struct StockReserved {
    /// The order.
    pub order: Order,
}

/// There is not enough stock for this order; nothing is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "order.rejected", key = "order.id")]
pub struct OrderRejected {
    /// The order.
    pub order: Order,
    /// What is short.
    pub reason: String,
}

/// The stock that was set aside for this order is for sale again.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "stock.released", key = "order.id")]
pub struct StockReleased {
    /// The order.
    pub order: Order,
}

/// The supplier brought more of a product.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "stock.delivered", key = "product")]
pub struct StockDelivered {
    /// The product's name: deliveries of one product keep their order.
    pub product: String,
    /// The product.
    pub sku: Sku,
    /// Counts the deliveries of this product from 1, so that one that is told twice counts once.
    pub number: u64,
    /// How many.
    pub quantity: u32,
}

/// Sets the stock for an order aside, or rejects the order. Asked twice it says the same.
async fn reserve(
    Json(placed): Json<OrderPlaced>,
    State(warehouse): State<Warehouse>,
) -> Result<Outputs, Failure> {
    warehouse.caught_up().completed().await?;
    let order = placed.order;
    match warehouse.reserve(&order) {
        Ok(()) => Outputs::none().and_event(&StockReserved { order }),
        Err(reason) => Outputs::none().and_event(&OrderRejected { order, reason }),
    }
}

/// Puts back what was set aside for an order that nobody pays for.
async fn release(
    Json(declined): Json<PaymentDeclined>,
    State(warehouse): State<Warehouse>,
) -> Result<StockReleased, Failure> {
    warehouse.caught_up().completed().await?;
    warehouse.release(&declined.order);
    Ok(StockReleased {
        order: declined.order,
    })
}

/// Asks the supplier for more of what is low.
async fn restock(State(warehouse): State<Warehouse>) -> Result<Vec<StockDelivered>, Failure> {
    warehouse.caught_up().completed().await?;
    Ok(warehouse.deliveries_due())
}

/// Reads what inventory itself has published: all of it after a start, then what it has just decided, which it knows.
///
/// It takes a `Result`, because a message that cannot be decoded was seen all the same: nobody must wait for it.
async fn recall(
    event: Result<ShopEvent, Failure>,
    position: Position,
    State(warehouse): State<Warehouse>,
) -> Result<(), Failure> {
    warehouse.caught_up().saw(&position);
    warehouse.apply(&event?);
    Ok(())
}

/// What was decided, as it is known from the events: for the service itself, and for a page that shows the stock.
pub fn projection() -> App<Warehouse> {
    App::new("inventory-stock").add(
        on(STOCK, recall)
            .name(RECALL)
            .start(Start::Earliest)
            .ordering(Ordering::Partition)
            .lose_exhausted_messages(),
    )
}

/// The inventory service; it needs its [`projection`]. It runs once: two of them would sell the same stock, because
/// neither knows what the other decides in this moment.
pub fn app() -> App<Warehouse> {
    App::new("inventory")
        .add(
            on(ORDERS, reserve)
                .name("inventory-reserve")
                .group("inventory")
                .only::<OrderPlaced>()
                .to(STOCK)
                .concurrency(64),
        )
        .add(
            on(PAYMENTS, release)
                .name(RELEASE)
                .group("inventory")
                .only::<PaymentDeclined>()
                .to(STOCK)
                .concurrency(16),
        )
        .add(every(secs(1), restock).name("inventory-restock").to(STOCK))
}
