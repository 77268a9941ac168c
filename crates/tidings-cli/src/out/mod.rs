//! What the verbs say: tables on a terminal, one JSON object a line for programs.

mod message;
mod progress;
mod style;
mod table;
mod text;

pub(crate) use message::{MessageJson, message_block};
pub(crate) use progress::{Progress, bytes};
pub(crate) use style::{Colour, Style};
pub(crate) use table::{Column, Row};
pub(crate) use text::{compact_json, escape, escape_lines, is_json, pretty_json, shorten};

use crate::error::CliError;
use clap::ValueEnum;
use progress::Unit;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

/// What the output looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Tables and text for people.
    Table,
    /// One JSON object a line.
    Json,
}

/// Whether remarks beside the results are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remarks {
    /// Remarks and progress go to the standard error.
    Shown,
    /// Only results and errors.
    Hidden,
}

/// Where the verbs say what they found: results to the standard output, remarks to the standard error.
#[derive(Debug)]
pub(crate) struct Out {
    form: Form,
    remarks: Remarks,
    colour: Colour,
    width: Option<u16>,
    stdout: BufWriter<Stdout>,
}

impl Out {
    /// The form that was asked for, or the one that fits who reads.
    pub(crate) fn new(form: Option<Form>, remarks: Remarks) -> Self {
        let terminal = io::stdout().is_terminal();
        let fitting = if terminal { Form::Table } else { Form::Json };
        let width = terminal
            .then(|| terminal_size::terminal_size_of(io::stdout()))
            .flatten();
        Self {
            form: form.unwrap_or(fitting),
            remarks,
            colour: Colour::of(&io::stdout()),
            width: width.map(|(width, _)| width.0),
            stdout: BufWriter::new(io::stdout()),
        }
    }

    /// The form of what is written.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Rows: a table, or an object each.
    pub(crate) fn rows<R: Row>(&mut self, rows: &[R]) -> Result<(), CliError> {
        match self.form {
            Form::Json => rows.iter().try_for_each(|row| self.object(row)),
            Form::Table if rows.is_empty() => Ok(()),
            Form::Table => {
                let table = table::table(rows, self.width, self.colour);
                self.text(&table)
            }
        }
    }

    /// One JSON object on its line.
    pub(crate) fn object(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.stdout, value)
            .map_err(|error| CliError::from(io::Error::from(error)))?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// Text for people, with its last line ended.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            self.stdout.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.stdout.write_all(bytes)?)
    }

    /// Lets the reader have what was written so far.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.stdout.flush()?)
    }

    /// Text in that style, if this output has styles.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        self.colour.paint(style, text)
    }

    /// A remark for people, beside the results.
    pub(crate) fn remark(&mut self, text: &str) -> Result<(), CliError> {
        // What was found stands before what is said about it, where both are seen.
        self.flush()?;
        if self.remarks == Remarks::Shown {
            // A closed standard error is no reason to stop.
            let _ = writeln!(io::stderr(), "{text}");
        }
        Ok(())
    }

    /// Shows how far a long piece of work is, if somebody watches.
    pub(crate) fn progress(&self, doing: &'static str, total: Option<u64>) -> Progress {
        Progress::new(doing, total, Unit::Things, self.remarks)
    }

    /// Shows how many bytes of a long piece of work are done, if somebody watches.
    pub(crate) fn byte_progress(&self, doing: &'static str) -> Progress {
        Progress::new(doing, Some(0), Unit::Bytes, self.remarks)
    }
}
