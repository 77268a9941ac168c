//! The promises of this crate on real servers; each test has its own, and says so where none can be had.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, also where clippy takes their helpers for something else"
)]

mod background;
mod cluster;
mod fetch;
mod orphans;
mod plain;
mod secure;
mod support;
