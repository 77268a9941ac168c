//! `tidings dlq show`.

use super::find::parse_position;
use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Form, MessageJson, Out, Style, escape, message_block};
use crate::time::show;
use clap::Args;
use serde::Serialize;
use std::ops::ControlFlow;
use tidings_core::{Claim, Diagnosis, LettersOf, Message, Position, Timestamp, names};
use tidings_runtime::{DeadLetter, LetterList, look_through};

/// Any message comes at once, however large: this only bounds how many others come with it.
const READ_BYTES: usize = 1;

/// What `dlq show` understands.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Where the dead letter lies, as dlq ls says: orders.DLT/0@5
    position: String,
    /// Only the bytes of its payload
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Why it is a dead letter.
#[derive(Debug, Serialize)]
struct DiagnosisJson<'a> {
    group: Option<&'a str>,
    subscription: Option<&'a str>,
    handler: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<&'a str>,
    attempts: Option<u32>,
    /// By the broker's own count.
    broker_attempts: Option<u32>,
    redrives: u32,
    origin: Option<String>,
    published: Option<String>,
    first_failure: Option<String>,
    last_failure: Option<String>,
    edited: Option<String>,
}

impl<'a> DiagnosisJson<'a> {
    fn new(diagnosis: &'a Diagnosis, message: &Message) -> Self {
        Self {
            group: diagnosis.group.as_deref(),
            subscription: diagnosis.subscription.as_deref(),
            handler: diagnosis.handler.as_deref(),
            reason: diagnosis.reason.as_deref(),
            error: diagnosis.error.as_deref(),
            attempts: diagnosis.attempts,
            broker_attempts: diagnosis.broker_attempts,
            redrives: diagnosis.redrives,
            origin: diagnosis.position.as_ref().map(ToString::to_string),
            published: diagnosis.timestamp.map(show),
            first_failure: diagnosis.first_failure.map(show),
            last_failure: diagnosis.last_failure.map(show),
            edited: edited(message),
        }
    }
}

/// A dead letter as one object.
#[derive(Debug, Serialize)]
struct LetterJson<'a> {
    diagnosis: DiagnosisJson<'a>,
    #[serde(flatten)]
    message: MessageJson<'a>,
}

/// Shows one dead letter.
pub(super) async fn run(global: &Global, args: &ShowArgs, out: &mut Out) -> Result<Exit, CliError> {
    let Some(position) = parse_position(&args.position) else {
        return Err(CliError::usage(
            format!("{:?} is no position", args.position),
            "write it as dlq ls shows it, for example orders.DLT/0@5",
        ));
    };
    let broker = Broker::open(global, Intent::Read, Some(position.destination()), out).await?;
    let message = find(&broker, &position).await?;
    let diagnosis = Diagnosis::from_headers(message.headers().view());
    match out.form() {
        _ if args.raw => out.bytes(message.payload().map(|payload| &payload[..]).unwrap_or_default())?,
        Form::Json => out.object(&LetterJson {
            diagnosis: DiagnosisJson::new(&diagnosis, &message),
            message: MessageJson::new(&position, &message),
        })?,
        Form::Table => {
            let text = text(&position, &diagnosis, &message, out);
            out.text(&text)?;
        }
    }
    broker.close().await?;
    Ok(Exit::Done)
}

/// The message at a position.
pub(super) async fn find(broker: &Broker, position: &Position) -> Result<Message, CliError> {
    if broker.hands_over() {
        return handed_over(broker, position).await;
    }
    let topic = broker.topic(position.destination()).await?;
    let missing = |what: String| CliError::missing(what, "tidings dlq ls lists what is there");
    if position.partition() >= topic.partitions {
        let what = format!("no partition {} in \"{}\"", position.partition(), topic.name);
        return Err(missing(what));
    }
    let batch = broker
        .read(&topic.name, position.partition(), position.offset(), READ_BYTES)
        .await?;
    let record = batch
        .records()
        .iter()
        .find(|record| record.offset == position.offset());
    let record = record.ok_or_else(|| missing(format!("nothing lies at {position}")))?;
    Ok(batch.message(record))
}

/// The letter at a position, where it has to be gone through the others.
async fn handed_over(broker: &Broker, position: &Position) -> Result<Message, CliError> {
    let list = LetterList {
        dead_letter: position.destination().into(),
        of: vec![LettersOf::Place(position.destination().into())],
    };
    let mut found = None;
    let mut each = |letter: DeadLetter| {
        if letter.position != *position {
            return ControlFlow::Continue(());
        }
        found = Some(letter.message);
        ControlFlow::Break(())
    };
    let looked = look_through(&**broker.binder(), &[list], None, &mut each).await;
    looked.map_err(|error| broker.failed(error))?;
    found.ok_or_else(|| {
        CliError::missing(
            format!("nothing lies at {position}"),
            "tidings dlq ls CHANNEL --group GROUP lists what is there",
        )
    })
}

fn text(position: &Position, diagnosis: &Diagnosis, message: &Message, out: &Out) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let name = out.paint(Style::Strong, &format!("{name:<12}"));
            text.push_str(&format!("{name} {}\n", escape(&value)));
        }
    };
    line("position", Some(position.to_string()));
    line("published", published(diagnosis));
    line("group", diagnosis.group.clone());
    line("subscription", diagnosis.subscription.clone());
    line("handler", diagnosis.handler.clone());
    line("reason", diagnosis.reason.clone());
    line("error", diagnosis.error.clone());
    line("attempts", attempts(diagnosis));
    line("failed", failed(diagnosis));
    line(
        "sent back",
        (diagnosis.redrives > 0).then(|| format!("{} times before", diagnosis.redrives)),
    );
    line("edited", edited(message));
    line("payload", claim(message));
    line(
        "key",
        message.key().map(|key| String::from_utf8_lossy(key).into_owned()),
    );
    text.push('\n');
    // The diagnosis stands above; what else travels with the message is of interest here.
    let mut plain = message.clone();
    plain.headers_mut().retain(|name| !names::is_added(name));
    text.push_str(&message_block(&plain));
    text
}

/// Both counts, where they differ.
pub(super) fn attempts(diagnosis: &Diagnosis) -> Option<String> {
    match (diagnosis.attempts, diagnosis.broker_attempts) {
        (Some(ours), Some(theirs)) if ours != theirs => Some(format!("{ours} (broker: {theirs})")),
        (ours, theirs) => ours.or(theirs).map(|count| count.to_string()),
    }
}

/// Where the payload is if it was too large to travel.
fn claim(message: &Message) -> Option<String> {
    let claim = Claim::parse(message.headers().get_str(names::CLAIM)?)?;
    let (size, store) = (claim.size(), claim.store());
    Some(format!(
        "{size} bytes in the claim store {store}, as {}",
        claim.name()
    ))
}

/// When a person changed the payload, if somebody did.
fn edited(message: &Message) -> Option<String> {
    let millis = message.headers().get_str(names::EDITED)?.parse().ok()?;
    Some(show(Timestamp::from_millis(millis)))
}

fn published(diagnosis: &Diagnosis) -> Option<String> {
    let position = diagnosis.position.as_ref()?;
    Some(match diagnosis.timestamp {
        Some(time) => format!("{position} at {}", show(time)),
        None => position.to_string(),
    })
}

fn failed(diagnosis: &Diagnosis) -> Option<String> {
    let last = show(diagnosis.last_failure?);
    Some(match diagnosis.first_failure {
        Some(first) if Some(first) != diagnosis.last_failure => {
            format!("{last}, for the first time {}", show(first))
        }
        _ => last,
    })
}
