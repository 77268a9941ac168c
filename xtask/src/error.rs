//! What can go wrong in a command before it can give a verdict.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum XtaskError {
    /// The program is missing or not executable.
    #[error("cannot start `{command}`: {source}; install it or put it on the PATH")]
    Start {
        /// The command line as a person would type it.
        command: String,
        source: std::io::Error,
    },
    /// The program ran and said no.
    #[error("`{command}` failed ({status})")]
    Command { command: String, status: ExitStatus },
    /// A file of the workspace cannot be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// A pipe or a child process broke.
    #[error("{action}: {source}")]
    Io {
        action: &'static str,
        source: std::io::Error,
    },
    /// `cargo metadata` printed something this program does not understand.
    #[error("cargo metadata: {0}")]
    Metadata(String),
    /// A request of the README did not get the promised answer.
    #[error("{request}: {problem}")]
    Http { request: String, problem: String },
    /// The shop did not start, answer or stop as the README says.
    #[error("the shop {problem}; the end of its output:\n{output}")]
    Shop { problem: String, output: String },
    /// An argument that the command does not take.
    #[error("`cargo xtask {command}` takes no argument \"{argument}\"")]
    Argument { command: &'static str, argument: String },
}

/// Refuses arguments for a command that takes none.
pub(crate) fn no_arguments(command: &'static str, arguments: &[String]) -> Result<(), XtaskError> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(XtaskError::Argument {
            command,
            argument: argument.clone(),
        }),
    }
}
