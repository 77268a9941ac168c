//! One server of each kind for all tests of a run, and what a test does where none can be had.

use std::borrow::Borrow;
use std::sync::OnceLock;

use crate::error::BrokersError;
use crate::kafka::{Kafka, Options};
use crate::postgres::{Postgres, PostgresApi, PostgresOptions};
use crate::rabbit::{Rabbit, RabbitApi, RabbitOptions};

// The variables by which `cargo xtask test` tells the tests of the servers that it has started.
const GIVEN_KAFKA: &str = "TIDINGS_TEST_KAFKA";
pub(crate) const GIVEN_RABBITMQ: &str = "TIDINGS_TEST_RABBITMQ";
pub(crate) const GIVEN_RABBITMQ_API: &str = "TIDINGS_TEST_RABBITMQ_API";
pub(crate) const GIVEN_POSTGRES: &str = "TIDINGS_TEST_POSTGRES";

/// A server that all tests of this process share.
#[derive(Debug)]
struct Shared<A, S> {
    /// Where it is.
    address: A,
    /// Ours, when none was given. It ends with the process; statics are not dropped, so this is the work of the kernel
    /// and of the janitor.
    _server: Option<S>,
}

type Once<A, S> = OnceLock<Result<Shared<A, S>, BrokersError>>;

/// The addresses of a plain Kafka that all tests share: `TIDINGS_TEST_KAFKA` where it is set, else one that is started
/// for this process by the first call. Every test takes its own names of topics and groups, see [`unique`].
///
/// # Errors
/// As [`Kafka::start`]; the first error stands for all calls.
pub fn kafka() -> Result<&'static str, &'static BrokersError> {
    static SHARED: Once<String, Kafka> = OnceLock::new();
    address(&SHARED, || match given(GIVEN_KAFKA) {
        Some(address) => Ok(Shared {
            address,
            _server: None,
        }),
        None => Kafka::start(Options::plain()).map(|kafka| Shared {
            address: kafka.bootstrap(),
            _server: Some(kafka),
        }),
    })
    .map(String::as_str)
}

/// A plain RabbitMQ that all tests share: that of `TIDINGS_TEST_RABBITMQ` (`amqp://user:password@host:port`) and
/// `TIDINGS_TEST_RABBITMQ_API` (`http://host:port`; without it port 15672 of the same host) where they are set, else one
/// that is started for this process by the first call. Every test makes its own [`RabbitApi::virtual_host`].
///
/// # Errors
/// As [`Rabbit::start`]; the first error stands for all calls.
pub fn rabbit() -> Result<&'static RabbitApi, &'static BrokersError> {
    static SHARED: Once<RabbitApi, Rabbit> = OnceLock::new();
    address(&SHARED, || match given(GIVEN_RABBITMQ) {
        Some(url) => Ok(Shared {
            address: RabbitApi::at(&url, given(GIVEN_RABBITMQ_API))?,
            _server: None,
        }),
        None => Rabbit::start(RabbitOptions::plain()).map(|rabbit| Shared {
            address: rabbit.api().clone(),
            _server: Some(rabbit),
        }),
    })
}

/// A quick PostgreSQL that all tests share: that of `TIDINGS_TEST_POSTGRES` (`postgres://user:password@host:port`, a user who
/// may make databases and roles) where it is set, else one that is started for this process by the first call. Every test
/// makes its own [`PostgresApi::database`].
///
/// # Errors
/// As [`Postgres::start`]; the first error stands for all calls.
pub fn postgres() -> Result<&'static PostgresApi, &'static BrokersError> {
    static SHARED: Once<PostgresApi, Postgres> = OnceLock::new();
    address(&SHARED, || match given(GIVEN_POSTGRES) {
        Some(url) => Ok(Shared {
            address: PostgresApi::at(&url)?,
            _server: None,
        }),
        None => Postgres::start(PostgresOptions::plain()).map(|postgres| Shared {
            address: postgres.api().clone(),
            _server: Some(postgres),
        }),
    })
}

fn given(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn address<A, S>(
    shared: &'static Once<A, S>,
    get: impl FnOnce() -> Result<Shared<A, S>, BrokersError>,
) -> Result<&'static A, &'static BrokersError> {
    shared.get_or_init(get).as_ref().map(|shared| &shared.address)
}

/// [`kafka`] for a test: where a program is missing, says so in a line that `cargo xtask test` counts, and gives `None`.
///
/// `test` is the name of the test's function.
///
/// # Panics
/// The broker could not be started although everything is installed.
#[track_caller]
#[must_use]
pub fn kafka_or_skip(test: &str) -> Option<&'static str> {
    or_skip(test, kafka())
}

/// [`rabbit`] for a test, as [`kafka_or_skip`].
///
/// # Panics
/// The server could not be started although everything is installed.
#[track_caller]
#[must_use]
pub fn rabbit_or_skip(test: &str) -> Option<&'static RabbitApi> {
    or_skip(test, rabbit())
}

/// [`postgres`] for a test, as [`kafka_or_skip`].
///
/// # Panics
/// The server could not be started although everything is installed.
#[track_caller]
#[must_use]
pub fn postgres_or_skip(test: &str) -> Option<&'static PostgresApi> {
    or_skip(test, postgres())
}

/// The same for a server of the test's own: `or_skip("…", Kafka::start(Options::secure()))`.
///
/// # Panics
/// There is another error than a missing program.
#[track_caller]
#[must_use]
#[allow(clippy::print_stdout, reason = "the line is what `cargo xtask test` reads")]
pub fn or_skip<T, E: Borrow<BrokersError>>(test: &str, result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            println!("{}", skip_line(test, error.borrow()));
            None
        }
    }
}

#[track_caller]
fn skip_line(test: &str, error: &BrokersError) -> String {
    assert!(error.is_missing_program(), "{error}");
    format!("SKIPPED {test}: {error}")
}

/// A name for a topic or a group that no other test has, on a broker that may serve several runs.
#[must_use]
pub fn unique(name: &str) -> String {
    format!("{name}-{:012x}", fastrand::u64(..1 << 48))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_given_twice() {
        let names: std::collections::BTreeSet<String> = (0..1000).map(|_| unique("orders")).collect();
        assert_eq!(names.len(), 1000);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("orders-") && name.len() == "orders-".len() + 12)
        );
    }

    #[test]
    fn only_a_missing_program_is_a_reason_to_skip() {
        let missing = BrokersError::MissingProgram {
            program: "java",
            cure: "install it",
        };
        assert_eq!(
            skip_line("a_test", &missing),
            "SKIPPED a_test: `java` is not installed or not on the PATH; install it"
        );
        let broken =
            std::panic::catch_unwind(|| skip_line("a_test", &BrokersError::NoNode { node: 7, nodes: 3 }));
        assert!(broken.is_err());
    }
}
