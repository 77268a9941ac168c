//! `tidings publish`.

mod input;

use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Form, Out, Progress};
use crate::reading::parse_header;
use crate::time::parse_span;
use clap::Args;
use input::{Inputs, Source};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Clock, DestinationSpec, Message, Position, PublishError, Publisher, Receipt, Route, Routes, names,
};

/// How many messages may be on their way at once.
const IN_FLIGHT: usize = 1_000;

/// What `publish` understands.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings publish orders '{\"order\":\"o-1\",\"cents\":500}' --key o-1
  tidings publish orders --file order.json --header source=repair
  jq -c .orders[] export.json | tidings publish orders --lines --key-field order")]
pub(crate) struct PublishArgs {
    /// The channel or topic
    channel: String,
    /// The payload; without it, and without --file, it is read from the standard input
    #[arg(conflicts_with_all = ["file", "tombstone"])]
    payload: Option<String>,
    /// Read the payload from this file
    #[arg(long, short, value_name = "FILE", conflicts_with = "tombstone")]
    file: Option<PathBuf>,
    /// Each line is a message of its own; empty lines are none
    #[arg(long, short, conflicts_with_all = ["payload", "tombstone"])]
    lines: bool,
    /// A message without a payload: on a compacted topic it says that the key is gone
    #[arg(long, requires = "key")]
    tombstone: bool,
    /// The key: messages of one key keep their order
    #[arg(long, short, value_name = "KEY")]
    key: Option<String>,
    /// Take the key of each message from this field of its JSON
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["key", "tombstone"])]
    key_field: Option<String>,
    /// A header; may be said several times
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// To this partition, whatever the key
    #[arg(long, short, value_name = "NUMBER")]
    partition: Option<u32>,
    /// Deliver it no earlier than after this time
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    delay: Option<Duration>,
    /// Publish everything this many times
    #[arg(long, short = 'n', value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    count: u64,
    /// Make the topic if it is missing, with this many partitions
    #[arg(long, value_name = "PARTITIONS", num_args = 0..=1, default_missing_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    create: Option<u32>,
}

/// Where a message was put.
#[derive(Debug, Serialize)]
struct PublishedRow {
    topic: String,
    partition: u32,
    /// None for a message that is due later: it gets its offset then.
    offset: Option<u64>,
    position: Option<String>,
}

/// Publishes what it is given and says where it lies.
pub(crate) async fn run(global: &Global, args: PublishArgs, out: &mut Out) -> Result<Exit, CliError> {
    check_headers(&args.headers)?;
    let source = Source::of(&args)?;
    let intent = if args.create.is_some() {
        Intent::Create
    } else {
        Intent::Change
    };
    let broker = Broker::open(global, intent, Some(&args.channel), out).await?;
    let topic = topic(&broker, &args).await?;
    let mut routes = Routes::default();
    let route = Route {
        sink: broker.binder().sink(),
        destination: topic,
    };
    routes.insert(args.channel.as_str(), route);
    let publisher = Publisher::new(Arc::new(routes), Clock::System);
    let progress = out.progress("publishing", source.count(&args));
    let mut sending = Sending {
        args: &args,
        publisher,
        under_way: VecDeque::new(),
        published: 0,
        out,
        progress,
    };
    let sent = sending.all(source.read(&args)).await;
    let published = sending.published;
    let flushed = broker.close().await;
    sent.and(flushed)?;
    if published == 0 {
        out.remark("nothing was published: there was no line")?;
    }
    Ok(Exit::Done)
}

/// Headers that steer Tidings are believed because nobody outside can write them.
fn check_headers(headers: &[(String, String)]) -> Result<(), CliError> {
    match headers.iter().find(|(name, _)| names::is_control(name)) {
        Some((name, _)) => Err(CliError::usage(
            format!("the header {name} steers Tidings itself and cannot be published"),
            format!("choose a name that does not start with {}", names::CONTROL_PREFIX),
        )),
        None => Ok(()),
    }
}

/// The topic, made if that was asked for.
async fn topic(broker: &Broker, args: &PublishArgs) -> Result<Arc<str>, CliError> {
    let Some(partitions) = args.create else {
        return Ok(broker.topic(&args.channel).await?.name);
    };
    let spec = DestinationSpec::new(broker.destination(&args.channel), partitions);
    let made = broker.binder().prepare(spec).await;
    Ok(made.map_err(|error| broker.failed(error))?.name)
}

/// Where the oldest message that is under way was put; nothing ever, if there is none.
async fn oldest(under_way: Option<&mut Receipt>) -> Result<Position, PublishError> {
    match under_way {
        Some(receipt) => receipt.await,
        None => std::future::pending().await,
    }
}

/// Messages on their way.
struct Sending<'a> {
    args: &'a PublishArgs,
    publisher: Publisher,
    under_way: VecDeque<Receipt>,
    published: usize,
    out: &'a mut Out,
    progress: Progress,
}

impl Sending<'_> {
    /// Publishes each input, and says where it lies as soon as that is known.
    async fn all(&mut self, mut inputs: Inputs) -> Result<(), CliError> {
        loop {
            let room = self.under_way.len() < IN_FLIGHT;
            tokio::select! {
                biased;
                kept = oldest(self.under_way.front_mut()) => {
                    self.under_way.pop_front();
                    let position = kept.map_err(|error| self.refused(error))?;
                    self.tell(&position)?;
                }
                input = inputs.next(), if room => match input {
                    Some(payload) => self.send(payload?)?,
                    None => break,
                },
            }
        }
        while let Some(receipt) = self.under_way.pop_front() {
            let position = receipt.await.map_err(|error| self.refused(error))?;
            self.tell(&position)?;
        }
        Ok(())
    }

    fn send(&mut self, payload: Option<Vec<u8>>) -> Result<(), CliError> {
        let key = match &self.args.key_field {
            Some(field) => Some(input::key_of(
                payload.as_deref().unwrap_or_default(),
                field,
                self.number(),
            )?),
            None => self.args.key.clone().map(String::into_bytes),
        };
        let mut message = Message::default()
            .with_payload(payload.map(Into::into))
            .with_optional_key(key.map(Into::into));
        for (name, value) in &self.args.headers {
            let set = message.headers_mut().set(name, value);
            set.map_err(|error| CliError::usage(error.to_string(), "say less in headers"))?;
        }
        let mut publication = self.publisher.to(&self.args.channel);
        if let Some(partition) = self.args.partition {
            publication = publication.partition(partition);
        }
        if let Some(delay) = self.args.delay {
            publication = publication.delay(delay);
        }
        self.under_way.push_back(publication.message(message));
        Ok(())
    }

    /// The number of the message that is read or waited for now.
    fn number(&self) -> usize {
        self.published + self.under_way.len() + 1
    }

    fn refused(&self, error: PublishError) -> CliError {
        CliError::Publish {
            number: self.published + 1,
            published: self.published,
            error,
        }
    }

    fn tell(&mut self, position: &Position) -> Result<(), CliError> {
        self.published += 1;
        self.progress.add(1);
        let later = self.args.delay.is_some();
        match self.out.form() {
            Form::Json => self.out.object(&PublishedRow {
                topic: position.destination().to_owned(),
                partition: position.partition(),
                offset: (!later).then_some(position.offset()),
                position: (!later).then(|| position.to_string()),
            })?,
            Form::Table if later => {
                let line = format!("{} (gets its place when it is due)", position.destination());
                self.out.text(&line)?;
            }
            Form::Table => self.out.text(&position.to_string())?,
        }
        // Whoever types lines wants to see each answer; whoever sends many does not wait for the terminal.
        if self.under_way.is_empty() {
            self.out.flush()
        } else {
            Ok(())
        }
    }
}
