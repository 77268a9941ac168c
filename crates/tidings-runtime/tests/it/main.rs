//! The engine against a broker of a few lines, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alone;
mod asking;
mod away;
mod bad_days;
mod behaviour;
mod broker;
mod inbox;
mod once;
mod outputs;
mod returned;
mod seeking;
mod simulation;
mod world;
