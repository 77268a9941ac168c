//! Payment: charges the card of an order whose stock is reserved.
//!
//! A declined card is a business outcome: an event like any other. A bank that does not answer is a failure: the
//! engine tries again, and in the end keeps the message as a dead letter that can be sent back.

mod bank;

pub use bank::{Bank, BankError, Charge};

use crate::channel::{PAYMENTS, STOCK};
use crate::domain::{Cents, Order};
use crate::inventory::StockReserved;
use serde::{Deserialize, Serialize};
use tidings::Retry;
use tidings::prelude::*;

/// The order is paid.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "payment.taken", key = "order.id")]
pub struct PaymentTaken {
    /// The order.
    pub order: Order,
    /// What was charged.
    pub amount: Cents,
    /// The bank's receipt.
    pub receipt: String,
}

/// The bank refuses the card.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "payment.declined", key = "order.id")]
pub struct PaymentDeclined {
    /// The order.
    pub order: Order,
    /// Why.
    pub reason: String,
}

/// Charges the card. The bank knows the order by its number, so a second delivery does not charge twice.
async fn charge(Json(reserved): Json<StockReserved>, State(bank): State<Bank>) -> Result<Outputs, Failure> {
    let order = reserved.order;
    match bank.charge(order.id, &order.card, order.total).await? {
        Charge::Taken { receipt } => {
            let amount = order.total;
            Outputs::none().and_event(&PaymentTaken {
                order,
                amount,
                receipt,
            })
        }
        Charge::Declined { reason } => Outputs::none().and_event(&PaymentDeclined {
            order,
            reason: reason.to_owned(),
        }),
    }
}

/// The payment service. Its attempts span about a second: a bank that is away for longer fills the dead letters, from
/// where everything can be sent back once it answers again.
pub fn app() -> App<Bank> {
    App::new("payment").add(
        on(STOCK, charge)
            .group("payment")
            .only::<StockReserved>()
            .to(PAYMENTS)
            .concurrency(256)
            .timeout(secs(10))
            .retry(Retry::exponential(4, millis(100), 2.0).budget(1.0, 200.0)),
    )
}
