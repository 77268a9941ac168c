//! Whole services on a real RabbitMQ.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod handling;
mod letters;
mod waits;
mod world;
