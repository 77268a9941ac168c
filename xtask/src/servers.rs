//! The servers that the tests of one run share.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::cargo::{cargo, display};
use crate::error::XtaskError;
use crate::programs::{BROKERS, Built};

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
        if !built.wants_servers || is_given("TIDINGS_TEST_KAFKA") {
            return Ok(Self::default());
        }
        let mut command = match &built.brokers {
            Some(program) => Command::new(program),
            None => cargo(&["run", "--quiet", "--package", BROKERS, "--"]),
        };
        command.arg("hold").stdin(Stdio::piped()).stdout(Stdio::piped());
        eprintln!("==> {}", display(&command));
        let mut holder = command.spawn().map_err(|source| XtaskError::Start {
            command: display(&command),
            source,
        })?;
        let printed = holder.stdout.take().map(BufReader::new);
        let lines = printed.into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        // The program says all it has to say before it is ready; when it cannot start anything it has said so, the
        // variables are missing, and the tests that need them skip or fail by name.
        let variables: Vec<_> = lines.take(1).filter_map(|line| variable(&line)).collect();
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
}
