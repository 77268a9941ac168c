//! Links of the documents: what they point to must be there, and a test that is named must stand in its file.

use std::path::{Path, PathBuf};

use crate::Verdict;
use crate::cargo::root;
use crate::error::XtaskError;

/// Looks at every document of the repository.
pub(crate) fn run() -> Result<Verdict, XtaskError> {
    let mut verdict = Verdict::Clean;
    for path in documents()? {
        let text = read(&path)?;
        for (line, link) in links(&text) {
            if let Err(reason) = holds(&path, &link)? {
                verdict = Verdict::Failed;
                let shown = path.strip_prefix(root()).unwrap_or(&path).display();
                eprintln!(
                    "error: {shown}:{line}: [{}]({}): {reason}",
                    link.text, link.target
                );
            }
        }
    }
    Ok(verdict)
}

fn documents() -> Result<Vec<PathBuf>, XtaskError> {
    let mut found = Vec::new();
    for directory in [root().to_owned(), root().join("docs")] {
        let entries = std::fs::read_dir(&directory).map_err(|source| XtaskError::File {
            path: directory.clone(),
            source,
        })?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        found.extend(paths.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, XtaskError> {
    std::fs::read_to_string(path).map_err(|source| XtaskError::File {
        path: path.to_owned(),
        source,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    text: String,
    target: String,
}

/// The inline links with the number of their line. Code blocks have none.
fn links(text: &str) -> Vec<(usize, Link)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let mut rest = if in_code { "" } else { line };
        while let Some(middle) = rest.find("](") {
            let (before, after) = rest.split_at(middle);
            let after = after.get(2..).unwrap_or_default();
            let (Some(start), Some(end)) = (before.rfind('['), after.find(')')) else {
                rest = after;
                continue;
            };
            let link = Link {
                text: before.get(start + 1..).unwrap_or_default().to_owned(),
                target: after.get(..end).unwrap_or_default().to_owned(),
            };
            found.push((index + 1, link));
            rest = after.get(end..).unwrap_or_default();
        }
    }
    found
}

/// Whether the target is there. Addresses of other sites and places within a page are not looked at.
fn holds(document: &Path, link: &Link) -> Result<Result<(), String>, XtaskError> {
    let target = link.target.split('#').next().unwrap_or_default();
    if target.is_empty() || target.contains("://") {
        return Ok(Ok(()));
    }
    let path = document.parent().unwrap_or(document).join(target);
    if !path.exists() {
        return Ok(Err("there is no such file".to_owned()));
    }
    let name = link
        .text
        .strip_prefix('`')
        .and_then(|text| text.strip_suffix('`'));
    match name.filter(|_| target.ends_with(".rs")) {
        Some(name) if !has_function(&read(&path)?, name) => {
            Ok(Err(format!("the file has no function {name}")))
        }
        _ => Ok(Ok(())),
    }
}

/// A test may be generic over what it runs on.
fn has_function(source: &str, name: &str) -> bool {
    ["(", "<"]
        .iter()
        .any(|next| source.contains(&format!("fn {name}{next}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_with_their_lines_and_not_in_code() {
        let text = "a [b](c.md) and [`d`](e.rs#f)\n```\n[no](link)\n```\nvec[0](x";
        let found: Vec<_> = links(text)
            .into_iter()
            .map(|(line, link)| (line, link.text, link.target))
            .collect();
        let expected = [(1, "b", "c.md"), (1, "`d`", "e.rs#f")];
        assert_eq!(
            found,
            expected.map(|(line, text, target)| (line, text.to_owned(), target.to_owned()))
        );
    }

    #[test]
    fn a_missing_file_and_a_test_that_was_renamed_are_told() {
        let document = root().join("docs/guarantees.md");
        let holds = |text: &str, target: &str| {
            let link = Link {
                text: text.to_owned(),
                target: target.to_owned(),
            };
            holds(&document, &link).unwrap()
        };
        let here = "../xtask/src/links.rs";
        assert_eq!(
            holds("`links_are_found_with_their_lines_and_not_in_code`", here),
            Ok(())
        );
        assert!(holds("`there_was_such_a_test`", here).is_err());
        assert!(has_function("async fn on_each<DB: Dialect>(", "on_each"));
        assert!(!has_function("fn on_each_one(", "on_each"));
        assert!(holds("x", "../nowhere.rs").is_err());
        assert_eq!(holds("x", "https://example.org/nowhere"), Ok(()));
        assert_eq!(holds("x", "#below"), Ok(()));
    }
}
