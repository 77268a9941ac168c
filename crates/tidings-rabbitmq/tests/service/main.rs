//! Whole services on a real RabbitMQ.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acknowledging;
mod cluster;
mod delays;
mod existing;
mod faults;
mod handling;
mod letters;
mod poison;
mod refused;
mod requests;
mod runtimes;
mod sharing;
mod topology;
mod waits;
mod world;
