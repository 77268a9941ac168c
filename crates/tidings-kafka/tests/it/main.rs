//! The driver on a real Kafka, whose address is in `TIDINGS_TEST_KAFKA`: `127.0.0.1:9092`. Without it every test says
//! that it was skipped.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod admin;
mod groups;
mod members;
mod options;
mod reading;
mod sink;
mod support;
