//! Measures one core: two runs under callgrind, two without.

use std::process::Command;

use super::MARK;
use super::cores::Core;
use super::record::Cost;
use crate::error::BenchError;

/// What a message costs in that core.
pub(super) fn measured(core: Core) -> Result<Cost, BenchError> {
    let messages = core.messages();
    let each = |short: u64, long: u64| (long as f64 - short as f64) / messages as f64;
    Ok(Cost {
        instructions: each(instructions(core, messages)?, instructions(core, 2 * messages)?),
        allocations: each(allocations(core, messages)?, allocations(core, 2 * messages)?),
    })
}

/// All instructions of a process that runs the core over so many messages.
fn instructions(core: Core, messages: u64) -> Result<u64, BenchError> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--"]);
    let (_, errors) = output(command.arg(program()?), core, messages)?;
    // callgrind's last words: `==123== Collected : 456`.
    let collected = errors
        .lines()
        .filter_map(|line| line.split_once("Collected :"))
        .filter_map(|(_, count)| count.split_whitespace().next()?.parse().ok())
        .next_back();
    collected.ok_or_else(|| BenchError::part("callgrind")(format!("no count of instructions in:\n{errors}")))
}

/// All allocations between the start of the core and its end.
fn allocations(core: Core, messages: u64) -> Result<u64, BenchError> {
    let (words, _) = output(&mut Command::new(program()?), core, messages)?;
    words
        .trim()
        .parse()
        .map_err(|_| BenchError::part("counting")(format!("no count of allocations in {words:?}")))
}

fn program() -> Result<std::path::PathBuf, BenchError> {
    std::env::current_exe().map_err(BenchError::system("finding this program"))
}

fn output(command: &mut Command, core: Core, messages: u64) -> Result<(String, String), BenchError> {
    let output = command
        .args([MARK, core.name(), &messages.to_string()])
        .output()
        .map_err(BenchError::system("starting a core"))?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(BenchError::part("a core")(format!("{}: {errors}", core.name())));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), errors))
}
