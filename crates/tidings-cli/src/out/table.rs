//! Tables: [`Row`] says what its columns are.

use super::style::{Colour, Style};
use super::text::{escape, shorten};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// On which side of its column a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// On which side its values stand.
    pub(crate) align: Align,
}

impl Column {
    /// A column of words.
    pub(crate) const fn left(title: &'static str) -> Self {
        Self {
            title,
            align: Align::Left,
        }
    }

    /// A column of numbers.
    pub(crate) const fn right(title: &'static str) -> Self {
        Self {
            title,
            align: Align::Right,
        }
    }
}

/// Something that is a row of a table for people and an object for programs.
pub(crate) trait Row: Serialize {
    /// Its columns.
    const COLUMNS: &'static [Column];

    /// What stands in them.
    fn cells(&self) -> Vec<String>;
}

/// Between two columns.
const GAP: usize = 2;
/// The last column is cut to what is left of the line, but not below this.
const NARROWEST: usize = 24;
/// The longest cell that is not the last.
const WIDEST: usize = 60;

/// The rows as a table. Values come from messages, so they are made harmless here; the last column is cut to the width
/// of the terminal.
pub(super) fn table<R: Row>(rows: &[R], width: Option<u16>, colour: Colour) -> String {
    let last = R::COLUMNS.len().saturating_sub(1);
    let mut cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.cells().iter().map(|cell| escape(cell)).collect())
        .collect();
    let room = width.map(|width| room(&cells, R::COLUMNS, usize::from(width)));
    for row in &mut cells {
        for (index, cell) in row.iter_mut().enumerate() {
            let limit = if index == last { room } else { Some(WIDEST) };
            if let Some(limit) = limit {
                *cell = shorten(cell, limit);
            }
        }
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(R::COLUMNS.iter().map(|column| column.title));
    table.add_rows(cells);
    for (index, column) in table.column_iter_mut().enumerate() {
        let gap = if index == last { 0 } else { GAP as u16 };
        column.set_padding((0, gap));
        if R::COLUMNS
            .get(index)
            .is_some_and(|column| column.align == Align::Right)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines().enumerate().map(|(number, line)| match number {
        0 => colour.paint(Style::Strong, line.trim_end()),
        _ => line.trim_end().to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How many letters are left for the last column.
fn room(cells: &[Vec<String>], columns: &[Column], width: usize) -> usize {
    let before = columns.len().saturating_sub(1);
    let taken: usize = (0..before)
        .map(|index| {
            let title = columns.get(index).map_or(0, |column| column.title.len());
            let widest = cells
                .iter()
                .filter_map(|row| row.get(index))
                .map(|cell| cell.chars().count());
            widest.max().unwrap_or(0).clamp(title, WIDEST.max(title)) + GAP
        })
        .sum();
    width.saturating_sub(taken).max(NARROWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Topic(&'static str, u64, &'static str);

    impl Row for Topic {
        const COLUMNS: &'static [Column] = &[
            Column::left("TOPIC"),
            Column::right("MESSAGES"),
            Column::left("NOTE"),
        ];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_string(), self.2.to_owned()]
        }
    }

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let rows = [Topic("orders", 12_000, "x"), Topic("p", 7, "")];
        assert_eq!(
            table(&rows, None, Colour::Off),
            "TOPIC   MESSAGES  NOTE\norders     12000  x\np              7"
        );
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal_and_control_characters_are_harmless() {
        let rows = [Topic(
            "a\u{1b}[2Jb",
            1,
            "an error that is far longer than the line that it stands on",
        )];
        let table = table(&rows, Some(50), Colour::Off);
        assert!(
            !table.contains('\u{1b}') && table.contains("a\\u{1b}[2Jb"),
            "{table}"
        );
        assert!(table.lines().all(|line| line.chars().count() <= 50), "{table}");
        assert!(table.ends_with('…'), "{table}");
    }
}
