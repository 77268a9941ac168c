//! `tidings dlq ls`.

use super::LetterArgs;
use super::find::{Search, check_group, each};
use super::show::attempts;
use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Form, Out, Row};
use crate::time::show;
use clap::Args;
use serde::Serialize;
use std::ops::ControlFlow;
use tidings_runtime::DeadLetter;

/// How many a table shows if nobody says.
const TABLE_LIMIT: usize = 100;

/// What `dlq ls` understands.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    letters: LetterArgs,
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub(super) struct LetterRow {
    position: String,
    group: Option<String>,
    subscription: Option<String>,
    key: Option<String>,
    id: Option<String>,
    reason: Option<String>,
    attempts: Option<u32>,
    broker_attempts: Option<u32>,
    #[serde(skip)]
    tries: Option<String>,
    redrives: u32,
    failed: Option<String>,
    origin: Option<String>,
    error: Option<String>,
}

impl LetterRow {
    fn new(letter: &DeadLetter) -> Self {
        let diagnosis = &letter.diagnosis;
        let key = letter.message.key();
        Self {
            position: letter.position.to_string(),
            group: diagnosis.group.clone(),
            subscription: diagnosis.subscription.clone(),
            key: key.map(|key| String::from_utf8_lossy(key).into_owned()),
            id: letter.message_id().map(str::to_owned),
            reason: diagnosis.reason.clone(),
            attempts: diagnosis.attempts,
            broker_attempts: diagnosis.broker_attempts,
            tries: attempts(diagnosis),
            redrives: diagnosis.redrives,
            failed: diagnosis.last_failure.map(show),
            origin: diagnosis.position.as_ref().map(ToString::to_string),
            error: diagnosis.error.clone(),
        }
    }
}

impl Row for LetterRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("POSITION"),
        Column::left("GROUP"),
        Column::left("KEY"),
        Column::left("FAILED"),
        Column::right("ATTEMPTS"),
        Column::left("REASON"),
        Column::left("ERROR"),
    ];

    fn cells(&self) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.position.clone(),
            text(&self.group),
            text(&self.key),
            text(&self.failed),
            text(&self.tries),
            text(&self.reason),
            text(&self.error),
        ]
    }
}

/// Lists dead letters.
pub(super) async fn run(global: &Global, args: &LsArgs, out: &mut Out) -> Result<Exit, CliError> {
    let name = args.letters.from.first().map(String::as_str);
    let broker = Broker::open(global, Intent::Read, name, out).await?;
    let search = Search::new(&broker, &args.letters).await?;
    let mut rows: Vec<LetterRow> = Vec::new();
    let (mut found, mut more) = (false, 0);
    let progress = out.progress("reading dead letters", None);
    each(&broker, &search, &args.letters, |letter| {
        progress.add(1);
        found = true;
        let row = LetterRow::new(&letter);
        match out.form() {
            // As they are found: there may be more than fit into memory.
            Form::Json => out.object(&row)?,
            Form::Table if rows.len() < args.letters.limit.unwrap_or(TABLE_LIMIT) => rows.push(row),
            Form::Table => more += 1,
        }
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    drop(progress);
    if !found {
        check_group(&broker, &args.letters).await?;
    }
    if out.form() == Form::Table {
        out.rows(&rows)?;
        match (rows.len(), more) {
            (0, _) => out.remark("no dead letters")?,
            (_, 0) => {}
            (shown, more) => out.remark(&format!(
                "and {more} more: {} in all; --limit shows more",
                shown + more
            ))?,
        }
    }
    broker.close().await?;
    Ok(Exit::Done)
}
