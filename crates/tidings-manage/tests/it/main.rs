//! The management address as tools and attackers see it.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod attacks;
mod binder;
mod long;
mod snapshots;
mod support;
mod ways;
