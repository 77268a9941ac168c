//! Tests of the management address.
#![allow(clippy::unwrap_used, reason = "what only tests use")]
