//! The lines of cargo, libtest and rustdoc that the account reads.

/// The program that cargo says it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start<'a> {
    /// The name of the executable's file, which is unique in the workspace; `None` for documentation tests.
    pub(super) file: Option<&'a str>,
    /// What a person calls it: `tests/it/main.rs`, or the crate whose documentation is tested.
    pub(super) title: &'a str,
}

/// Reads `Running tests/it/main.rs (…/it-1f2e)` or `Doc-tests tidings`.
pub(super) fn program_start(line: &str) -> Option<Start<'_>> {
    let line = line.trim_start();
    if let Some(title) = line.strip_prefix("Doc-tests ") {
        return Some(Start { file: None, title });
    }
    let (title, file) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .rsplit_once(" (")?;
    let file = file.rsplit(['/', '\\']).next();
    Some(Start { file, title })
}

/// Reads how a program ended, of `process didn't exit successfully: `…/it-1f2e --show-output` (signal: 11, SIGSEGV: …)`.
pub(super) fn cause_of_end(line: &str) -> Option<&str> {
    let (_, cause) = line
        .trim_start()
        .strip_prefix("process didn't exit successfully: `")?
        .rsplit_once("` (")?;
    cause.strip_suffix(')')
}

/// How one test ended, as far as its line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status<'a> {
    Passed,
    Failed,
    Ignored {
        reason: &'a str,
    },
    /// The test wrote past libtest's capture; the status follows on a line of its own.
    Open,
}

/// Reads `test <name> ... <status>`.
pub(super) fn test_line(line: &str) -> Option<(&str, Status<'_>)> {
    let (name, status) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name, status_of(status)))
}

/// Reads the status alone.
pub(super) fn status_of(text: &str) -> Status<'_> {
    match text {
        "ok" => Status::Passed,
        "FAILED" => Status::Failed,
        "ignored" => Status::Ignored { reason: "ignored" },
        other => match other.strip_prefix("ignored, ") {
            Some(reason) => Status::Ignored { reason },
            None => Status::Open,
        },
    }
}

/// A line `SKIPPED <name>: <reason>`; with one test thread it follows `test <name> ... ` on the same line.
pub(super) fn parse_skip(line: &str) -> Option<(&str, &str)> {
    let line = match line.strip_prefix("test ") {
        Some(rest) => rest.split_once(" ... ")?.1,
        None => line.trim_start(),
    };
    let (name, reason) = line.strip_prefix("SKIPPED ")?.split_once(": ")?;
    Some((name.trim(), reason.trim()))
}

/// The figures of one `test result:` line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl Counts {
    pub(super) fn parse(result: &str) -> Self {
        let mut counts = Self::default();
        let figures = result.split_once(". ").map_or(result, |(_, figures)| figures);
        for figure in figures.split(';') {
            match figure.trim().split_once(' ') {
                Some((number, "passed")) => counts.passed = number.parse().unwrap_or(0),
                Some((number, "failed")) => counts.failed = number.parse().unwrap_or(0),
                _ => {}
            }
        }
        counts
    }
}
