//! The promises of this crate on real databases: a SQLite file, and PostgreSQL where it is installed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, also where clippy takes their helpers for something else"
)]

mod inbox;
mod locks;
mod store;
mod support;
