//! Why a server could not be had: [`BrokersError`].

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

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

    /// Whether another process took a port between its choice and its use.
    pub(crate) fn lost_a_port_race(&self) -> bool {
        matches!(self, Self::Ended { end, .. } if end.contains("Address already in use"))
    }
}

/// The last lines of a text, for messages.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    let mut end = String::new();
    for line in lines.iter().skip(from) {
        end.push_str("  ");
        end.push_str(line);
        end.push('\n');
    }
    if end.is_empty() {
        end.push_str("  (nothing)\n");
    }
    end.truncate(end.trim_end().len());
    end
}
