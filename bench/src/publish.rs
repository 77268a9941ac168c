//! Puts the table into `docs/performance.md`, so that nobody copies figures by hand.

use std::path::{Path, PathBuf};

use crate::arguments::{Arguments, Length};
use crate::error::BenchError;
use crate::rows::ROWS;

const BEGIN: &str = "<!-- measured: written by `cargo xtask bench --publish` -->";
const END: &str = "<!-- end of what was measured -->";

/// The document of the workspace.
fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the manifest directory of bench lies in the root of the workspace")
        .join("docs/performance.md")
}

/// Refuses what must not be published before anything is measured: parts, short runs, unoptimised builds.
pub(crate) fn check(arguments: &Arguments) -> Result<(), BenchError> {
    let refused = |reason: &str| Err(BenchError::Arguments(format!("--publish {reason}")));
    if arguments.rows.len() < ROWS.len() {
        return refused("takes every row, so that none that loses can be left out");
    }
    if arguments.length == Length::Short {
        return refused("takes a full run; leave out --short");
    }
    if cfg!(debug_assertions) {
        return refused("takes an optimised build; start it by `cargo xtask bench --publish`");
    }
    Ok(())
}

/// Replaces the table in the document and returns the document's path.
pub(crate) fn publish(date: &str, table: &str) -> Result<PathBuf, BenchError> {
    let path = document();
    let old = std::fs::read_to_string(&path).map_err(BenchError::file(&path))?;
    let new = with_table(&old, date, table)?;
    std::fs::write(&path, new).map_err(BenchError::file(&path))?;
    Ok(path)
}

fn with_table(document: &str, date: &str, table: &str) -> Result<String, BenchError> {
    let missing = |mark: &str| BenchError::part("docs/performance.md")(format!("it lost its mark {mark}"));
    let (before, rest) = document.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    let table = table.trim_end();
    Ok(format!(
        "{before}{BEGIN}\n\nMeasured {date}.\n\n```text\n{table}\n```\n\n{END}{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Command;

    #[test]
    fn the_table_takes_the_place_of_the_last_one_and_the_words_around_it_stay() {
        let document = format!("# Words\n\n{BEGIN}\nold\n{END}\nmore words\n");
        let once = with_table(&document, "today", "new 1\n").unwrap();
        let twice = with_table(&once, "today", "new 2\n").unwrap();
        assert!(twice.starts_with("# Words\n\n<!-- measured"), "{twice}");
        assert!(twice.ends_with("more words\n"), "{twice}");
        assert!(twice.contains("```text\nnew 2\n```"), "{twice}");
        assert!(!twice.contains("old") && !twice.contains("new 1"), "{twice}");
        assert!(with_table("# Words", "today", "new").is_err());
    }

    #[test]
    fn the_document_of_the_workspace_has_both_marks() {
        let text = std::fs::read_to_string(document()).unwrap();
        assert!(with_table(&text, "today", "table").is_ok());
    }

    #[test]
    fn a_part_of_the_rows_or_a_short_run_is_not_published() {
        for (words, problem) in [
            (&["--publish", "W7"][..], "takes every row"),
            (&["--publish", "--short"][..], "takes a full run"),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let Ok(Command::Run(arguments)) = Arguments::parse(&words) else {
                panic!("{words:?} is refused too early");
            };
            let error = check(&arguments).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
