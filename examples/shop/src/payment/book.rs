//! The payment book: what became of the payment of each order.

use super::{Charge, ChargeAnswered};
use crate::database::{Sql, Value};
use tidings::sql::sqlx::Error;

/// Keeps what the bank has answered, once for each order.
pub(super) async fn keep<DB: Sql>(
    connection: &mut DB::Connection,
    answers: &[ChargeAnswered],
) -> Result<(), Error> {
    let rows: Vec<_> = answers
        .iter()
        .map(|answered| {
            let (state, said) = match &answered.charge {
                Charge::Taken { receipt } => ("taken", receipt),
                Charge::Declined { reason } => ("declined", reason),
            };
            let cents = i64::try_from(answered.order.total.0).unwrap_or(i64::MAX);
            (answered.order.id.to_string(), state, cents, said.as_str())
        })
        .collect();
    let values: Vec<Value<'_>> = rows
        .iter()
        .flat_map(|(order, state, cents, said)| {
            [
                Value::Text(order),
                Value::Text(state),
                Value::Number(*cents),
                Value::Text(said),
            ]
        })
        .collect();
    let into = "INSERT INTO shop_payments (order_id, state, cents, said) VALUES";
    DB::insert(connection, into, 4, &values, "").await?;
    Ok(())
}
