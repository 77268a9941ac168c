//! Reading histories back: [`read_all`].

use super::event::{Event, Line};
use crate::error::ChaosError;
use std::path::{Path, PathBuf};

/// Reads the histories of one run, files or directories of `*.jsonl`, in the order in which the incarnations lived.
///
/// # Errors
/// If a file cannot be read, or holds something else than a history.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Line>, ChaosError> {
    let mut lines = Vec::new();
    for path in paths {
        if !path.is_dir() {
            lines.extend(read_file(path)?);
            continue;
        }
        let listed = std::fs::read_dir(path).map_err(ChaosError::io("list", path))?;
        for entry in listed {
            let file = entry.map_err(ChaosError::io("list", path))?.path();
            if file.extension().is_some_and(|extension| extension == "jsonl") {
                lines.extend(read_file(&file)?);
            }
        }
    }
    // Stable: the lines of one process keep their order. What killed it comes after everything that it did.
    lines.sort_by_key(|line| (line.n, matches!(line.event, Event::Fault(_))));
    Ok(lines)
}

fn read_file(path: &Path) -> Result<Vec<Line>, ChaosError> {
    let bytes = std::fs::read(path).map_err(ChaosError::io("read", path))?;
    read_text(&String::from_utf8_lossy(&bytes)).map_err(|(line, reason)| ChaosError::History {
        path: path.to_owned(),
        line,
        reason,
    })
}

/// Reads one history. A last line without an end was torn by a kill and is left out.
///
/// # Errors
/// The number of the first line that is none, and why.
pub fn read_text(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let whole = text
        .rfind('\n')
        .map_or("", |end| text.get(..end).unwrap_or_default());
    let numbered = whole.lines().enumerate().filter(|(_, line)| !line.is_empty());
    numbered
        .map(|(index, line)| serde_json::from_str(line).map_err(|error| (index + 1, error.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Fault, Lifecycle};

    fn line(n: u32, event: Event) -> String {
        serde_json::to_string(&Line { t: 1, n, event }).unwrap() + "\n"
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_any_other_is_refused() {
        let whole = line(0, Event::Rss { bytes: 7 });
        let torn = format!("{whole}{}", &whole[..whole.len() / 2]);
        assert_eq!(read_text(&torn).unwrap().len(), 1);
        assert_eq!(read_text("").unwrap().len(), 0);
        let broken = format!("{whole}{{\n{whole}");
        assert_eq!(read_text(&broken).unwrap_err().0, 2);
    }

    #[test]
    fn lines_come_in_the_order_of_the_lives_and_a_kill_comes_last() {
        let directory = tempfile::tempdir().unwrap();
        let kill = line(
            0,
            Event::Fault(Fault {
                point: None,
                call: None,
            }),
        );
        std::fs::write(
            directory.path().join("a.jsonl"),
            kill + &line(1, Event::Rss { bytes: 1 }),
        )
        .unwrap();
        let ended = line(0, Event::Lifecycle(Lifecycle::Ended));
        std::fs::write(directory.path().join("b.jsonl"), ended).unwrap();
        let lines = read_all(&[directory.path().to_owned()]).unwrap();
        assert!(matches!(lines[0].event, Event::Lifecycle(_)));
        assert!(matches!(lines[1].event, Event::Fault(_)));
        assert_eq!(lines[2].n, 1);
    }
}
