//! `cargo xtask reference`: writes what is generated from the records of the configuration.

use crate::Verdict;
use crate::cargo::{cargo, run_step};
use crate::error::{XtaskError, no_arguments};

/// Writes `docs/configuration.md` and `schema/tidings.schema.json` anew. The tests that compare them write them when
/// this variable is set, so that there is one way to make them.
pub(crate) fn run(arguments: &[String]) -> Result<Verdict, XtaskError> {
    no_arguments("reference", arguments)?;
    let test = [
        "test",
        "-p",
        "tidings-config",
        "--test",
        "it",
        "--",
        "in_the_repository",
    ];
    run_step(cargo(&test).env("TIDINGS_WRITE_REFERENCE", "1"))?;
    Ok(Verdict::Clean)
}
