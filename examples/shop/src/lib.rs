//! A tea shop of seven services that talk through events: the running example of Tidings.
//!
//! Start reading at [`shop::app`], which puts the services together, then follow an order: [`order`] takes it in,
//! [`inventory`] reserves its stock, [`payment`] charges its card, [`shipping`] and [`billing`] work beside each other,
//! [`notification`] writes the mail, [`analytics`] counts. Each service is one module: its events, its handlers, its
//! state, and a function `app` that says which channel each handler reads and how.
//!
//! | channel | events | from | read by |
//! |---|---|---|---|
//! | `orders` | `order.placed` | order | inventory |
//! | `stock` | `stock.reserved`, `order.rejected`, `stock.released`, `stock.delivered` | inventory | payment, notification |
//! | `charges` | `charge.answered` | payment | payment |
//! | `payments` | `payment.taken`, `payment.declined` | payment | shipping, billing, analytics, inventory, notification |
//! | `shipments` | `shipment.created` | shipping | notification |
//! | `invoices` | `invoice.issued` | billing | – |
//! | `mails` | `mail.sent` | notification | – |
//!
//! The order service reads all of them to tell each order's story.
//!
//! Three rules make it right through crashes at any moment: every event is keyed by its order; what a handler
//! publishes follows from the order alone, so handling a message twice says the same thing twice; and whoever keeps
//! state rebuilds it from events, or keeps it in the [`database`] together with the events that tell of it.

pub mod analytics;
pub mod billing;
pub mod channel;
pub mod database;
pub mod desk;
pub mod domain;
pub mod event;
pub mod http;
pub mod inventory;
pub mod load;
pub mod notification;
pub mod order;
pub mod page;
pub mod payment;
pub mod serve;
pub mod service;
pub mod shipping;
pub mod shop;
