//! Inventory: reserves stock for orders, releases it when the payment is declined, and orders more when it runs low.
//!
//! Its state is in the database. Handlers get the transaction of their [inbox](tidings::Subscription::inbox): what they
//! change there, the ids of the messages and the events that they return are kept by one commit a batch, or not at all.
//! So each order is decided once, though messages may come several times, and its event is never lost.

mod shelves;
mod warehouse;

pub use warehouse::StockLevel;
pub(crate) use warehouse::open;

use crate::channel::{ORDERS, PAYMENTS, STOCK};
use crate::database::{Database, Sql};
use crate::domain::{Order, Sku};
use crate::order::OrderPlaced;
use crate::payment::PaymentDeclined;
use serde::{Deserialize, Serialize};
use tidings::prelude::*;
use tidings::sql::{SqlStore, Tx};

/// The name of the subscription that puts stock back.
pub const RELEASE: &str = "inventory-release";
/// How many messages are handled by one transaction, at the most.
const TOGETHER: usize = 256;

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

/// Sets the stock for orders aside, or rejects them, in the order in which they come.
async fn reserve<DB: Sql>(orders: Batch<OrderPlaced>, mut tx: Tx<DB>) -> Result<Outputs, Failure> {
    let before = warehouse::held::<DB>(&mut tx).await?;
    let mut now = before.clone();
    let mut outputs = Outputs::none();
    let mut decisions = Vec::with_capacity(orders.len());
    for placed in orders {
        let order = placed.order;
        let decision = now.reserve(&order);
        decisions.push((order.id, decision.clone()));
        outputs = match decision {
            Ok(()) => outputs.and_event(&StockReserved { order }),
            Err(reason) => outputs.and_event(&OrderRejected { order, reason }),
        }?;
    }
    warehouse::keep::<DB>(&mut tx, &before, &now).await?;
    warehouse::decided::<DB>(&mut tx, &decisions).await?;
    Ok(outputs)
}

/// Puts back what was set aside for orders that nobody pays for.
async fn release<DB: Sql>(payments: Batch<PaymentDeclined>, mut tx: Tx<DB>) -> Result<Outputs, Failure> {
    let before = warehouse::held::<DB>(&mut tx).await?;
    let mut now = before.clone();
    let mut outputs = Outputs::none();
    for declined in payments {
        let order = declined.order;
        if warehouse::released::<DB>(&mut tx, &order).await? {
            now.put_back(&order);
            outputs = outputs.and_event(&StockReleased { order })?;
        }
    }
    warehouse::keep::<DB>(&mut tx, &before, &now).await?;
    Ok(outputs)
}

/// Asks the supplier for more of what is low.
async fn restock(State(database): State<Database>, publisher: Publisher) -> Result<(), Failure> {
    Ok(database.restock(&publisher).await?)
}

/// The inventory service. It may run several times: they wait for each other where they decide.
pub fn app<DB: Sql>(store: &SqlStore<DB>) -> App<Database> {
    App::new("inventory")
        .add(
            on(ORDERS, reserve::<DB>)
                .name("inventory-reserve")
                .group("inventory")
                .only::<OrderPlaced>()
                .to(STOCK)
                .batch(TOGETHER, millis(2))
                .inbox(store.clone())
                // However often an order is told of, it is decided once.
                .inbox_id(|placed: &OrderPlaced| placed.order.id),
        )
        .add(
            on(PAYMENTS, release::<DB>)
                .name(RELEASE)
                .group("inventory")
                .only::<PaymentDeclined>()
                .to(STOCK)
                .batch(TOGETHER, millis(2))
                .inbox(store.clone()),
        )
        .add(every(secs(1), restock).name("inventory-restock"))
}
