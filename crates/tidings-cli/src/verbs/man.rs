//! `tidings man`.

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use clap::{Args, CommandFactory};
use std::path::PathBuf;

/// What `man` understands.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where the pages go; it is made if it is missing
    directory: PathBuf,
}

/// Writes a page for the program and one for each verb.
pub(crate) fn run(args: &ManArgs, out: &mut Out) -> Result<Exit, CliError> {
    let directory = &args.directory;
    let failed = |error| CliError::io(format!("write manual pages to {}", directory.display()), error);
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    out.remark(&format!(
        "manual pages are in {}: read one with man {}/tidings.1",
        directory.display(),
        directory.display()
    ))?;
    Ok(Exit::Done)
}
