//! The promises of this crate on real databases: a SQLite file, and PostgreSQL where it is installed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, also where clippy takes their helpers for something else"
)]

mod app;
mod fake;
mod faults;
mod fence;
mod http;
mod inbox;
mod lanes;
mod locks;
mod offline;
mod outbox;
mod relay;
mod replication;
mod store;
mod support;
mod telling;
mod tls;
mod unanswered;
