//! The command line: which rows, and how long.

use crate::error::BenchError;
use crate::rows::{ROWS, Row};

/// What the person asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run(Arguments),
}

/// Which rows to run.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) length: Length,
    pub(crate) output: Output,
}

/// Where the table goes besides the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Nowhere.
    Terminal,
    /// Into `docs/performance.md`.
    Document,
}

/// How long the arms of each row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Long enough that start and end do not show.
    Full,
    /// A twentieth: whether everything works. Its figures are marked and not to be quoted.
    Short,
}

impl Length {
    /// So many messages of a full run.
    pub(crate) fn messages(self, full: u64) -> u64 {
        match self {
            Length::Full => full,
            Length::Short => (full / 20).max(1),
        }
    }

    /// The pairs that are measured.
    pub(crate) fn rounds(self) -> usize {
        match self {
            Length::Full => 3,
            Length::Short => 1,
        }
    }
}

impl Arguments {
    /// Reads the words after the program's name.
    pub(crate) fn parse(words: &[String]) -> Result<Command, BenchError> {
        let mut arguments = Self {
            rows: Vec::new(),
            length: Length::Full,
            output: Output::Terminal,
        };
        for word in words {
            match word.as_str() {
                "-h" | "--help" | "help" => return Ok(Command::Help),
                "--publish" => arguments.output = Output::Document,
                "--short" => arguments.length = Length::Short,
                option if option.starts_with('-') => {
                    return Err(BenchError::Arguments(format!("no option {option}")));
                }
                name => arguments.rows.extend(rows_of(name)?),
            }
        }
        if arguments.rows.is_empty() {
            arguments.rows = ROWS.iter().collect();
        }
        Ok(Command::Run(arguments))
    }
}

/// A row by its name; also all that go on with a dash: `W7` is `W7-kafka` as well.
fn rows_of(name: &str) -> Result<Vec<&'static Row>, BenchError> {
    let asked = name.to_ascii_lowercase();
    let goes_on = format!("{asked}-");
    let named = |row: &&'static Row| {
        let row = row.name.to_ascii_lowercase();
        row == asked || row.starts_with(&goes_on)
    };
    let rows: Vec<_> = ROWS.iter().filter(named).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(BenchError::Arguments(format!(
            "no row \"{name}\"; there are [{}]",
            names.join(", ")
        )));
    }
    Ok(rows)
}

/// What `--help` prints.
pub(crate) fn usage() -> String {
    let mut text = String::from(
        "usage: cargo xtask bench [--short] [--publish] [ROW...]\n\nAll rows when none is named:\n\n",
    );
    for row in ROWS {
        text.push_str(&format!("  {:<11}{}\n", row.name, row.about));
    }
    text.push_str("\n--short runs a twentieth, to see whether everything works; its figures mean nothing.\n");
    text.push_str("--publish puts the table of a full run of all rows into docs/performance.md.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, BenchError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn rows_are_found_by_name_in_either_case_and_all_are_run_when_none_is_named() {
        for (line, expected, length) in [
            ("", ROWS.len(), Length::Full),
            ("w13", 1, Length::Full),
            ("W13 --short w14", 2, Length::Short),
            ("w8", 2, Length::Full),
            ("w8-kafka", 1, Length::Full),
        ] {
            let Ok(Command::Run(arguments)) = parse(line) else {
                panic!("{line} is refused");
            };
            assert_eq!(
                (arguments.rows.len(), arguments.length),
                (expected, length),
                "{line}"
            );
        }
    }

    #[test]
    fn a_row_or_an_option_that_does_not_exist_is_refused_by_name() {
        let error = parse("W99").unwrap_err().to_string();
        assert!(error.starts_with("no row \"W99\"; there are [W"), "{error}");
        assert!(
            parse("--quick")
                .unwrap_err()
                .to_string()
                .starts_with("no option --quick")
        );
        assert!(matches!(parse("W13 --help"), Ok(Command::Help)));
    }
}
