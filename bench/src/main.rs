//! What Tidings costs, beside what it is compared with.
//!
//! `cargo xtask bench [ROW...]` runs the rows, prints a table and writes `target/bench/<date>.json`. Every row has a
//! reference beside it in the same process and the same run: the loop that a careful person would write by hand. Only
//! ratios of such pairs say anything on machines that are shared; figures without a pair are context. A row that
//! misses its target stays in the table and says so.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who started it"
)]
#![cfg_attr(
    not(feature = "rows"),
    allow(dead_code, reason = "the gates share only a part of what the rows need")
)]

mod allocations;
#[cfg(feature = "rows")]
mod apart;
#[cfg(feature = "rows")]
mod arguments;
mod arms;
#[cfg(feature = "rows")]
mod child;
#[cfg(feature = "rows")]
mod compare;
#[cfg(feature = "rows")]
mod date;
mod error;
mod gates;
#[cfg(feature = "rows")]
mod kafka;
#[cfg(feature = "rows")]
mod machine;
mod measure;
mod order;
#[cfg(feature = "rows")]
mod pairs;
#[cfg(feature = "rows")]
mod publish;
#[cfg(feature = "rows")]
mod rabbit;
#[cfg(feature = "rows")]
mod report;
#[cfg(feature = "rows")]
mod rows;
#[cfg(feature = "rows")]
mod sql;
#[cfg(feature = "rows")]
mod table;
#[cfg(feature = "rows")]
mod verdict;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        Some((gates::MARK, rest)) => gates::cores::run(rest),
        Some((gates::COMMAND, rest)) => gates::check(rest),
        _ => others(&arguments),
    }
}

#[cfg(feature = "rows")]
use compare::others;

#[cfg(not(feature = "rows"))]
fn others(_: &[String]) -> ExitCode {
    eprintln!(
        "error: this program was built for `cargo xtask gates` alone; `cargo xtask bench` builds the rows too"
    );
    ExitCode::from(2)
}
