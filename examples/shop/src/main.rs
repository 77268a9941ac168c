//! The shop as a program.

mod args;

use args::{Args, Command};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(Args::Run(command)) => command,
        Ok(Args::Help) => {
            // A closed stdout is no reason to fail.
            let _ = write!(std::io::stdout(), "{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error, 2),
    };
    match command {
        Command::Serve(options) => {
            let colours = std::io::stderr().is_terminal();
            tracing_subscriber::fmt()
                .with_writer(std::io::stderr)
                .with_ansi(colours)
                .with_target(false)
                .init();
            match shop::serve::run(options) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, 1),
            }
        }
        Command::Load(options) => match shop::load::run(options) {
            Ok(shop::load::Verdict::AsExpected) => ExitCode::SUCCESS,
            Ok(shop::load::Verdict::Wrong) => ExitCode::FAILURE,
            Err(error) => fail(&error, 1),
        },
    }
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(code)
}
