//! The account of a run: every line with its target, and the machine that it was measured on.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::arguments::Length;
use crate::date;
use crate::error::BenchError;
use crate::pairs::Spread;
use crate::rows::Row;
use crate::verdict::{Target, Unit};

/// One figure of a row.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// What it was compared with in the same run; empty for a figure without a pair.
    pub(crate) beside: String,
    pub(crate) unit: Unit,
    pub(crate) found: Spread,
    pub(crate) target: Target,
    /// Absolute figures of both arms: context for the pair, to be quoted by nobody.
    pub(crate) context: Vec<(String, String)>,
}

impl Line {
    /// A figure with its target.
    pub(crate) fn new(
        what: impl Into<String>,
        beside: impl Into<String>,
        (unit, found): (Unit, Spread),
        target: Target,
    ) -> Self {
        Self {
            what: what.into(),
            beside: beside.into(),
            unit,
            found,
            target,
            context: Vec::new(),
        }
    }

    /// The same line with one more figure for context.
    pub(crate) fn with(mut self, name: impl Into<String>, unit: Unit, found: Spread) -> Self {
        self.context.push((name.into(), unit.write(found.median)));
        self
    }
}

/// The lines of a row, or why there are none.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) row: &'static str,
    pub(crate) about: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) unmeasured: Option<String>,
}

/// The whole run.
#[derive(Debug)]
pub(crate) struct Report {
    date: String,
    pub(crate) length: Length,
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) sections: Vec<Section>,
}

impl Report {
    /// A report without sections.
    pub(crate) fn new(machine: Vec<(String, String)>, length: Length) -> Self {
        Self {
            date: date::now(),
            length,
            machine,
            sections: Vec::new(),
        }
    }

    /// When the run began, in UTC.
    pub(crate) fn date(&self) -> &str {
        &self.date
    }

    /// Adds the lines of a row.
    pub(crate) fn add(&mut self, row: &Row, lines: Vec<Line>) {
        self.push(row, lines, None);
    }

    /// Adds a row that could not be measured.
    pub(crate) fn add_unmeasured(&mut self, row: &Row, error: &BenchError) {
        self.push(row, Vec::new(), Some(error.to_string()));
    }

    fn push(&mut self, row: &Row, lines: Vec<Line>, unmeasured: Option<String>) {
        self.sections.push(Section {
            row: row.name,
            about: row.about,
            lines,
            unmeasured,
        });
    }

    /// Writes `<date>.json` into the directory.
    ///
    /// # Errors
    /// The file that cannot be written.
    pub(crate) fn write(&self, directory: &Path) -> Result<PathBuf, BenchError> {
        std::fs::create_dir_all(directory).map_err(BenchError::file(directory))?;
        let path = directory.join(format!("{}.json", self.date));
        let text = format!("{:#}\n", self.to_json());
        std::fs::write(&path, text).map_err(BenchError::file(&path))?;
        Ok(path)
    }

    fn to_json(&self) -> Value {
        json!({
            "date": self.date,
            "quotable": self.length == Length::Full && !cfg!(debug_assertions),
            "machine": pairs_to_json(&self.machine),
            "rows": self.sections.iter().map(section_to_json).collect::<Vec<_>>(),
        })
    }
}

fn section_to_json(section: &Section) -> Value {
    json!({
        "row": section.row,
        "about": section.about,
        "unmeasured": section.unmeasured,
        "lines": section.lines.iter().map(line_to_json).collect::<Vec<_>>(),
    })
}

fn line_to_json(line: &Line) -> Value {
    let target = match line.target {
        Target::AtLeast(limit) => json!({ "at_least": limit }),
        Target::AtMost(limit) => json!({ "at_most": limit }),
        Target::None => Value::Null,
    };
    json!({
        "what": line.what,
        "beside": line.beside,
        "unit": line.unit.name(),
        "median": line.found.median,
        "low": line.found.low,
        "high": line.found.high,
        "target": target,
        "verdict": line.target.judge(line.found).word(),
        "context": pairs_to_json(&line.context),
    })
}

fn pairs_to_json(pairs: &[(String, String)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    #[test]
    fn a_losing_line_and_a_row_that_could_not_run_stay_in_the_results() {
        let found = Spread {
            median: 0.5,
            low: 0.4,
            high: 0.6,
        };
        let mut report = Report::new(vec![("cores".into(), "2".into())], Length::Short);
        let line = Line::new("append", "raw", (Unit::Ratio, found), Target::AtLeast(0.85));
        report.add(&ROWS[0], vec![line.with("ours", Unit::PerSecond, found)]);
        report.add_unmeasured(&ROWS[0], &BenchError::Arguments("no disk".into()));

        let directory = tempfile::tempdir().unwrap();
        let path = report.write(&directory.path().join("bench")).unwrap();
        let written: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(written["quotable"], false);
        assert_eq!(written["machine"]["cores"], "2");
        assert_eq!(written["rows"][0]["lines"][0]["verdict"], "LOSES");
        assert_eq!(written["rows"][0]["lines"][0]["target"]["at_least"], 0.85);
        assert!(
            written["rows"][1]["unmeasured"]
                .as_str()
                .unwrap()
                .starts_with("no disk")
        );
    }
}
