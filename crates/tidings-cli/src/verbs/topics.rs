//! `tidings topics`.

use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Out, Row};
use clap::Args;
use serde::Serialize;

/// What `topics` understands.
#[derive(Debug, Args)]
pub(crate) struct TopicsArgs {
    /// Show the partitions of this channel or topic
    name: Option<String>,
}

/// A topic.
#[derive(Debug, Serialize)]
struct TopicRow {
    topic: String,
    channels: Vec<String>,
    partitions: u32,
    messages: u64,
}

impl Row for TopicRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("TOPIC"),
        Column::right("PARTITIONS"),
        Column::right("MESSAGES"),
        Column::left("CHANNELS"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.partitions.to_string(),
            self.messages.to_string(),
            self.channels.join(", "),
        ]
    }
}

/// A partition of a topic.
#[derive(Debug, Serialize)]
struct PartitionRow {
    topic: String,
    partition: u32,
    first: u64,
    end: u64,
    messages: u64,
}

impl Row for PartitionRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("TOPIC"),
        Column::right("PARTITION"),
        Column::right("FIRST"),
        Column::right("END"),
        Column::right("MESSAGES"),
    ];

    fn cells(&self) -> Vec<String> {
        let numbers = [u64::from(self.partition), self.first, self.end, self.messages];
        std::iter::once(self.topic.clone())
            .chain(numbers.map(|number| number.to_string()))
            .collect()
    }
}

/// Lists topics or partitions.
pub(crate) async fn run(global: &Global, args: TopicsArgs, out: &mut Out) -> Result<Exit, CliError> {
    let broker = Broker::open(global, Intent::Read, args.name.as_deref(), out).await?;
    match &args.name {
        Some(name) => one(&broker, name, out).await?,
        None => all(&broker, out).await?,
    }
    broker.close().await?;
    Ok(Exit::Done)
}

async fn all(broker: &Broker, out: &mut Out) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for topic in broker.topics().await? {
        let positions = broker.positions(&topic.name, None).await?;
        rows.push(TopicRow {
            channels: broker.channels_of(&topic.name),
            partitions: topic.partitions,
            messages: positions.iter().map(|at| at.end.saturating_sub(at.first)).sum(),
            topic: topic.name.to_string(),
        });
    }
    out.rows(&rows)?;
    if rows.is_empty() {
        out.remark(&format!("no topics in {} yet", broker.url()))?;
    }
    Ok(())
}

async fn one(broker: &Broker, name: &str, out: &mut Out) -> Result<(), CliError> {
    let topic = broker.topic(name).await?;
    let positions = broker.positions(&topic.name, None).await?;
    let rows = positions.iter().map(|at| PartitionRow {
        topic: topic.name.to_string(),
        partition: at.partition,
        first: at.first,
        end: at.end,
        messages: at.end.saturating_sub(at.first),
    });
    out.rows(&rows.collect::<Vec<_>>())
}
