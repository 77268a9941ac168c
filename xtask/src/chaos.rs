//! `cargo xtask chaos`: the crash campaign, in a release build.

use crate::Verdict;
use crate::cargo::{cargo, run_step};
use crate::error::XtaskError;

/// Runs campaigns. The program itself prints seed and directory, and how to repeat what found something.
pub(crate) fn run(arguments: &[String]) -> Result<Verdict, XtaskError> {
    let mut command = cargo(&["run", "--release", "--package", "chaos", "--", "run"]);
    run_step(command.args(arguments))?;
    Ok(Verdict::Clean)
}
