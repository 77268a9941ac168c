//! The size of files and the words that must not stay in them.

use std::path::PathBuf;
use std::process::Command;

use crate::Verdict;
use crate::cargo::{output, root};
use crate::error::XtaskError;

/// Past this a file should be asked whether it holds one idea.
const LINES_WORTH_A_QUESTION: usize = 500;
/// Past this the answer is no.
const LINES_AT_MOST: usize = 800;

/// The list of words stands here and is the one place where they may.
const OWN_PATH: &str = "xtask/src/tidy.rs";

/// Something written in passing that must be settled before it is committed.
struct Word {
    text: &'static str,
    scope: Scope,
    cure: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Rust,
    Everywhere,
}

const WORDS: &[Word] = &[
    Word {
        text: "todo!(",
        scope: Scope::Rust,
        cure: "write the code or leave the function out",
    },
    Word {
        text: "unimplemented!(",
        scope: Scope::Rust,
        cure: "write the code or leave the function out",
    },
    Word {
        text: "dbg!(",
        scope: Scope::Rust,
        cure: "remove it",
    },
    Word {
        text: "#[ignore",
        scope: Scope::Rust,
        cure: "let the test print `SKIPPED <name>: <reason>` when it lacks something, so that it is counted",
    },
    Word {
        text: "FIXME",
        scope: Scope::Everywhere,
        cure: "fix it, or open an issue",
    },
    Word {
        text: "<<<<<<< ",
        scope: Scope::Everywhere,
        cure: "resolve the merge conflict",
    },
];

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Warning,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    weight: Weight,
    message: String,
}

/// Looks through every file that git knows or would add.
pub(crate) fn run() -> Result<Verdict, XtaskError> {
    let mut verdict = Verdict::Clean;
    for path in files()? {
        let full_path = root().join(&path);
        let bytes = match std::fs::read(&full_path) {
            Ok(bytes) => bytes,
            // Removed from the directory but not yet from git's index; a link to a directory is no file either.
            Err(_) if !full_path.is_file() => continue,
            Err(source) => return Err(XtaskError::File { path, source }),
        };
        // What is no text (a picture, a recorded segment) has neither lines nor words.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        for finding in findings(&path.to_string_lossy(), &text) {
            if finding.weight == Weight::Error {
                verdict = Verdict::Failed;
                eprintln!("error: {}", finding.message);
            } else {
                eprintln!("warning: {}", finding.message);
            }
        }
    }
    Ok(verdict)
}

fn files() -> Result<Vec<PathBuf>, XtaskError> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = output(git.current_dir(root()))?;
    let paths = list.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    let mut paths: Vec<PathBuf> = paths
        .map(|path| String::from_utf8_lossy(path).into_owned().into())
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn findings(path: &str, text: &str) -> Vec<Finding> {
    let is_rust = path.ends_with(".rs");
    let mut findings = Vec::new();
    if is_rust {
        findings.extend(size_finding(path, text.lines().count()));
    }
    if path == OWN_PATH {
        return findings;
    }
    for (index, line) in text.lines().enumerate() {
        let words = WORDS
            .iter()
            .filter(|word| word.scope == Scope::Everywhere || is_rust);
        for word in words.filter(|word| line.contains(word.text)) {
            findings.push(Finding {
                weight: Weight::Error,
                message: format!(
                    "{path}:{}: `{}` must not stay: {}",
                    index + 1,
                    word.text,
                    word.cure
                ),
            });
        }
    }
    findings
}

fn size_finding(path: &str, lines: usize) -> Option<Finding> {
    if lines > LINES_AT_MOST {
        return Some(Finding {
            weight: Weight::Error,
            message: format!("{path}: {lines} lines, at most {LINES_AT_MOST}; split it by idea"),
        });
    }
    (lines > LINES_WORTH_A_QUESTION).then(|| Finding {
        weight: Weight::Warning,
        message: format!("{path}: {lines} lines; is it one idea?"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_word_is_named_with_its_place_and_cure() {
        let found = findings(
            "crates/x/src/lib.rs",
            "fn a() {\n    todo!()\n}\n// FIXME later\n",
        );
        let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("crates/x/src/lib.rs:2: `todo!(` must not stay: write the code"));
        assert!(messages[1].starts_with("crates/x/src/lib.rs:4: `FIXME` must not stay"));
        assert!(found.iter().all(|finding| finding.weight == Weight::Error));
    }

    #[test]
    fn words_of_code_are_free_in_prose_and_words_of_haste_nowhere() {
        assert_eq!(findings("STYLE.md", "write no `dbg!(x)`"), Vec::new());
        assert_eq!(findings("STYLE.md", "FIXME").len(), 1);
    }

    #[test]
    fn long_files_are_questioned_and_longer_ones_refused() {
        for (lines, expected) in [
            (500, None),
            (501, Some(Weight::Warning)),
            (800, Some(Weight::Warning)),
            (801, Some(Weight::Error)),
        ] {
            let found = findings("crates/x/src/lib.rs", &"\n".repeat(lines));
            assert_eq!(
                found.first().map(|finding| finding.weight),
                expected,
                "{lines} lines"
            );
            assert_eq!(findings("notes.md", &"\n".repeat(lines)), Vec::new());
        }
    }
}
