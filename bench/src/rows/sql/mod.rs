//! W9 to W12: inbox and outbox on PostgreSQL, beside SQL by hand.
//!
//! Each run has a database of its own, which is taken away after it.

pub(super) mod inbox;
pub(super) mod latency;
pub(super) mod relay;
