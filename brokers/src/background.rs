//! Servers that stay until they are told to go: `cargo xtask brokers up|down|status`.
//!
//! Each lives in `target/brokers/up/NAME`, with one record for each process: its id and its start time. The record is
//! written before the server may start, so a command that is killed in the middle leaves nothing that the next one
//! does not see. One command at a time works on a server, the others wait for a lock.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::error::BrokersError;
use crate::identity::Identity;
use crate::kafka::{self, Jars, Layout, Listener, Options, Security, node, plan, wire};
use crate::launch::Life;
use crate::run_directory::recorded;
use crate::{place, ports};

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
}

impl Server {
    /// Every server, in the order in which people see them.
    pub fn all() -> impl Iterator<Item = Self> {
        Layout::ALL.into_iter().map(Self::Kafka)
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
        }
    }

    fn directory(self) -> PathBuf {
        place::background().join(self.name())
    }

    fn start(self, directory: &Path) -> Result<(), BrokersError> {
        match self {
            Self::Kafka(layout) => start_kafka(&Options::of(layout).for_measuring(), directory),
        }
    }

    /// Whether what listens there can be used.
    fn answers(self, port: u16) -> bool {
        match self {
            Self::Kafka(layout) => wire::metadata(port, None)
                .is_ok_and(|metadata| metadata.brokers.len() == layout.nodes() as usize),
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
    let mut tries = 0;
    loop {
        tries += 1;
        end(&directory)?;
        std::fs::create_dir_all(&directory).map_err(BrokersError::file("create", &directory))?;
        match server.start(&directory) {
            Ok(()) => {
                return Ok(Up {
                    lines: about(&directory, "say "),
                    started: true,
                });
            }
            Err(error) if error.lost_a_port_race() && tries < kafka::TRIES => {}
            Err(error) => {
                // The error holds the end of the log; a broken server would only be in the way.
                end(&directory)?;
                return Err(error);
            }
        }
    }
}

/// Ends a server and removes its directory; true when there was something to end.
///
/// # Errors
/// A process survives SIGKILL, or the directory cannot be removed.
pub fn down(server: Server) -> Result<bool, BrokersError> {
    let _lock = lock(server)?;
    let directory = server.directory();
    let was_there = directory.exists();
    end(&directory)?;
    Ok(was_there)
}

/// The processes of a server, living or not; empty when it is down.
#[must_use]
pub fn status(server: Server) -> Vec<Status> {
    look(server, &server.directory())
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
            ready: living.is_some() && server.answers(port),
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

/// Ends what the records name, all at once, and removes the directory.
fn end(directory: &Path) -> Result<(), BrokersError> {
    let records = recorded(directory);
    let processes: Vec<&Identity> = records
        .iter()
        .filter_map(|(_, identity)| identity.as_ref())
        .collect();
    for process in &processes {
        process.signal(Signal::TERM);
        // A frozen one would not hear it.
        process.signal(Signal::CONT);
    }
    for process in &processes {
        if !process.wait(STOP_PATIENCE) {
            process.signal(Signal::KILL);
            if !process.wait(KILL_PATIENCE) {
                let survived = std::io::Error::other("it survives SIGKILL; is its disk gone?");
                return Err(BrokersError::io("end", format!("process {}", process.pid))(
                    survived,
                ));
            }
        }
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BrokersError::file("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

fn start_kafka(options: &Options, directory: &Path) -> Result<(), BrokersError> {
    let jars = Jars::get()?;
    // Held until the servers listen, which keeps others away from then on.
    let ports = ports::reserve(plan::ports_needed(options))?;
    let plans = plan::nodes(options, &mut ports.iter().map(|port| port.number));
    let mut text = String::new();
    for plan in &plans {
        text.push_str(&format!("node node-{} {}\n", plan.id, plan.plain_port()));
    }
    for line in kafka_lines(options.layout, &plans, directory) {
        text.push_str(&format!("say {line}\n"));
    }
    let path = directory.join(ABOUT);
    std::fs::write(&path, text).map_err(BrokersError::file("write", &path))?;
    let nodes = node::prepare(options, &jars, plans, directory)?;
    let started = node::launch_all(&nodes, Life::OnItsOwn, options.patience);
    let started = started.and_then(|()| match options.layout {
        Layout::Secure => kafka::set_rules(&jars, &nodes),
        Layout::Plain | Layout::Cluster => Ok(()),
    });
    match started {
        Ok(()) => nodes.iter().for_each(node::Node::release),
        // Waited for here, so that no zombie stays behind while this process lives.
        Err(_) => node::in_parallel(&nodes, node::Node::kill)?,
    }
    started
}

fn kafka_lines(layout: Layout, plans: &[plan::NodePlan], directory: &Path) -> Vec<String> {
    let address = |listener| plan::bootstrap(plans, listener).unwrap_or_default();
    if layout != Layout::Secure {
        return vec![format!("url kafka://{}", address(Listener::Plain))];
    }
    let (alice, bob) = (Security::ALICE, Security::BOB);
    vec![
        format!("url kafka://{}", address(Listener::SaslSsl)),
        format!("oauth {}", address(Listener::OAuth)),
        format!("mtls {}", address(Listener::Mtls)),
        format!("wrong-host {}", address(Listener::WrongHost)),
        format!("plain, may do everything {}", address(Listener::Plain)),
        format!("certificates {}", kafka::certificates(directory).display()),
        format!(
            "users {} {} (may do everything with names that start with {}), {} {} (may do nothing)",
            alice.name,
            alice.password,
            Security::ALLOWED_PREFIX,
            bob.name,
            bob.password
        ),
    ]
}
