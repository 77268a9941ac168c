//! Servers that stay until they are told to go: `cargo xtask brokers up|down|status`.
//!
//! Each lives in `target/brokers/up/NAME`, with one record for each process: its id and its start time. The record is
//! written before the server may start, so a command that is killed in the middle leaves nothing that the next one
//! does not see. One command at a time works on a server, the others wait for a lock.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::error::{BrokersError, again_after_port_races};
use crate::identity::Identity;
use crate::kafka::{self, Layout};
use crate::place;
use crate::postgres::{self, PostgresLayout};
use crate::rabbit::{self, RabbitLayout};
use crate::run_directory::recorded;

/// What a server tells about itself while it is up.
const ABOUT: &str = "about";
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// A server that can stay. A new kind is a new variant here and an arm in each `match` below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Server {
    /// Apache Kafka.
    Kafka(Layout),
    /// RabbitMQ.
    Rabbit(RabbitLayout),
    /// PostgreSQL.
    Postgres(PostgresLayout),
}

impl Server {
    /// Every server, in the order in which people see them.
    pub fn all() -> impl Iterator<Item = Self> {
        let kafkas = Layout::ALL.into_iter().map(Self::Kafka);
        let rabbits = RabbitLayout::ALL.into_iter().map(Self::Rabbit);
        kafkas
            .chain(rabbits)
            .chain(PostgresLayout::ALL.into_iter().map(Self::Postgres))
    }

    /// The server of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|server| server.name() == name)
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka(layout) => layout.name(),
            Self::Rabbit(layout) => layout.name(),
            Self::Postgres(layout) => layout.name(),
        }
    }

    fn directory(self) -> PathBuf {
        let home = match self {
            Self::Kafka(_) | Self::Rabbit(_) => place::background(),
            Self::Postgres(_) => postgres::background::home(),
        };
        home.join(self.name())
    }

    /// What ends one of its processes in an orderly way.
    fn stop_signal(self) -> Signal {
        match self {
            Self::Kafka(_) | Self::Rabbit(_) => Signal::TERM,
            Self::Postgres(_) => postgres::background::STOP,
        }
    }

    fn start(self, directory: &Path) -> Result<(), BrokersError> {
        match self {
            Self::Kafka(layout) => kafka::background::start(layout, directory),
            Self::Rabbit(layout) => rabbit::background::start(layout, directory),
            Self::Postgres(layout) => postgres::background::start(layout, directory),
        }
    }

    /// Whether a process that listens there can be used.
    fn answers(self, process: &str, port: u16) -> bool {
        match self {
            Self::Kafka(layout) => kafka::background::answers(layout, port),
            Self::Rabbit(_) => rabbit::background::answers(process, port),
            Self::Postgres(_) => postgres::background::answers(port),
        }
    }
}

/// One process of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What the process is called: `node-1`.
    pub process: String,
    /// Its id, if it lives.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: u16,
    /// Whether it can be used.
    pub ready: bool,
}

/// A server that is up: what a person needs to use it, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Up {
    /// `name value`, for example `url kafka://127.0.0.1:24242`.
    pub lines: Vec<String>,
    /// Whether this call started it.
    pub started: bool,
}

/// Starts a server and waits until it is ready, unless it is so already.
///
/// # Errors
/// As [`Kafka::start`](crate::Kafka::start).
pub fn up(server: Server) -> Result<Up, BrokersError> {
    let _lock = lock(server)?;
    let directory = server.directory();
    let found = look(server, &directory);
    if !found.is_empty() && found.iter().all(|status| status.ready) {
        return Ok(Up {
            lines: about(&directory, "say "),
            started: false,
        });
    }
    let started = again_after_port_races(|| {
        end(server, &directory)?;
        std::fs::create_dir_all(&directory).map_err(BrokersError::file("create", &directory))?;
        server.start(&directory)
    });
    if let Err(error) = started {
        // The error holds the end of the log; a broken server would only be in the way.
        end(server, &directory)?;
        return Err(error);
    }
    Ok(Up {
        lines: about(&directory, "say "),
        started: true,
    })
}

/// Ends a server and removes its directory; true when there was something to end.
///
/// # Errors
/// A process survives SIGKILL, or the directory cannot be removed.
pub fn down(server: Server) -> Result<bool, BrokersError> {
    let _lock = lock(server)?;
    let directory = server.directory();
    let was_there = directory.exists();
    end(server, &directory)?;
    Ok(was_there)
}

/// The processes of a server, living or not; empty when it is down.
#[must_use]
pub fn status(server: Server) -> Vec<Status> {
    look(server, &server.directory())
}

/// The file that a server writes about itself before it starts.
#[derive(Debug, Default)]
pub(crate) struct About {
    text: String,
}

impl About {
    /// One of its processes, named as its record is, and where it listens.
    pub(crate) fn process(&mut self, name: &str, port: u16) {
        self.text.push_str(&format!("node {name} {port}\n"));
    }

    /// A line for people, see [`Up`].
    pub(crate) fn say(&mut self, line: &str) {
        self.text.push_str(&format!("say {line}\n"));
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<(), BrokersError> {
        let path = directory.join(ABOUT);
        std::fs::write(&path, &self.text).map_err(BrokersError::file("write", &path))
    }
}

fn lock(server: Server) -> Result<File, BrokersError> {
    let directory = place::background();
    std::fs::create_dir_all(&directory).map_err(BrokersError::file("create", &directory))?;
    let path = directory.join(format!("{}.lock", server.name()));
    let file = File::create(&path).map_err(BrokersError::file("create", &path))?;
    file.lock().map_err(BrokersError::file("lock", &path))?;
    Ok(file)
}

fn look(server: Server, directory: &Path) -> Vec<Status> {
    let records = recorded(directory);
    let nodes = about(directory, "node ");
    let statuses = nodes.iter().filter_map(|line| {
        let (process, port) = line.split_once(' ')?;
        let port = port.parse().ok()?;
        let record = records.iter().find(|(name, _)| name == process);
        let living = record.and_then(|(_, identity)| identity.as_ref().filter(|identity| identity.lives()));
        Some(Status {
            process: process.to_owned(),
            pid: living.map(|identity| identity.pid),
            port,
            // Somebody else may have the port of a process that is gone.
            ready: living.is_some() && server.answers(process, port),
        })
    });
    statuses.collect()
}

/// The lines of the file that start with a word, without it.
fn about(directory: &Path, start: &str) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join(ABOUT)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix(start));
    lines.map(str::to_owned).collect()
}

/// Ends what the records name and removes the directory: nodes all at once, then what they stand on.
fn end(server: Server, directory: &Path) -> Result<(), BrokersError> {
    let (nodes, beside): (Vec<_>, Vec<_>) = recorded(directory)
        .into_iter()
        .filter_map(|(name, identity)| Some((name, identity?)))
        .partition(|(name, _)| name.starts_with("node-"));
    for processes in [nodes, beside] {
        end_all(&processes, server.stop_signal())?;
    }
    if let Server::Postgres(_) = server {
        postgres::background::tidy(directory)?;
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BrokersError::file("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

fn end_all(processes: &[(String, Identity)], signal: Signal) -> Result<(), BrokersError> {
    for (_, process) in processes {
        process.signal(signal);
        // A frozen one would not hear it.
        process.signal(Signal::CONT);
    }
    for (_, process) in processes {
        if !process.wait(STOP_PATIENCE) {
            process.signal(Signal::KILL);
            if !process.wait(KILL_PATIENCE) {
                let survived = std::io::Error::other("it survives SIGKILL; is its disk gone?");
                let what = format!("process {}", process.pid);
                return Err(BrokersError::io("end", what)(survived));
            }
        }
    }
    Ok(())
}
