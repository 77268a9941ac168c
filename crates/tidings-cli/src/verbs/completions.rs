//! `tidings completions`.

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// What `completions` understands.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell; its own documentation says where the script belongs
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, out: &mut Out) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidings", &mut script);
    out.bytes(&script)?;
    Ok(Exit::Done)
}
