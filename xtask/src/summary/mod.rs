//! Adds up what many test programs print into one account of passed, failed and skipped.
//!
//! Pure: lines go in, counts come out. libtest reports a test that found nothing to do as passed, so tests say it
//! themselves with a line `SKIPPED <name>: <reason>`. Where the name is the test's own, the test moves from passed to
//! skipped; any other name is a part (a suite, a feature) that is counted beside the tests.

mod crash;
mod lines;

use std::collections::{BTreeMap, BTreeSet};

use self::crash::Crash;
use self::lines::{Counts, Start, Status, parse_skip, program_start, status_of, test_line};

/// Whether a line of the test run is worth a person's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Print,
    Hide,
}

/// How cargo itself ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CargoEnd {
    Succeeded,
    Failed,
}

/// The part of a test program's output that the next line belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    #[default]
    Tests,
    Successes,
    Failures,
}

/// A test, or a part of one, that did not run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Skip {
    program: String,
    test: Option<String>,
    name: String,
    reason: String,
}

/// The account of a whole run, fed line by line.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Which package each executable belongs to; every package may have a `tests/it/main.rs`.
    packages: BTreeMap<String, String>,
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    crashes: Vec<Crash>,
    skips: BTreeSet<Skip>,
    program: Program,
}

/// The test program that is printing at the moment.
#[derive(Debug, Default)]
struct Program {
    name: String,
    file: String,
    section: Section,
    /// The test whose captured output is being shown.
    test: Option<String>,
    passed_tests: BTreeSet<String>,
    /// All that have a status.
    ended: BTreeSet<String>,
    /// The last line that was no test's: what a library says before it ends the process.
    last_words: Option<String>,
    /// The test whose status follows on a line of its own.
    open_test: Option<String>,
    /// Skips not yet held against the tests that passed.
    skips: BTreeSet<Skip>,
    /// Whether a `test result:` line has been seen; a program that crashes prints none.
    reported: bool,
}

impl Summary {
    /// An empty account; `packages` tells the package of each executable by the name of its file.
    pub(crate) fn new(packages: BTreeMap<String, String>) -> Self {
        Self {
            packages,
            ..Self::default()
        }
    }

    /// Takes one line of cargo's output and says whether it should be shown.
    pub(crate) fn feed(&mut self, line: &str) -> Shown {
        if let Some(start) = program_start(line) {
            self.start_program(&start);
            return Shown::Print;
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            return self.close_program(result);
        }
        if line.starts_with("error: test failed") || line.starts_with("error: doctest failed") {
            self.note_crash();
            return Shown::Print;
        }
        if let Some(crash) = self.crashes.last_mut() {
            crash.read_cause(line);
        }
        self.note_skip(line);
        match self.section_after(line) {
            Section::Successes => Shown::Hide,
            Section::Failures => Shown::Print,
            Section::Tests => self.test_line(line),
        }
    }

    /// Closes the account. A run that cargo calls failed never ends with "0 failed".
    pub(crate) fn finish(&mut self, end: CargoEnd) {
        self.settle_skips();
        if end == CargoEnd::Failed && self.failed == 0 {
            self.failed = 1;
            self.failures
                .push("the build: cargo ended with the error above".into());
        }
    }

    /// What failed and what was skipped, one to a line; empty when nothing was.
    pub(crate) fn details(&self) -> String {
        let mut text = String::new();
        for failure in &self.failures {
            text.push_str(&format!("FAILED {failure}\n"));
        }
        for crash in &self.crashes {
            text.push_str(&format!("FAILED {crash}\n"));
        }
        for skip in &self.skips {
            text.push_str(&format!(
                "SKIPPED {}: {} ({})\n",
                skip.name, skip.reason, skip.program
            ));
        }
        text
    }

    /// The one line that ends every run.
    pub(crate) fn closing_line(&self) -> String {
        let (passed, failed, skipped) = (self.passed, self.failed, self.skips.len());
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// Tells which tests of the programs that crashed had not ended; `list` gives all tests of such a program, in the
    /// order in which they are started.
    pub(crate) fn ask_what_was_open(&mut self, list: impl Fn(&Crash) -> Vec<String>) {
        for crash in &mut self.crashes {
            crash.had_not_ended(list(crash));
        }
    }

    /// How many tests failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    fn start_program(&mut self, start: &Start<'_>) {
        self.settle_skips();
        let package = start
            .file
            .map(|file| self.packages.get(file).map_or(file, String::as_str));
        self.program = Program {
            name: match package {
                Some(package) => format!("{package}, {}", start.title),
                None => format!("{}, documentation", start.title),
            },
            file: start.file.unwrap_or_default().to_owned(),
            ..Program::default()
        };
    }

    /// One program can report more than once: rustdoc runs its merged and its single tests apart.
    fn close_program(&mut self, result: &str) -> Shown {
        let counts = Counts::parse(result);
        self.passed += counts.passed;
        self.failed += counts.failed;
        self.settle_skips();
        self.program.reported = true;
        self.program.section = Section::Tests;
        self.program.test = None;
        if counts.passed + counts.failed == 0 {
            Shown::Hide
        } else {
            Shown::Print
        }
    }

    fn note_crash(&mut self) {
        if self.program.reported {
            return;
        }
        self.failed += 1;
        let ended = std::mem::take(&mut self.program.ended);
        let last_words = self.program.last_words.take();
        let crash = Crash::new(&self.program.name, &self.program.file, ended, last_words);
        self.crashes.push(crash);
        self.program.reported = true;
    }

    fn note_skip(&mut self, line: &str) {
        if let Some((name, reason)) = parse_skip(line) {
            let test = self.program.test.clone();
            let skip = self.program.skip(test, name, reason);
            self.program.skips.insert(skip);
        }
    }

    /// Moves the program's skips into the account; a test that is skipped as a whole no longer counts as passed.
    fn settle_skips(&mut self) {
        let skips = std::mem::take(&mut self.program.skips);
        let passed = std::mem::take(&mut self.program.passed_tests);
        let whole: BTreeSet<&String> = skips.iter().filter_map(|skip| skip.whole_test(&passed)).collect();
        self.passed = self.passed.saturating_sub(whole.len() as u64);
        self.skips.extend(skips);
    }

    /// The section this line belongs to, after it had its say.
    fn section_after(&mut self, line: &str) -> Section {
        match line {
            "successes:" => self.program.section = Section::Successes,
            "failures:" => {
                self.program.section = Section::Failures;
                self.program.test = None;
            }
            _ => {}
        }
        if self.program.section == Section::Successes
            && let Some(test) = line
                .strip_prefix("---- ")
                .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.program.test = Some(test.to_owned());
        }
        self.program.section
    }

    fn test_line(&mut self, line: &str) -> Shown {
        if line.is_empty() || (line.starts_with("running ") && line.ends_with(['t', 's'])) {
            return Shown::Hide;
        }
        if let Some((name, status)) = test_line(line) {
            self.note_status(name, &status);
        } else if let Some(name) = self.program.open_test.take() {
            self.note_status(&name, &status_of(line));
        } else {
            self.program.last_words = Some(line.to_owned());
        }
        Shown::Print
    }

    fn note_status(&mut self, name: &str, status: &Status<'_>) {
        if *status != Status::Open {
            self.program.ended.insert(name.to_owned());
        }
        match status {
            Status::Passed => {
                self.program.passed_tests.insert(name.to_owned());
            }
            Status::Failed => self.failures.push(format!("{}: {name}", self.program.name)),
            Status::Ignored { reason } => {
                self.skips
                    .insert(self.program.skip(Some(name.to_owned()), name, reason));
            }
            Status::Open => self.program.open_test = Some(name.to_owned()),
        }
    }
}

impl Program {
    fn skip(&self, test: Option<String>, name: &str, reason: &str) -> Skip {
        Skip {
            program: self.name.clone(),
            test,
            name: name.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

impl Skip {
    /// The test that this line takes out of the passed ones, if it stands for a whole test.
    fn whole_test<'a>(&self, passed: &'a BTreeSet<String>) -> Option<&'a String> {
        match &self.test {
            Some(test) => passed.get(test).filter(|test| is_name_of(&self.name, test)),
            None => passed.iter().find(|test| is_name_of(&self.name, test)),
        }
    }
}

/// Tests rarely know the path of their own module, so the last part of it is enough.
fn is_name_of(name: &str, test: &str) -> bool {
    test == name || test.strip_suffix(name).is_some_and(|path| path.ends_with("::"))
}

#[cfg(test)]
mod tests;
