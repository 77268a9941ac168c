//! Shipping: prints an address label for a paid order and hands the parcel over.

use crate::channel::{PAYMENTS, SHIPMENTS};
use crate::domain::OrderId;
use crate::payment::PaymentTaken;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidings::prelude::*;

/// The parcel is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "shipment.created", key = "order_id")]
pub struct ShipmentCreated {
    /// The order.
    pub order_id: OrderId,
    /// Whose it is.
    pub customer: String,
    /// The parcel's number. It follows from the order, so a second delivery makes no second parcel.
    pub parcel: String,
}

/// The label cannot be printed, and never will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the label printer has no glyph for {glyph:?} (U+{code:04X})", code = u32::from(*glyph))]
pub struct NoGlyph {
    glyph: char,
}

/// The label printer. It knows the letters and digits of every script, and little else.
#[derive(Debug, Clone, Copy, Default)]
pub struct LabelPrinter;

impl LabelPrinter {
    async fn print(self, addressee: &str) -> Result<(), NoGlyph> {
        tokio::time::sleep(Duration::from_millis(8)).await;
        let unknown = addressee
            .chars()
            .find(|c| !c.is_alphanumeric() && !" .,-–'’&/()+_".contains(*c));
        unknown.map_or(Ok(()), |glyph| Err(NoGlyph { glyph }))
    }
}

/// Ships a paid order. A label that cannot be printed is a permanent failure: no attempt more would help, and the
/// orders behind it go on.
async fn ship(
    Json(paid): Json<PaymentTaken>,
    State(printer): State<LabelPrinter>,
) -> Result<ShipmentCreated, Failure> {
    let order = paid.order;
    printer.print(&order.customer).await.permanent()?;
    Ok(ShipmentCreated {
        order_id: order.id,
        customer: order.customer,
        parcel: format!("P-{}", order.id.short()),
    })
}

/// The shipping service.
pub fn app() -> App<LabelPrinter> {
    App::new("shipping").add(
        on(PAYMENTS, ship)
            .group("shipping")
            .only::<PaymentTaken>()
            .to(SHIPMENTS)
            .concurrency(64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn names_of_every_script_are_printed_and_symbols_are_not() {
        for name in ["Ada Lovelace", "Grace O’Hara-Müller", "李小龍", "Ольга"] {
            assert_eq!(LabelPrinter.print(name).await, Ok(()), "{name}");
        }
        let refused = LabelPrinter.print("Ada ☠").await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the label printer has no glyph for '☠' (U+2620)"
        );
    }
}
