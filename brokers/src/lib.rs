//! Real servers for tests and for people: started on free ports, ready when they say so, gone afterwards.
//!
//! ```no_run
//! use brokers::{Kafka, Options, Tool};
//!
//! # fn main() -> Result<(), brokers::BrokersError> {
//! let kafka = Kafka::start(Options::cluster())?;
//! let orders = brokers::unique("orders");
//! kafka.tool(Tool::Topics).args(["--create", "--topic", &orders]).run()?;
//! if let Some(leader) = kafka.leader(&orders, 0)? {
//!     kafka.kill(leader)?;
//!     kafka.start_node(leader)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here needs Docker: servers come from package registries (Kafka through Maven), run as plain processes and
//! listen on the loopback address only. All calls block; in an async test put long ones into `spawn_blocking`.
//!
//! # Three ways to get a server
//! - [`Kafka::start`] gives a test a server of its own, which it may kill, freeze and restart.
//! - [`kafka`] gives all tests of a run one plain broker. Tests share it, so each takes names from [`unique`].
//! - `cargo xtask brokers up kafka` ([`background`]) starts one for people; it stays until `down`.
//!
//! # Nothing is left behind
//! A server dies with the process that started it, also when that process is killed with SIGKILL: the kernel is told to
//! kill it (`PR_SET_PDEATHSIG`), from a thread that lives as long as the process. A janitor removes its directory, and
//! what both may have missed is found and ended by the next start. Servers are ended by their process id together with
//! its start time, so an id that the system gave to somebody else is never hit.
//!
//! # Variables
//! | variable | meaning |
//! |---|---|
//! | `TIDINGS_TEST_KAFKA` | bootstrap addresses of a Kafka that tests shall use instead of starting one |
//! | `TIDINGS_BROKERS_CACHE` | where the servers' programs are kept; default `target/brokers/cache` |
//! | `TIDINGS_BROKERS_KEEP` | when set, directories of stopped servers stay, with their logs |
//!
//! # What it is not
//! No container runtime and no production set-up: replication is real, durability is not tuned, passwords are in this
//! source. Starting servers needs Linux; with `TIDINGS_TEST_KAFKA` the shared broker works everywhere.

pub mod background;
mod error;
mod identity;
mod kafka;
mod launch;
mod place;
mod ports;
mod programs;
mod proxy;
mod run_directory;
mod shared;
#[cfg(test)]
mod sleeper;

pub use error::BrokersError;
pub use kafka::{
    Kafka, Layout, Listener, Login, Options, PartitionState, Security, Token, TokenKey, Tool, ToolRun,
};
pub use proxy::{Fault, FaultProxy, Side};
pub use shared::{kafka, kafka_or_skip, or_skip, unique};
