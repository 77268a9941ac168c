//! The driver against a real Kafka that is killed, frozen, restarted, asked for too much or written to by others.
//!
//! Most tests start a Kafka of their own, one at a time, because they break it; where Java is missing they say that
//! they were skipped. `TIDINGS_STORM_SECONDS=60` lets the storms of members last longer.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod away;
mod cluster;
mod deleted;
mod fresh;
mod health;
mod load;
mod lost;
mod own;
mod receipts;
mod shapes;
mod storm;
mod tools;
