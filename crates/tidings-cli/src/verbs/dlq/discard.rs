//! `tidings dlq discard`.

use super::LetterArgs;
use super::letters::Chosen;
use super::pass::{Passage, Way, pass};
use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::confirm::confirm;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Out, Row};
use clap::Args;
use serde::Serialize;

/// What `dlq discard` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
Discarded letters are remembered as those that were sent back are: they are not listed and not sent back any more. The \
messages stay in the dead-letter topic until its retention removes them; tidings tail still shows them there. On RabbitMQ \
letters lie in a queue: those that are discarded are taken out of it, and gone.

Example:
  tidings dlq discard orders --group billing --error-contains \"card expired\" --dry-run")]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    letters: LetterArgs,
    /// Only count what would be discarded
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// What was done with the letters of a group.
#[derive(Debug, Serialize)]
struct DiscardRow {
    group: String,
    selected: usize,
    discarded: usize,
    dry_run: bool,
}

impl Row for DiscardRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("GROUP"),
        Column::right("SELECTED"),
        Column::right("DISCARDED"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.clone(),
            self.selected.to_string(),
            self.discarded.to_string(),
        ]
    }
}

/// Takes dead letters off the list.
pub(super) async fn run(global: &Global, args: &DiscardArgs, out: &mut Out) -> Result<Exit, CliError> {
    let intent = if args.dry_run {
        Intent::Read
    } else {
        Intent::Change
    };
    let name = args.letters.from.first().map(String::as_str);
    let broker = Broker::open(global, intent, name, out).await?;
    let done = all(&broker, args, out).await;
    let closed = broker.close().await;
    done.and(closed)?;
    Ok(Exit::Done)
}

async fn all(broker: &Broker, args: &DiscardArgs, out: &mut Out) -> Result<(), CliError> {
    let chosen = Chosen::new(broker, &args.letters, out).await?;
    if chosen.without_group > 0 {
        out.remark(&format!(
            "{} are left out: somebody else put them there, and only what a group gave up on is discarded",
            chosen.without_group
        ))?;
    }
    if chosen.count() == 0 {
        return out.remark("no dead letter is meant by that; tidings dlq ls lists them");
    }
    if !args.dry_run {
        let what = match broker.hands_over() {
            true => format!("delete {} dead letters from their queue", chosen.count()),
            false => format!("discard {} dead letters for good", chosen.count()),
        };
        confirm(args.yes.into(), &what)?;
    }
    let mut rows: Vec<DiscardRow> = Vec::new();
    for (group, letters) in &chosen.groups {
        let mut row = DiscardRow {
            group: group.clone(),
            selected: letters.positions.len(),
            discarded: 0,
            dry_run: args.dry_run,
        };
        if !args.dry_run {
            let way = Way {
                passage: Passage::Discard,
                rate: None,
                done_before: rows.iter().map(|row| row.discarded).sum(),
            };
            row.discarded = pass(broker, group, letters, way, out).await?.done;
        }
        rows.push(row);
    }
    out.rows(&rows)?;
    if args.dry_run {
        out.remark("dry run: nothing was discarded")?;
    }
    Ok(())
}
