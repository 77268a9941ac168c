//! `tidings`: looks into, publishes to and repairs what services talk about, from a terminal or a script.
//!
//! Every verb works on any broker that a URL of an app names, also while the app runs. People get tables, programs one
//! JSON object a line; `docs/cli.md` is the reference.

mod args;
mod broker;
mod configuration;
mod confirm;
mod error;
mod exit;
mod names;
mod out;
mod place;
mod reading;
mod time;
mod verbs;

use args::Cli;
use clap::Parser;
use error::CliError;
use exit::Exit;
use out::{Colour, Out, Remarks, Style};
use std::io::Write;
use std::process::ExitCode;
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::prelude::*;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return refused_or_helped(&answer),
    };
    let remarks = cli.global.remarks();
    if remarks == Remarks::Shown {
        show_warnings();
    }
    let mut out = Out::new(cli.global.form(), remarks);
    let done = verbs::run(cli, &mut out).and_then(|exit| out.flush().map(|()| exit));
    match done {
        Ok(exit) => exit.into(),
        Err(CliError::ClosedPipe) => Exit::Done.into(),
        Err(error) => {
            // What was found before it failed is worth seeing; whether it can be written makes no difference now.
            let _ = out.flush();
            let _ = writeln!(
                std::io::stderr(),
                "{} {error}",
                Colour::of(&std::io::stderr()).paint(Style::Error, "error:")
            );
            error.exit().into()
        }
    }
}

/// What the broker and the engine warn of, as remarks: a repaired log, a letter that cannot go back. What they call an
/// error is an error of the verb too, and is told once; so is a server that is away.
fn show_warnings() {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(Colour::of(&std::io::stderr()) == Colour::On)
        .with_target(false)
        .without_time();
    let warnings = filter_fn(|metadata| {
        *metadata.level() == Level::WARN && !metadata.target().starts_with("tidings_rabbitmq::connection")
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(warnings))
        .init();
}

/// Help and the version are answers and no mistakes.
fn refused_or_helped(answer: &clap::Error) -> ExitCode {
    // A closed standard output is no reason to fail.
    let _ = answer.print();
    if answer.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Done.into()
    }
}
