//! Payment: charges the card of an order whose stock is reserved.
//!
//! A declined card is a business outcome: an event like any other. A bank that does not answer is a failure: the
//! engine tries again, and in the end keeps the message as a dead letter that can be sent back.
//!
//! No transaction reaches the bank, and none waits for it: first it is asked, many at a time, and its answer is a message of
//! its own; then answers are kept, many in a commit. The bank knows an order by its number and the payment book does too, so
//! neither asking twice nor hearing twice charges twice.

mod bank;
mod book;

pub use bank::{Bank, BankError, Charge};

use crate::channel::{CHARGES, PAYMENTS, STOCK};
use crate::database::Sql;
use crate::domain::{Cents, Order};
use crate::inventory::StockReserved;
use serde::{Deserialize, Serialize};
use tidings::Retry;
use tidings::prelude::*;
use tidings::sql::{SqlStore, Tx};

/// How many answers of the bank are kept by one transaction, at the most.
const TOGETHER: usize = 256;

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

/// The bank has answered; nothing is kept yet.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "charge.answered", key = "order.id")]
pub struct ChargeAnswered {
    /// The order.
    pub order: Order,
    /// The answer.
    pub charge: Charge,
}

/// Charges the card. The bank knows the order by its number, so a second delivery does not charge twice.
async fn charge(
    Json(reserved): Json<StockReserved>,
    State(bank): State<Bank>,
) -> Result<ChargeAnswered, Failure> {
    let order = reserved.order;
    let charge = bank.charge(order.id, &order.card, order.total).await?;
    Ok(ChargeAnswered { order, charge })
}

/// Keeps what the bank has answered, and tells it.
async fn settle<DB: Sql>(answers: Batch<ChargeAnswered>, mut tx: Tx<DB>) -> Result<Outputs, Failure> {
    book::keep::<DB>(&mut tx, &answers).await?;
    let mut outputs = Outputs::none();
    for ChargeAnswered { order, charge } in answers {
        let amount = order.total;
        outputs = match charge {
            Charge::Taken { receipt } => outputs.and_event(&PaymentTaken {
                order,
                amount,
                receipt,
            }),
            Charge::Declined { reason } => outputs.and_event(&PaymentDeclined { order, reason }),
        }?;
    }
    Ok(outputs)
}

/// The payment service. Its attempts span about a second: a bank that is away for longer fills the dead letters, from
/// where everything can be sent back once it answers again.
pub fn app<DB: Sql>(store: &SqlStore<DB>) -> App<Bank> {
    App::new("payment")
        .add(
            on(STOCK, charge)
                .group("payment")
                .only::<StockReserved>()
                .to(CHARGES)
                .concurrency(256)
                .timeout(secs(10))
                .retry(Retry::exponential(4, millis(100), 2.0).budget(1.0, 200.0)),
        )
        .add(
            on(CHARGES, settle::<DB>)
                .name("payment-settle")
                .group("payment")
                .only::<ChargeAnswered>()
                .to(PAYMENTS)
                .batch(TOGETHER, millis(2))
                .inbox(store.clone())
                // However often the bank answers, an order is paid once.
                .inbox_id(|answered: &ChargeAnswered| answered.order.id),
        )
}
