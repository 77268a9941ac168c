//! Why a server could not be had: [`BrokersError`].

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::rabbit::EPMD;

/// Why a server could not be started, reached or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokersError {
    /// A program is not installed. Tests are skipped then, see [`or_skip`](crate::or_skip).
    #[error("`{program}` is not installed or not on the PATH; {cure}")]
    MissingProgram {
        /// What was looked for.
        program: &'static str,
        /// How it is installed.
        cure: &'static str,
    },
    /// A program ran and failed.
    #[error("`{command}` ended with {status}; the end of its output:\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// A program did not end in time and was killed.
    #[error("`{command}` did not end within {after:?} and was killed; the end of its output:\n{output}")]
    Deadline {
        /// The command line.
        command: String,
        /// How long it was given.
        after: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// A server ended before it was ready.
    #[error("{server} ended with {status} before it was ready; the end of {log}:\n{end}", log = log.display())]
    Ended {
        /// Which server.
        server: String,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The log's end.
        end: String,
    },
    /// A server runs but was not ready in time.
    #[error("{server} was not ready within {after:?} ({last}); the end of {log}:\n{end}", log = log.display())]
    NotReady {
        /// Which server.
        server: String,
        /// How long it was waited for.
        after: Duration,
        /// What the last question gave.
        last: String,
        /// Its log.
        log: PathBuf,
        /// The log's end.
        end: String,
    },
    /// The Maven repository gave less than Kafka needs.
    #[error("{directory} has no {jar}, although mvn ended well; remove the directory and try again", directory = directory.display())]
    IncompleteJars {
        /// Where the jars are.
        directory: PathBuf,
        /// One that is missing.
        jar: String,
    },
    /// There are not enough free ports.
    #[error(
        "found no free port between {from} and {to} on 127.0.0.1; end what holds them (`ss -ltnp` lists it)"
    )]
    NoPort {
        /// The first one tried.
        from: u16,
        /// The last one tried.
        to: u16,
    },
    /// The server has no such node.
    #[error("there is no node {node}; this server has the nodes 1 to {nodes}")]
    NoNode {
        /// What was asked for.
        node: u32,
        /// How many there are.
        nodes: usize,
    },
    /// The node is not running.
    #[error("node {node} is not running; start it with `start_node({node})`")]
    NodeStopped {
        /// Which one.
        node: u32,
    },
    /// The server has no such listener.
    #[error("this server has no listener {listener}; start it with the options that open one")]
    NoListener {
        /// What was asked for.
        listener: &'static str,
    },
    /// A broker answered what could not be understood, or refused.
    #[error("the broker at {address} {problem}")]
    Protocol {
        /// Which broker.
        address: String,
        /// What it did.
        problem: String,
    },
    /// RabbitMQ's management API gave no answer, or not the one that was hoped for.
    #[error("the request {request} {problem}")]
    Api {
        /// Method and path.
        request: String,
        /// What was answered; `None` without an answer.
        status: Option<u16>,
        /// What became of it.
        problem: String,
    },
    /// A variable that names a server says nothing that can be used.
    #[error("the variable {variable} {problem}")]
    Variable {
        /// Which one.
        variable: &'static str,
        /// What is wrong with it, and how it should be.
        problem: String,
    },
    /// A file, process or socket could not be used.
    #[error("cannot {doing} {what}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl BrokersError {
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(doing, path.display().to_string())
    }

    pub(crate) fn io(doing: &'static str, what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { doing, what, source }
    }

    /// Whether this machine lacks a program, which is a reason to skip and none to fail.
    #[must_use]
    pub fn is_missing_program(&self) -> bool {
        matches!(self, Self::MissingProgram { .. })
    }

    /// Whether another process took a port between its choice and its use. Erlang has its own words for it, and epmd none:
    /// it takes whoever listens there for another epmd and ends.
    fn lost_a_port_race(&self) -> bool {
        let words = ["Address already in use", "eaddrinuse", "distribution port"];
        match self {
            Self::Ended { server, end, .. } => {
                server.ends_with(EPMD) || words.iter().any(|words| end.contains(words))
            }
            _ => false,
        }
    }
}

/// Starts something that takes free ports, and again where somebody else was faster.
pub(crate) fn again_after_port_races<T>(
    mut start: impl FnMut() -> Result<T, BrokersError>,
) -> Result<T, BrokersError> {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match start() {
            Err(error) if error.lost_a_port_race() => {}
            result => return result,
        }
    }
    start()
}

/// How much of a log a message shows.
const LINES: usize = 30;

/// The last lines of a text, for messages.
pub(crate) fn tail(text: &str) -> String {
    let from = text.lines().count().saturating_sub(LINES);
    shown(text.lines().skip(from))
}

/// The first lines of a text, for messages.
pub(crate) fn head(text: &str) -> String {
    shown(text.lines().take(LINES))
}

fn shown<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("  {line}")).collect();
    match lines.is_empty() {
        true => "  (nothing)".into(),
        false => lines.join("\n").trim_end().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_lost_its_port_is_tried_again_and_one_that_failed_otherwise_is_not() {
        let ended = |server: &str, end: &str| BrokersError::Ended {
            server: server.into(),
            status: "exit status: 1".into(),
            log: "node-1.log".into(),
            end: end.into(),
        };
        for (server, end, tries) in [
            (
                "kafka, node 1",
                "java.net.BindException: Address already in use",
                5,
            ),
            (
                "rabbitmq, node 1",
                "Failed to start Ranch listener: eaddrinuse",
                5,
            ),
            (
                "rabbitmq, node 1",
                "distribution port 28301 on host localhost. It could be in use",
                5,
            ),
            ("rabbitmq, epmd", "(nothing)", 5),
            ("rabbitmq, node 1", "no such key", 1),
        ] {
            let mut tried = 0;
            let result: Result<(), _> = again_after_port_races(|| {
                tried += 1;
                Err(ended(server, end))
            });
            assert!(result.is_err());
            assert_eq!(tried, tries, "{server}: {end}");
        }
    }
}
