//! Arms that are processes of their own, on one core, with the broker on the other.
//!
//! An arm says one line of JSON at its end. The programs of other libraries in other languages say the same line, so
//! that all are started, pinned and compared in one way.

pub(crate) mod cores;
pub(crate) mod job;
pub(crate) mod made;
pub(crate) mod peers;
pub(crate) mod publishing;
pub(crate) mod reading;

use std::process::ExitCode;

use crate::error::BenchError;
use job::{Job, Outcome};

/// The first argument of a process that plays an arm; the second is the job.
pub(crate) const MARK: &str = "arm";

/// Plays the arm of the job.
pub(crate) fn run(arguments: &[String], play: impl FnOnce(&Job) -> Result<Outcome, BenchError>) -> ExitCode {
    let job = match arguments {
        [job] => serde_json::from_str(job).map_err(BenchError::part("reading the job")),
        _ => Err(BenchError::Arguments(format!("{MARK} takes one job"))),
    };
    match job.and_then(|job| play(&job)) {
        Ok(outcome) => {
            println!("{}", outcome.line());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
