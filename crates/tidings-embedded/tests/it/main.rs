//! What the embedded broker promises, each with the fault that a wrong one fails.
#![allow(
    clippy::unwrap_used,
    reason = "the lint knows tests by their attribute, not the words that they share"
)]
#![allow(
    clippy::print_stdout,
    reason = "children talk to the test that started them, and a test that skips itself says so"
)]
#![allow(clippy::single_range_in_vec_init, reason = "a list of ranges is meant")]

mod clocks;
mod compacting;
mod crashes;
mod deaths;
mod delayed;
mod engine;
mod faults;
mod flips;
mod full_disk;
mod groups;
mod healing;
mod memory;
mod model;
mod opening;
mod owner;
mod pressure;
mod publishing;
mod reading;
mod real_disk;
mod repairing;
mod retention;
mod scale;
mod shutdown;
mod signals;
mod snapshots;
mod support;
