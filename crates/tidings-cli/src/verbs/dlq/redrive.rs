//! `tidings dlq redrive`.

use super::LetterArgs;
use super::edit::{Edited, edit};
use super::letters::Chosen;
use super::pass::{Passage, Way, pass};
use super::show::find;
use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Out, Row};
use crate::time::parse_rate;
use clap::Args;
use serde::Serialize;

/// What `dlq redrive` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
A letter goes back to the retry topic of its group, with its key, payload, headers and message id, and is handled anew \
from attempt 1. What was sent back is remembered, so it is not sent again; on RabbitMQ it is taken out of its queue.

Examples:
  tidings dlq redrive orders --group billing --error-contains timeout --dry-run
  tidings dlq redrive --since 2h --rate 100/s
  tidings dlq redrive orders.DLT/0@5 --edit")]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    letters: LetterArgs,
    /// Only count what would be sent
    #[arg(long)]
    dry_run: bool,
    /// No faster than this: 100/s, 30/m
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Change the payload of one letter in $VISUAL or $EDITOR before it goes back
    #[arg(long, conflicts_with_all = ["dry_run", "rate"])]
    edit: bool,
}

/// What was done with the letters of a group.
#[derive(Debug, Serialize)]
struct RedriveRow {
    group: String,
    selected: usize,
    sent: usize,
    refused: usize,
    dry_run: bool,
}

impl Row for RedriveRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("GROUP"),
        Column::right("SELECTED"),
        Column::right("SENT BACK"),
        Column::right("REFUSED"),
    ];

    fn cells(&self) -> Vec<String> {
        let numbers = [self.selected, self.sent, self.refused];
        std::iter::once(self.group.clone())
            .chain(numbers.map(|number| number.to_string()))
            .collect()
    }
}

/// Sends dead letters back.
pub(super) async fn run(global: &Global, args: &RedriveArgs, out: &mut Out) -> Result<Exit, CliError> {
    let intent = if args.dry_run {
        Intent::Read
    } else {
        Intent::Change
    };
    let name = args.letters.from.first().map(String::as_str);
    let broker = Broker::open(global, intent, name, out).await?;
    let done = all(&broker, args, out).await;
    let closed = broker.close().await;
    let exit = done?;
    closed?;
    Ok(exit)
}

async fn all(broker: &Broker, args: &RedriveArgs, out: &mut Out) -> Result<Exit, CliError> {
    let chosen = Chosen::new(broker, &args.letters, out).await?;
    if chosen.without_group > 0 {
        out.remark(&format!(
            "{} are left out: somebody else put them there, no group gave up on them",
            chosen.without_group
        ))?;
    }
    if chosen.count() == 0 {
        out.remark("no dead letter is meant by that; tidings dlq ls lists them")?;
        return Ok(Exit::Done);
    }
    chosen.check_retry_topics(broker).await?;
    let mut rows = Vec::new();
    let mut remarks = Vec::new();
    for (group, letters) in &chosen.groups {
        let mut row = RedriveRow {
            group: group.clone(),
            selected: letters.positions.len(),
            sent: 0,
            refused: 0,
            dry_run: args.dry_run,
        };
        if !args.dry_run {
            let way = Way {
                passage: if args.edit {
                    edited(broker, &chosen, out).await?
                } else {
                    Passage::Send
                },
                rate: args.rate,
                done_before: rows.iter().map(|row: &RedriveRow| row.sent).sum(),
            };
            let passed = pass(broker, group, letters, way, out).await?;
            row.sent = passed.done;
            row.refused = passed.refused;
            remarks.extend(passed.remark);
        }
        rows.push(row);
    }
    out.rows(&rows)?;
    tell(&rows, &remarks, args, out)
}

fn tell(rows: &[RedriveRow], remarks: &[&str], args: &RedriveArgs, out: &mut Out) -> Result<Exit, CliError> {
    if args.dry_run {
        out.remark("dry run: nothing was sent")?;
    }
    for remark in remarks {
        out.remark(remark)?;
    }
    if rows.iter().any(|row| row.refused > 0) {
        return Err(CliError::Failed {
            what: "some letters cannot go back as they are and stay where they lie".to_owned(),
            cure: "change them with --edit, or discard them".to_owned(),
        });
    }
    Ok(Exit::Done)
}

/// The payload of the one letter, as somebody changed it.
async fn edited(broker: &Broker, chosen: &Chosen, out: &mut Out) -> Result<Passage, CliError> {
    let mut positions = chosen.groups.values().flat_map(|letters| &letters.positions);
    let (Some(position), None) = (positions.next(), positions.next()) else {
        return Err(CliError::usage(
            format!("--edit takes one letter, and {} are meant", chosen.count()),
            "name it by its position as dlq ls shows it, for example tidings dlq redrive orders.DLT/0@5 --edit",
        ));
    };
    let message = find(broker, position).await?;
    out.flush()?;
    match edit(message.payload().map(|payload| &payload[..]).unwrap_or_default())? {
        Edited::Changed(payload) => Ok(Passage::Edited(payload.into())),
        Edited::Same => Err(CliError::refused(
            "the payload was not changed; nothing was sent",
            "leave --edit away to send it back as it is",
        )),
    }
}
