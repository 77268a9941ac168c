//! Campaigns that are short enough for every change, and the proof that the checker would notice.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, also where clippy takes their helpers for something else"
)]

mod campaigns;
mod databases;
mod plants;
mod program;
