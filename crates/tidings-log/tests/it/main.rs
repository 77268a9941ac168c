//! The log as its users see it.

// The lint spares functions marked as tests, and these have helpers.
#![allow(clippy::unwrap_used)]

mod compaction;
mod crash;
mod damage;
mod faults;
mod format;
mod freezing;
mod healing;
mod lookup;
mod model;
mod pool;
mod reading;
mod repairing;
mod subsets;
mod support;
mod verifying;
