//! Exactly once against a real Kafka, judged by a reader of what is committed: processes that are killed and frozen, a
//! broker that dies, members that come and go, handlers that fail.
//!
//! Most tests share a Kafka; those that break theirs start one of their own, one at a time. Where Java is missing they
//! say that they were skipped.
//! `TIDINGS_ONCE_MESSAGES=100000` makes the runs with faults a campaign.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod campaign;
mod child;
mod given_up;
mod ledger;
mod publishing;
mod seam;
mod service;
mod support;
mod zombie;
