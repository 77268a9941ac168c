//! The driver on a real Kafka.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod admin;
mod groups;
mod members;
mod options;
mod reading;
mod retention;
mod sink;
mod support;
