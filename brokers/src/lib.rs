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
//! ```no_run
//! use brokers::{Rabbit, RabbitMessage, RabbitOptions};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), brokers::BrokersError> {
//! let rabbit = Rabbit::start(RabbitOptions::cluster())?;
//! let ours = rabbit.virtual_host("billing")?;
//! ours.declare("orders", &json!({ "x-queue-type": "quorum" }))?;
//! ours.publish(&RabbitMessage::to_queue("orders", "one"))?;
//! if let Some(leader) = ours.queue("orders")?.and_then(|queue| queue.leader) {
//!     rabbit.kill(leader)?;
//!     rabbit.start_node(leader)?;
//! }
//! println!("{} still has it", ours.url());
//! # Ok(())
//! # }
//! ```
//!
//! ```no_run
//! use brokers::{Postgres, PostgresOptions};
//!
//! # fn main() -> Result<(), brokers::BrokersError> {
//! let postgres = Postgres::start(PostgresOptions::durable())?;
//! let orders = postgres.database("orders")?;
//! orders.sql("CREATE TABLE orders (id text PRIMARY KEY); INSERT INTO orders VALUES ('o-1')")?;
//! postgres.kill()?;
//! postgres.start_again()?;
//! assert_eq!(orders.sql("SELECT count(*) FROM orders")?, "1");
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here needs Docker: Kafka comes through Maven, RabbitMQ and PostgreSQL are those that the machine has installed;
//! all run as plain processes of this one and listen on the loopback address only. All calls block; in an async test put long ones
//! into `spawn_blocking`.
//!
//! # Three ways to get a server
//! - [`Kafka::start`], [`Rabbit::start`] and [`Postgres::start`] give a test a server of its own, which it may kill, freeze
//!   and restart.
//! - [`kafka`], [`rabbit`] and [`postgres`] give all tests of a run one plain server. Tests share it, so each takes names from
//!   [`unique`], a virtual host from [`RabbitApi::virtual_host`], or a database from [`PostgresApi::database`].
//! - `cargo xtask brokers up kafka` ([`background`]) starts one for people; it stays until `down`.
//!
//! `cargo xtask test` starts the shared servers once for all test programs: a Kafka for packages that name this crate,
//! or what such a package says in `package.metadata.brokers.servers`.
//!
//! # Nothing is left behind
//! A server dies with the process that started it, also when that process is killed with SIGKILL: the kernel is told to
//! kill it (`PR_SET_PDEATHSIG`), from a thread that lives as long as the process. A janitor removes its directory, and
//! what both may have missed is found and ended by the next start. What a server has started itself ends with it: Erlang's
//! helpers when their pipe ends, RabbitMQ's epmd is started here and never by Erlang, and PostgreSQL, which runs as another user
//! where this process is root, is told to quit, so that it tidies its shared memory up. Servers are ended by their process id together with
//! its start time, so an id that the system gave to somebody else is never hit.
//!
//! # Variables
//! | variable | meaning |
//! |---|---|
//! | `TIDINGS_TEST_KAFKA` | bootstrap addresses of a Kafka that tests shall use instead of starting one |
//! | `TIDINGS_TEST_RABBITMQ` | the same for a RabbitMQ, whose user may do everything: `amqp://guest:guest@host:5672` |
//! | `TIDINGS_TEST_RABBITMQ_API` | its management API; default `http://host:15672` |
//! | `TIDINGS_TEST_POSTGRES` | the same for a PostgreSQL, whose user may make databases and roles: `postgres://postgres:secret@host:5432` |
//! | `TIDINGS_BROKERS_CACHE` | where the servers' programs are kept; default `target/brokers/cache` |
//! | `TIDINGS_BROKERS_KEEP` | when set, directories of stopped servers stay, with their logs |
//!
//! # What it is not
//! No container runtime and no production set-up: replication is real, durability is not tuned, passwords are in this
//! source. No client of Kafka or AMQP: what it says to servers is what starting, judging and harming them takes. Starting
//! servers needs Linux; with `TIDINGS_TEST_KAFKA`, `TIDINGS_TEST_RABBITMQ` and `TIDINGS_TEST_POSTGRES` the shared ones work everywhere.

pub mod background;
mod error;
mod identity;
mod kafka;
mod launch;
mod middle;
mod place;
mod ports;
mod postgres;
mod process;
mod programs;
mod proxy;
mod rabbit;
mod run_directory;
mod security;
mod shared;
#[cfg(test)]
mod sleeper;

pub use error::BrokersError;
pub use kafka::{Kafka, Layout, Listener, Options, PartitionState, Security, Token, TokenKey, Tool, ToolRun};
pub use postgres::{
    CommitFault, CommitProxy, Database, Postgres, PostgresApi, PostgresLayout, PostgresOptions,
};
pub use proxy::{Fault, FaultProxy, Side};
pub use rabbit::{
    Rabbit, RabbitApi, RabbitConnection, RabbitLayout, RabbitListener, RabbitMessage, RabbitOptions,
    RabbitQueue, VirtualHost,
};
pub use security::{Certificates, Login};
pub use shared::{kafka, kafka_or_skip, or_skip, postgres, postgres_or_skip, rabbit, rabbit_or_skip, unique};
