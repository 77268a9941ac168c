//! Exactly-once subscriptions against a broker with transactions, in virtual time.

mod behaviour;
mod broker;
mod claims;
mod simulation;
mod source;
mod world;
