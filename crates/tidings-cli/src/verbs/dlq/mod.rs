//! `tidings dlq`.

mod discard;
mod edit;
mod find;
mod letters;
mod list;
mod pass;
mod redrive;
mod show;

use crate::args::Global;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;
use crate::time::parse_time;
use clap::{Args, Subcommand};
use tidings_core::Timestamp;

/// What `dlq` understands.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List dead letters that were neither sent back nor discarded
    Ls(list::LsArgs),
    /// Show one with its diagnosis, headers and payload
    Show(show::ShowArgs),
    /// Send dead letters back to the group that gave up on them, and to no other
    Redrive(redrive::RedriveArgs),
    /// Take dead letters off the list for good; on RabbitMQ, out of their queue
    Discard(discard::DiscardArgs),
}

/// Where the options that choose letters stand in the help.
const HEADING: &str = "Which dead letters";

/// Which dead letters are meant: all conditions must hold.
#[derive(Debug, Args)]
pub(crate) struct LetterArgs {
    /// Those of this channel or topic, or one at a position as dlq ls shows it; all without it.
    ///
    /// A position is like orders.DLT/0@5, and on RabbitMQ like orders.billing.dlq/0@7203685477580. A dead-letter topic is understood
    /// too, but not on RabbitMQ. There all are those of the channels and groups that the configuration names.
    #[arg(value_name = "CHANNEL|POSITION")]
    from: Vec<String>,
    /// Those that this group gave up on; needed on RabbitMQ where the configuration names no group
    #[arg(long, short, value_name = "GROUP", help_heading = HEADING)]
    group: Option<String>,
    /// Those with this key
    #[arg(long, short, value_name = "KEY", help_heading = HEADING)]
    key: Option<String>,
    /// Those with this message id; may be said several times
    #[arg(long, value_name = "ID", help_heading = HEADING)]
    id: Vec<String>,
    /// Those whose chain of errors contains this text
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    error_contains: Option<String>,
    /// Those that failed at that time or later: a span like 2h (ago), or 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = HEADING)]
    since: Option<Timestamp>,
    /// Those that failed before that time
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = HEADING)]
    until: Option<Timestamp>,
    /// At most so many, the oldest first
    #[arg(long, value_name = "NUMBER", help_heading = HEADING)]
    limit: Option<usize>,
}

/// Looks at dead letters or does something with them.
pub(crate) async fn run(global: &Global, args: DlqArgs, out: &mut Out) -> Result<Exit, CliError> {
    match args.what {
        What::Ls(args) => list::run(global, &args, out).await,
        What::Show(args) => show::run(global, &args, out).await,
        What::Redrive(args) => redrive::run(global, &args, out).await,
        What::Discard(args) => discard::run(global, &args, out).await,
    }
}
