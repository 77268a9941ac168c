//! The workspace's own commands, started as `cargo xtask <command>`.
//!
//! One list, [`COMMANDS`], holds every command with its help and its function; the usage text and the check of the
//! README's `cargo xtask` lines are read from it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to the person who started it"
)]

mod bench;
mod brokers;
mod cargo;
mod chaos;
mod error;
mod floors;
mod http;
mod links;
mod lint;
mod programs;
mod readme;
mod reference;
mod servers;
mod summary;
mod test;
mod tidy;

use std::process::ExitCode;

use crate::error::XtaskError;

/// How a command ended when it ended at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything holds.
    Clean,
    /// Something does not hold, and the command has already said what.
    Failed,
}

/// One command of this program.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<Verdict, XtaskError>,
}

/// Every command, in the order in which the help shows them.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        arguments: "[CARGO OPTIONS] [-- FILTER]",
        about: "every test of the workspace and one summary; names what it skips",
        run: test::run,
    },
    Command {
        name: "lint",
        arguments: "",
        about: "tidiness, floors, format, clippy, docs, README, licences",
        run: lint::run,
    },
    Command {
        name: "floors",
        arguments: "",
        about: "dependencies between our crates go strictly down",
        run: floors::run,
    },
    Command {
        name: "readme",
        arguments: "",
        about: "does what the README tells a stranger to do, and checks the answers",
        run: readme::run,
    },
    Command {
        name: "reference",
        arguments: "",
        about: "writes docs/configuration.md and the schema anew",
        run: reference::run,
    },
    Command {
        name: "bench",
        arguments: "[--short] [--publish] [ROW...]",
        about: "runs the benchmark rows, all of them when none is named",
        run: bench::run,
    },
    Command {
        name: "gates",
        arguments: "[--record]",
        about: "instructions and allocations a message, held to recorded figures",
        run: bench::gates,
    },
    Command {
        name: "brokers",
        arguments: "up|down|status [SERVER...]",
        about: "real servers to try things on (kafka, rabbitmq, each also -secure and -cluster; postgres, postgres-durable, postgres-secure)",
        run: brokers::run,
    },
    Command {
        name: "chaos",
        arguments: "[--minutes N] [--seed S] [...]",
        about: "kills processes while they work and checks what is left",
        run: chaos::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("error: no command \"{name}\"\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask <command>\n\n");
    for command in COMMANDS {
        let call = format!("{} {}", command.name, command.arguments);
        text.push_str(&format!("  {call:<37}{}\n", command.about));
    }
    text
}
