//! The channels, by name: what the services agree on.

/// Orders that were placed. From the order service.
pub const ORDERS: &str = "orders";
/// What became of the stock: reserved, short, released, delivered. From inventory.
pub const STOCK: &str = "stock";
/// What the bank answered, before it is kept. From payment, to payment.
pub const CHARGES: &str = "charges";
/// What became of payments. From payment.
pub const PAYMENTS: &str = "payments";
/// Parcels. From shipping.
pub const SHIPMENTS: &str = "shipments";
/// Invoices. From billing.
pub const INVOICES: &str = "invoices";
/// Mails. From notification.
pub const MAILS: &str = "mails";

/// All of them.
pub const ALL: [&str; 7] = [ORDERS, STOCK, CHARGES, PAYMENTS, SHIPMENTS, INVOICES, MAILS];
