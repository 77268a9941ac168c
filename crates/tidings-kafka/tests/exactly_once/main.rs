//! Exactly once against a real Kafka, judged by a reader of what is committed: processes that are killed and frozen, a
//! broker that dies, members that come and go, handlers that fail.
//!
//! Every test starts a Kafka of its own, one at a time; where Java is missing they say that they were skipped.
//! `TIDINGS_ONCE_MESSAGES=100000` makes the runs with faults a campaign.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod campaign;
mod child;
mod given_up;
mod ledger;
mod seam;
mod service;
mod support;
mod zombie;
