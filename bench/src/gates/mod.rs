//! Gates: what a message costs in instructions and allocations, held to recorded figures.
//!
//! Times on shared machines say nothing about two percent; instructions of a single-threaded core repeat almost
//! exactly. So each [core](cores::Core) runs as a process of its own under callgrind, once with `n` messages and once
//! with `2n`: what happens once is in both and falls out of the difference. Allocations are counted in the same way by
//! this program's own allocator, without callgrind.
//!
//! The recorded figures are in `bench/gates.toml`. More than two percent above an instruction count fails, and so does
//! any more allocations; what got cheaper by more than that is said, so that it can be recorded.

pub(crate) mod cores;
mod record;
mod run;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::error::BenchError;
use cores::Core;
use record::{Judgement, Record};

/// The first argument of a process that runs one core.
pub(crate) const MARK: &str = "count";
/// The first argument of this program when it checks the gates.
pub(crate) const COMMAND: &str = "gates";

/// Checks every core, or records what it costs with `--record`.
pub(crate) fn check(arguments: &[String]) -> ExitCode {
    let recording = match arguments {
        [] => false,
        [only] if only == "--record" => true,
        _ => {
            eprintln!("error: `gates` takes `--record` or nothing");
            return ExitCode::from(2);
        }
    };
    match checked(recording) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn checked(recording: bool) -> Result<bool, BenchError> {
    if cfg!(debug_assertions) {
        return Err(BenchError::part("the gates")(
            "built without optimisation: run `cargo xtask gates`",
        ));
    }
    valgrind()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gates.toml");
    let mut record = Record::load(&path)?;
    let mut holds = true;
    println!("{:<42}{:>14}{:>14}", "core", "instructions", "allocations");
    for core in Core::ALL {
        let cost = run::measured(core)?;
        let judgement = record.judge(core.name(), cost);
        holds &= recording || judgement.holds();
        println!(
            "{:<42}{:>14.1}{:>14.4}  {judgement}",
            core.name(),
            cost.instructions,
            cost.allocations
        );
        if recording && !matches!(judgement, Judgement::AsRecorded) {
            record.put(core.name(), cost);
        }
    }
    if recording {
        record.store(&path)?;
        println!("\nrecorded in {}", path.display());
    } else if !holds {
        println!(
            "\nA core got dearer. Make it cheap again, or say in the commit why it may cost that and run \
             `cargo xtask gates --record`."
        );
    }
    Ok(holds)
}

/// Whether there is a valgrind to count with.
fn valgrind() -> Result<(), BenchError> {
    let found = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => Err(BenchError::part("the gates")(
            "`valgrind --version` does not run; `apt-get install valgrind` brings it",
        )),
    }
}
