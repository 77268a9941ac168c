//! The report as a table for a terminal.

use crate::arguments::Length;
use crate::report::{Line, Report, Section};
use crate::verdict::{Target, Verdict};

/// The whole table, with the machine above and the tally below.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    for (name, value) in &report.machine {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if report.length == Length::Short {
        text.push_str("SHORT RUN: the figures below mean nothing\n");
    }
    for section in &report.sections {
        text.push_str(&render_section(section));
    }
    text.push_str(&tally(report));
    text
}

fn render_section(section: &Section) -> String {
    let mut text = format!("\n{}  {}\n", section.row, section.about);
    if let Some(reason) = &section.unmeasured {
        text.push_str(&format!("  NOT MEASURED: {reason}\n"));
    }
    let cells: Vec<[String; 4]> = section.lines.iter().map(cells).collect();
    let mut widths = [0; 4];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for (line, row) in section.lines.iter().zip(&cells) {
        let mut written = String::new();
        for (cell, width) in row.iter().zip(widths) {
            written.push_str(&format!("  {cell:<width$}"));
        }
        text.push_str(written.trim_end());
        text.push('\n');
        if !line.context.is_empty() {
            let context = line.context.iter().map(|(name, value)| format!("{name} {value}"));
            text.push_str(&format!("      {}\n", context.collect::<Vec<_>>().join(", ")));
        }
    }
    text
}

fn cells(line: &Line) -> [String; 4] {
    let what = if line.beside.is_empty() {
        line.what.clone()
    } else {
        format!("{}, beside {}", line.what, line.beside)
    };
    let write = |value| line.unit.write(value);
    let found = line.found;
    let target = match line.target {
        Target::AtLeast(limit) => format!(">= {}", write(limit)),
        Target::AtMost(limit) => format!("<= {}", write(limit)),
        Target::None => String::new(),
    };
    [
        what,
        format!(
            "{} [{} .. {}]",
            write(found.median),
            write(found.low),
            write(found.high)
        ),
        target,
        line.target.judge(found).word().to_owned(),
    ]
}

fn tally(report: &Report) -> String {
    let lines = report.sections.iter().flat_map(|section| &section.lines);
    let verdicts: Vec<Verdict> = lines.map(|line| line.target.judge(line.found)).collect();
    let count = |verdict| verdicts.iter().filter(|found| **found == verdict).count();
    let unmeasured = report
        .sections
        .iter()
        .filter(|section| section.unmeasured.is_some())
        .count();
    format!(
        "\n{} targets hold, {} lose, {unmeasured} rows not measured\n",
        count(Verdict::Holds),
        count(Verdict::Loses)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BenchError;
    use crate::pairs::Spread;
    use crate::rows::ROWS;
    use crate::verdict::Unit;

    #[test]
    fn the_table_shows_ratio_range_target_verdict_and_context() {
        let found = Spread {
            median: 0.9,
            low: 0.8,
            high: 1.0,
        };
        let line = |target| Line::new("append", "raw", (Unit::Ratio, found), target);
        let mut report = Report::new(Vec::new(), Length::Full);
        report.add(
            &ROWS[0],
            vec![
                line(Target::AtLeast(0.85)).with("ours", Unit::PerSecond, Spread::of([1e6])),
                line(Target::AtLeast(0.95)),
            ],
        );
        report.add_unmeasured(&ROWS[0], &BenchError::Arguments("no disk".into()));
        let text = render(&report);
        for expected in [
            "append, beside raw  0.900x [0.800x .. 1.000x]  >= 0.850x  holds\n      ours 1.00 M/s\n",
            ">= 0.950x  LOSES\n",
            "NOT MEASURED: no disk",
            "1 targets hold, 1 lose, 1 rows not measured",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }
}
