//! Campaigns on the inbox and the outbox of a database: two processes handle the same messages, write events with their
//! transactions and run a relay each, of either kind, while they, the database and all connections are attacked.
//!
//! - [`SqlCampaign`]: who attacks what, and when.
//! - [`child`]: a process under attack.
//! - [`Place`]: where one is killed or stands still.
//! - [`Relays`]: by which way relays send.
//! - [`SqlPlant`]: bugs that are planted on purpose.
//! - [`check`]: the checker.

mod campaign;
mod checker;
pub mod child;
mod claims;
mod database;
mod handlers;
mod home;
mod hub;
mod member;
mod place;
mod plan;
mod plant;
mod relaying;
mod relays;
mod scene;
mod sending;
mod tap;
mod writing;

pub(crate) use campaign::CHILD;
pub use campaign::{SqlCampaign, SqlOutcome};
pub use checker::{SqlReport, check};
pub use place::Place;
pub use plant::SqlPlant;
pub use relays::{Relaying, Relays};
