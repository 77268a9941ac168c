//! Billing: writes the invoice for a paid order.

use crate::channel::{INVOICES, PAYMENTS};
use crate::domain::{Cents, OrderId};
use crate::payment::PaymentTaken;
use serde::{Deserialize, Serialize};
use tidings::prelude::*;

/// The invoice is written.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "invoice.issued", key = "order_id")]
pub struct InvoiceIssued {
    /// The order.
    pub order_id: OrderId,
    /// The invoice's number. It follows from the order, so a second delivery makes no second invoice.
    pub invoice: String,
    /// What was paid.
    pub gross: Cents,
    /// The tax in it.
    pub tax: Cents,
}

/// How much of a price is tax.
#[derive(Debug, Clone, Copy)]
pub struct Tariff {
    /// Percent of the net price.
    pub tax_percent: u32,
}

impl Default for Tariff {
    fn default() -> Self {
        Self { tax_percent: 20 }
    }
}

/// Writes the invoice.
async fn invoice(Json(paid): Json<PaymentTaken>, State(tariff): State<Tariff>) -> InvoiceIssued {
    InvoiceIssued {
        order_id: paid.order.id,
        invoice: format!("INV-{}", paid.order.id.short()),
        gross: paid.amount,
        tax: paid.amount.tax_within(tariff.tax_percent),
    }
}

/// The billing service.
pub fn app() -> App<Tariff> {
    App::new("billing").add(
        on(PAYMENTS, invoice)
            .group("billing")
            .only::<PaymentTaken>()
            .to(INVOICES)
            .concurrency(16),
    )
}
