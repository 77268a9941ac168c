//! A test program that crashed: how it ended, and which tests ran at that time.

use std::collections::BTreeSet;
use std::fmt;

use super::lines::cause_of_end;

/// A test program that ended without a result.
#[derive(Debug)]
pub(crate) struct Crash {
    /// The name of its file.
    pub(crate) file: String,
    /// What cargo says of its end: the signal, or the exit status.
    cause: Option<String>,
    name: String,
    last_words: Option<String>,
    /// The tests that had ended.
    ended: BTreeSet<String>,
    /// The first tests that had not.
    open: Vec<String>,
}

impl Crash {
    pub(super) fn new(name: &str, file: &str, ended: BTreeSet<String>, last_words: Option<String>) -> Self {
        Self {
            file: file.to_owned(),
            cause: None,
            name: name.to_owned(),
            last_words,
            ended,
            open: Vec::new(),
        }
    }

    /// Takes the cause of its end, if the line tells it.
    pub(super) fn read_cause(&mut self, line: &str) {
        if let Some(cause) = cause_of_end(line)
            && line.contains(&self.file)
        {
            self.cause.get_or_insert(cause.to_owned());
        }
    }

    /// Of all its tests, in the order in which they are started, remembers those that had not ended.
    pub(super) fn had_not_ended(&mut self, mut all: Vec<String>) {
        all.retain(|test| !self.ended.contains(test));
        self.open = all;
    }
}

/// How many tests are named that had not ended; libtest starts them in order, so those that ran are among the first.
const NAMED: usize = 8;

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the program ended without a result", self.name)?;
        if let Some(cause) = &self.cause {
            write!(f, ", {cause}")?;
        }
        if let Some(last_words) = &self.last_words {
            write!(f, "; its last words: {last_words}")?;
        }
        if !self.open.is_empty() {
            let named = self.open.get(..NAMED).unwrap_or(&self.open);
            write!(f, "; had not ended: {}", named.join(", "))?;
            let more = self.open.len() - named.len();
            if more > 0 {
                write!(f, " and {more} that come after them")?;
            }
        }
        Ok(())
    }
}
