//! One broker for all tests of a run, and what a test does where none can be had.

use std::borrow::Borrow;
use std::sync::OnceLock;

use crate::error::BrokersError;
use crate::kafka::{Kafka, Options};

/// The variable by which `cargo xtask test` tells the tests of the broker that it has started.
const GIVEN: &str = "TIDINGS_TEST_KAFKA";

#[derive(Debug)]
struct Shared {
    bootstrap: String,
    /// Ours, when none was given. It ends with the process; statics are not dropped, so this is the work of the kernel
    /// and of the janitor.
    _kafka: Option<Kafka>,
}

/// The addresses of a plain Kafka that all tests share: `TIDINGS_TEST_KAFKA` where it is set, else one that is started
/// for this process by the first call. Every test takes its own names of topics and groups, see [`unique`].
///
/// # Errors
/// As [`Kafka::start`]; the first error stands for all calls.
pub fn kafka() -> Result<&'static str, &'static BrokersError> {
    static SHARED: OnceLock<Result<Shared, BrokersError>> = OnceLock::new();
    match SHARED.get_or_init(get) {
        Ok(shared) => Ok(&shared.bootstrap),
        Err(error) => Err(error),
    }
}

fn get() -> Result<Shared, BrokersError> {
    if let Some(bootstrap) = std::env::var(GIVEN)
        .ok()
        .filter(|bootstrap| !bootstrap.is_empty())
    {
        return Ok(Shared {
            bootstrap,
            _kafka: None,
        });
    }
    let kafka = Kafka::start(Options::plain())?;
    Ok(Shared {
        bootstrap: kafka.bootstrap(),
        _kafka: Some(kafka),
    })
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
