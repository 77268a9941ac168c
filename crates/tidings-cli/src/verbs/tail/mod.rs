//! `tidings tail`.

mod live;
mod starts;

use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Form, MessageJson, Out, Style, compact_json, escape, is_json, message_block, shorten};
use crate::place::Place;
use crate::reading::{Found, Merge, MessageFilter, parse_header};
use crate::time::show;
use clap::Args;
use std::time::Duration;

/// How long it waits before it looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much of a payload stands on a line for people.
const LONGEST_LINE: usize = 1_000;

/// What `tail` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
RabbitMQ keeps nothing of what was handled: there, only --follow shows something, and that from now on.

Examples:
  tidings tail orders                         the last 10 messages
  tidings tail orders --follow                and every one that comes
  tidings tail orders --from 10m --key ada    those of ada in the last ten minutes
  tidings tail orders --from beginning --json | jq .payload.cents")]
pub(crate) struct TailArgs {
    /// The channel or topic
    channel: String,
    /// Where to begin: beginning, end, offset:42, a span like 10m (ago), or 2026-11-21T08:00:00Z
    #[arg(long, value_name = "PLACE", conflicts_with = "last")]
    from: Option<Place>,
    /// Begin with the last so many messages that are meant; 10 if nobody says where to begin
    #[arg(long, short = 'n', value_name = "NUMBER")]
    last: Option<usize>,
    /// Go on with messages as they come, until ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// End after this many messages
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Only messages with this key
    #[arg(long, short, value_name = "KEY")]
    key: Option<String>,
    /// Only messages with this header; may be said several times
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Only messages whose payload contains this text
    #[arg(long, short, value_name = "TEXT")]
    grep: Option<String>,
    /// Only this partition
    #[arg(long, short, value_name = "NUMBER")]
    partition: Option<u32>,
    /// Show headers and the whole payload of each message
    #[arg(long, short, conflicts_with_all = ["raw", "json"])]
    verbose: bool,
    /// Only the bytes of each payload, with a line end
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

impl TailArgs {
    fn filter(&self) -> MessageFilter {
        MessageFilter {
            key: self.key.clone(),
            headers: self.headers.clone(),
            payload_contains: self.grep.clone(),
        }
    }

    fn view(&self, out: &Out) -> View {
        match out.form() {
            _ if self.raw => View::Raw,
            Form::Json => View::Json,
            Form::Table if self.verbose => View::Block,
            Form::Table => View::Line,
        }
    }
}

/// How a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Line,
    Block,
    Json,
    Raw,
}

/// Shows messages.
pub(crate) async fn run(global: &Global, args: TailArgs, out: &mut Out) -> Result<Exit, CliError> {
    let broker = Broker::open(global, Intent::Read, Some(&args.channel), out).await?;
    let topic = broker.topic(&args.channel).await?;
    if !broker.binder().capabilities().replay {
        let shown = live::run(&broker, &topic, &args, out).await;
        out.flush()?;
        broker.close().await?;
        return shown.map(|()| Exit::Done);
    }
    let partitions = starts::partitions(&broker, &topic, args.partition).await?;
    let filter = args.filter();
    let starts = match (args.from, args.last) {
        (Some(place), _) => starts::at(&broker, &topic.name, &partitions, place).await?,
        (None, Some(last)) => starts::last(&broker, &topic.name, &partitions, &filter, last).await?,
        (None, None) => starts::last(&broker, &topic.name, &partitions, &filter, 10).await?,
    };
    let view = args.view(out);
    let tail = Tail {
        merge: Merge::new(&broker, &topic.name, &starts.offsets),
        filter,
        view,
        skip: starts.skip,
        left: args.limit.unwrap_or(u64::MAX),
    };
    let shown = if args.follow {
        tokio::select! {
            shown = tail.follow(out) => shown,
            // The regular end of following.
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    } else {
        tail.once(out).await
    };
    out.flush()?;
    broker.close().await?;
    shown.map(|()| Exit::Done)
}

/// Messages while they are shown.
struct Tail<'a> {
    merge: Merge<'a>,
    filter: MessageFilter,
    view: View,
    /// How many that are meant are passed over at first: partitions begin at different times.
    skip: usize,
    left: u64,
}

impl Tail<'_> {
    async fn once(mut self, out: &mut Out) -> Result<(), CliError> {
        self.merge.look().await?;
        self.show(out).await
    }

    async fn follow(mut self, out: &mut Out) -> Result<(), CliError> {
        while self.left > 0 {
            if self.merge.look().await? {
                self.show(out).await?;
                out.flush()?;
            } else {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Shows what there was at the last look.
    async fn show(&mut self, out: &mut Out) -> Result<(), CliError> {
        while self.left > 0
            && let Some(found) = self.merge.next().await?
        {
            if !self.filter.accepts(&found.message) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.left -= 1;
            show_one(&found, self.view, out)?;
        }
        Ok(())
    }
}

fn show_one(found: &Found, view: View, out: &mut Out) -> Result<(), CliError> {
    let message = &found.message;
    match view {
        View::Json => out.object(&MessageJson::new(&found.position, message)),
        View::Raw => {
            out.bytes(message.payload().map(|payload| &payload[..]).unwrap_or_default())?;
            out.bytes(b"\n")
        }
        View::Line => out.text(&line(found, out)),
        View::Block => {
            let head = format!("{}\n{}\n", line_head(found, out), message_block(message));
            out.text(&head)
        }
    }
}

/// Time, position and key.
fn line_head(found: &Found, out: &Out) -> String {
    let time = found.message.timestamp().map(show).unwrap_or_default();
    let place = format!("{time}  {}", found.position);
    let place = out.paint(Style::Quiet, &escape(&place));
    match found.message.key() {
        Some(key) => format!(
            "{place}  {}",
            out.paint(Style::Strong, &escape(&String::from_utf8_lossy(key)))
        ),
        None => format!("{place}  -"),
    }
}

fn line(found: &Found, out: &Out) -> String {
    let payload = match found.message.payload() {
        None => "(no payload)".to_owned(),
        Some(payload) => match std::str::from_utf8(payload) {
            Ok(text) if is_json(payload) => escape(&shorten(&compact_json(text), LONGEST_LINE)),
            Ok(text) => escape(&shorten(text, LONGEST_LINE)),
            Err(_) => format!("({} bytes that are no text; --verbose shows them)", payload.len()),
        },
    };
    format!("{}  {payload}", line_head(found, out))
}
