//! Every event of the shop as one type, for those who follow all of them.
//!
//! A handler usually says which event it wants by `Json<PaymentTaken>` and `.only::<PaymentTaken>()`. Projections and
//! the notification service want several from one channel: they take a [`ShopEvent`], an extractor of the shop's own.

use crate::billing::InvoiceIssued;
use crate::inventory::{OrderRejected, StockDelivered, StockReleased, StockReserved};
use crate::notification::MailSent;
use crate::order::OrderPlaced;
use crate::payment::{PaymentDeclined, PaymentTaken};
use crate::shipping::ShipmentCreated;
use tidings::{Delivery, Event, Failure, FromDelivery, Payload, names};

/// One of the shop's events.
#[derive(Debug, Clone)]
pub enum ShopEvent {
    /// From the order service.
    Placed(OrderPlaced),
    /// From inventory.
    Reserved(StockReserved),
    /// From inventory.
    Rejected(OrderRejected),
    /// From inventory.
    Released(StockReleased),
    /// From inventory.
    Delivered(StockDelivered),
    /// From payment.
    Paid(PaymentTaken),
    /// From payment.
    Declined(PaymentDeclined),
    /// From shipping.
    Shipped(ShipmentCreated),
    /// From billing.
    Invoiced(InvoiceIssued),
    /// From notification.
    Mailed(MailSent),
    /// An event that a newer version of the shop publishes: nothing to an older one, and no dead letter either.
    Unknown,
}

impl<S> FromDelivery<S> for ShopEvent {
    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        let decoded = match delivery.header(names::TYPE) {
            Some(OrderPlaced::NAME) => Self::Placed(decode(delivery)?),
            Some(StockReserved::NAME) => Self::Reserved(decode(delivery)?),
            Some(OrderRejected::NAME) => Self::Rejected(decode(delivery)?),
            Some(StockReleased::NAME) => Self::Released(decode(delivery)?),
            Some(StockDelivered::NAME) => Self::Delivered(decode(delivery)?),
            Some(PaymentTaken::NAME) => Self::Paid(decode(delivery)?),
            Some(PaymentDeclined::NAME) => Self::Declined(decode(delivery)?),
            Some(ShipmentCreated::NAME) => Self::Shipped(decode(delivery)?),
            Some(InvoiceIssued::NAME) => Self::Invoiced(decode(delivery)?),
            Some(MailSent::NAME) => Self::Mailed(decode(delivery)?),
            _ => Self::Unknown,
        };
        Ok(decoded)
    }
}

fn decode<E>(delivery: &Delivery) -> Result<E, Failure>
where
    Payload<E>: FromDelivery<()>,
{
    Payload::from_delivery(delivery, &()).map(|Payload(event)| event)
}
