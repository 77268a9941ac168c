//! The seven services, by name.

use std::fmt;

/// One of the seven services. Its name is also that of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Takes orders in.
    Order,
    /// Keeps the stock.
    Inventory,
    /// Charges cards.
    Payment,
    /// Sends parcels.
    Shipping,
    /// Writes invoices.
    Billing,
    /// Writes mails.
    Notification,
    /// Counts the revenue.
    Analytics,
}

impl Service {
    /// All of them, in the order in which an order meets them.
    pub const ALL: [Self; 7] = [
        Self::Order,
        Self::Inventory,
        Self::Payment,
        Self::Shipping,
        Self::Billing,
        Self::Notification,
        Self::Analytics,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Shipping => "shipping",
            Self::Billing => "billing",
            Self::Notification => "notification",
            Self::Analytics => "analytics",
        }
    }

    /// The service of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
