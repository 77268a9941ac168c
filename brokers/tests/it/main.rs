//! The promises of this crate on real servers; each test has its own, and says so where none can be had.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, also where clippy takes their helpers for something else"
)]

mod amqp;
mod background;
mod cluster;
mod fetch;
mod openssl;
mod orphans;
mod plain;
mod postgres;
mod rabbit;
mod rabbit_cluster;
mod rabbit_secure;
mod secure;
mod support;
