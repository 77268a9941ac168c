//! The servers that the tests of one run share.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::cargo::{cargo, display};
use crate::error::XtaskError;
use crate::programs::{BROKERS, Built};

/// The variable by which a person gives the tests a server of that name, which is then not started.
const GIVEN: [(&str, &str); 3] = [
    ("kafka", "TIDINGS_TEST_KAFKA"),
    ("rabbitmq", "TIDINGS_TEST_RABBITMQ"),
    ("postgres", "TIDINGS_TEST_POSTGRES"),
];
/// The last line of the program that holds servers.
const READY: &str = "ready";

/// Servers that end when this is dropped, and also when this process is killed: the program that holds them waits for
/// the end of its standard input.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    holder: Option<Child>,
    variables: Vec<(String, String)>,
}

impl Servers {
    /// Starts what the tests want; nothing where none wants anything, or where it is there already.
    pub(crate) fn for_tests(built: &Built) -> Result<Self, XtaskError> {
        let wanted = missing(&built.servers, is_given);
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let mut command = match &built.brokers {
            Some(program) => Command::new(program),
            None => cargo(&["run", "--quiet", "--package", BROKERS, "--"]),
        };
        command
            .arg("hold")
            .args(wanted)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        eprintln!("==> {}", display(&command));
        let mut holder = command.spawn().map_err(|source| XtaskError::Start {
            command: display(&command),
            source,
        })?;
        let printed = holder.stdout.take().map(BufReader::new);
        let lines = printed.into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        // What cannot be started has no variable, as the program has said; the tests that need it skip or fail by name.
        let lines = lines.take_while(|line| line != READY);
        let variables: Vec<_> = lines.filter_map(|line| variable(&line)).collect();
        for (name, value) in &variables {
            eprintln!("    {name}={value}");
        }
        Ok(Self {
            holder: Some(holder),
            variables,
        })
    }

    /// What the tests are told.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            // It ends by itself; its status has nothing to say about the tests.
            let _ = holder.wait();
        }
    }
}

/// The servers that are wanted and not given.
fn missing(wanted: &BTreeSet<String>, is_given: impl Fn(&str) -> bool) -> Vec<&String> {
    let given = |name: &String| {
        GIVEN
            .iter()
            .any(|(server, variable)| server == name && is_given(variable))
    };
    wanted.iter().filter(|name| !given(name)).collect()
}

fn is_given(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_started_for_tests_that_want_nothing() {
        let servers = Servers::for_tests(&Built::default()).unwrap();
        assert!(servers.holder.is_none());
        assert_eq!(servers.variables().count(), 0);
    }
    #[test]
    fn a_server_that_a_person_has_given_is_not_started() {
        let wanted = BTreeSet::from(["kafka".to_owned(), "rabbitmq".to_owned()]);
        for (given, expected) in [
            ("", &["kafka", "rabbitmq"][..]),
            ("TIDINGS_TEST_KAFKA", &["rabbitmq"]),
            ("TIDINGS_TEST_RABBITMQ", &["kafka"]),
        ] {
            assert_eq!(
                missing(&wanted, |variable| variable == given),
                expected,
                "{given}"
            );
        }
    }
}
