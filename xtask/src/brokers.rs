//! `cargo xtask brokers`: servers for people, which stay until they are told to go.

use crate::Verdict;
use crate::cargo::cargo;
use crate::error::XtaskError;
use crate::programs::BROKERS;

/// Starts, ends or lists servers. The program itself says what it did, and what went wrong.
pub(crate) fn run(arguments: &[String]) -> Result<Verdict, XtaskError> {
    let mut command = cargo(&["run", "--quiet", "--package", BROKERS, "--"]);
    let status = command
        .args(arguments)
        .status()
        .map_err(|source| XtaskError::Start {
            command: crate::cargo::display(&command),
            source,
        })?;
    Ok(if status.success() {
        Verdict::Clean
    } else {
        Verdict::Failed
    })
}
