//! The driver on a Kafka with TLS, passwords, tokens and access control. Apart from the other tests because everything
//! that is logged here is kept and searched for secrets.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod denied;
mod endpoint;
mod pages;
mod refused;
mod support;
mod ways_in;
