//! `cargo xtask bench` and `cargo xtask gates`: the benchmark program, built as it is measured.

use crate::Verdict;
use crate::cargo::{cargo, run_step};
use crate::error::XtaskError;

/// Runs the rows that are named, or all. The program itself writes its results below `target/bench`.
pub(crate) fn run(rows: &[String]) -> Result<Verdict, XtaskError> {
    let mut command = cargo(&["run", "--release", "--package", "bench", "--"]);
    run_step(command.args(rows))?;
    Ok(Verdict::Clean)
}

/// Counts what a message costs and holds it to what is recorded. Needs valgrind, and says so.
pub(crate) fn gates(arguments: &[String]) -> Result<Verdict, XtaskError> {
    // Without brokers and rivals, which no gate needs.
    let mut command = cargo(&["run", "--release", "--package", "bench"]);
    command.args(["--no-default-features", "--", "gates"]);
    run_step(command.args(arguments))?;
    Ok(Verdict::Clean)
}
