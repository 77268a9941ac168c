//! `cargo xtask bench`: the benchmark program, built as it is measured.

use crate::Verdict;
use crate::cargo::{cargo, run_step};
use crate::error::XtaskError;

/// Runs the rows that are named, or all. The program itself writes its results below `target/bench`.
pub(crate) fn run(rows: &[String]) -> Result<Verdict, XtaskError> {
    let mut command = cargo(&["run", "--release", "--package", "bench", "--"]);
    run_step(command.args(rows))?;
    Ok(Verdict::Clean)
}
