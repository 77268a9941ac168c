//! `cargo xtask test`: every test of the workspace, streamed, with one summary at the end.

use std::io::{BufRead, BufReader, PipeReader};
use std::num::NonZero;

use crate::Verdict;
use crate::cargo::{cargo, display};
use crate::error::XtaskError;
use crate::programs::{self, Build};
use crate::servers::Servers;
use crate::summary::{CargoEnd, Shown, Summary};

/// Runs unit, integration and documentation tests; the last line is always `N passed, N failed, N skipped`.
///
/// What tests share from outside (a Kafka, a RabbitMQ) is started here before them and ended after them, unless no package among
/// them wants it. Without it they are not lost: each test program starts its own, or skips by name what it cannot run.
pub(crate) fn run(arguments: &[String]) -> Result<Verdict, XtaskError> {
    let arguments = Arguments::split(arguments);
    let built = match programs::build(&arguments.for_build())? {
        Build::Done(built) => built,
        Build::Failed => return Ok(close(Summary::default(), CargoEnd::Failed)),
    };
    let servers = Servers::for_tests(&built)?;
    let mut summary = Summary::new(built.packages);
    let mut command = cargo(&["test", "--no-fail-fast"]);
    // libtest keeps the output of passed tests to itself unless told otherwise, and the skips stand there.
    command
        .args(&arguments.for_cargo)
        .args(["--", "--show-output"])
        .args(&arguments.for_tests)
        .envs(servers.variables());
    if std::env::var_os(THREADS).is_none() {
        command.env(THREADS, threads().to_string());
    }
    eprintln!("==> {}", display(&command));
    let (reader, writer) = std::io::pipe().map_err(pipe_error)?;
    // Both streams share one pipe: cargo names a program on one of them and the program reports on the other, and only
    // a common pipe keeps that order.
    command
        .stdout(writer.try_clone().map_err(pipe_error)?)
        .stderr(writer);
    let mut child = command.spawn().map_err(|source| XtaskError::Start {
        command: display(&command),
        source,
    })?;
    // The command holds the writing ends; while it lives, the pipe would never end.
    drop(command);
    follow(reader, &mut summary)?;
    let status = child.wait().map_err(pipe_error)?;
    drop(servers);
    summary.ask_what_was_open(|crash| {
        let path = built.paths.get(&crash.file);
        path.map(|path| programs::tests_of(path)).unwrap_or_default()
    });
    let end = if status.success() {
        CargoEnd::Succeeded
    } else {
        CargoEnd::Failed
    };
    Ok(close(summary, end))
}

/// How many tests of a program run at once, where nobody has said so.
const THREADS: &str = "RUST_TEST_THREADS";

/// More than there are cores: most of the time a test waits for a server, a lease or a timer. Not many more, so that none waits
/// for the others.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    cores + cores.div_ceil(2)
}

/// Prints what a person must know, the closing line last.
fn close(mut summary: Summary, end: CargoEnd) -> Verdict {
    summary.finish(end);
    print!("\n{}{}\n", summary.details(), summary.closing_line());
    if summary.failed() == 0 {
        Verdict::Clean
    } else {
        Verdict::Failed
    }
}

/// The command's arguments: what stands before `--` is for cargo, what follows is for the test programs.
#[derive(Debug, PartialEq, Eq)]
struct Arguments<'a> {
    /// Without target options cargo runs libraries, programs, tests and documentation, and builds examples; benchmarks
    /// are not run as tests.
    for_cargo: Vec<&'a str>,
    for_tests: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    fn split(arguments: &'a [String]) -> Self {
        let mut parts = arguments.splitn(2, |argument| argument == "--");
        let mut part = || -> Vec<&'a str> {
            parts
                .next()
                .unwrap_or_default()
                .iter()
                .map(String::as_str)
                .collect()
        };
        let (mut for_cargo, for_tests) = (part(), part());
        let chooses_package = for_cargo
            .iter()
            .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
        if !chooses_package {
            for_cargo.insert(0, "--workspace");
        }
        Self { for_cargo, for_tests }
    }

    /// Documentation tests cannot be built without being run, so cargo refuses `--doc` here.
    fn for_build(&self) -> Vec<&'a str> {
        let options = self.for_cargo.iter().copied();
        options.filter(|option| *option != "--doc").collect()
    }
}

fn follow(reader: PipeReader, summary: &mut Summary) -> Result<(), XtaskError> {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    // Bytes, not `lines`: a test may print what is not UTF-8, and that must not end the run.
    while reader.read_until(b'\n', &mut bytes).map_err(pipe_error)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end_matches(['\n', '\r']);
        if summary.feed(line) == Shown::Print {
            println!("{line}");
        }
        bytes.clear();
    }
    Ok(())
}

fn pipe_error(source: std::io::Error) -> XtaskError {
    XtaskError::Io {
        action: "following the test run",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_before_the_dashes_go_to_cargo_and_the_rest_to_the_tests() {
        for (given, for_cargo, for_tests) in [
            ("", "--workspace", ""),
            ("-- torn", "--workspace", "torn"),
            ("-p shop", "-p shop", ""),
            ("--release -- a b", "--workspace --release", "a b"),
        ] {
            let given: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
            let arguments = Arguments::split(&given);
            assert_eq!(arguments.for_cargo.join(" "), for_cargo);
            assert_eq!(arguments.for_tests.join(" "), for_tests);
        }
    }

    #[test]
    fn documentation_tests_are_not_asked_for_in_the_build() {
        let given = ["--doc".to_owned(), "-pshop".to_owned()];
        assert_eq!(Arguments::split(&given).for_build(), ["-pshop"]);
    }
}
