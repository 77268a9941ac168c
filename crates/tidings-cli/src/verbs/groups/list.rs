//! `tidings groups ls` and `tidings groups show`.

use super::{group, is_recorder, is_retry_of, lag, queues};
use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Out, Row};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use tidings_core::{GroupInfo, GroupPosition, PartitionPosition, retry_destination};

/// What `groups ls` understands.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only groups that read this channel or topic
    #[arg(long, short, value_name = "CHANNEL")]
    topic: Option<String>,
}

/// What `groups show` understands.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The group
    group: String,
    /// Only this channel or topic; needed on RabbitMQ, which has no list of what a group reads
    #[arg(long, short, value_name = "CHANNEL")]
    topic: Option<String>,
}

/// How far a group is in a topic.
#[derive(Debug, Serialize)]
struct GroupRow {
    group: String,
    topic: String,
    partitions: usize,
    lag: u64,
    waiting: u64,
    members: Vec<String>,
}

impl Row for GroupRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("GROUP"),
        Column::left("TOPIC"),
        Column::right("PARTITIONS"),
        Column::right("LAG"),
        Column::right("WAITING"),
        Column::left("RUNNING"),
    ];

    fn cells(&self) -> Vec<String> {
        let members = if self.members.is_empty() {
            "no".to_owned()
        } else {
            self.members.join(", ")
        };
        vec![
            self.group.clone(),
            self.topic.clone(),
            self.partitions.to_string(),
            self.lag.to_string(),
            self.waiting.to_string(),
            members,
        ]
    }
}

/// How far a group is in a partition.
#[derive(Debug, Serialize)]
struct GroupPartitionRow {
    group: String,
    topic: String,
    partition: u32,
    position: Option<u64>,
    end: u64,
    lag: u64,
    member: Option<String>,
}

impl Row for GroupPartitionRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("TOPIC"),
        Column::right("PARTITION"),
        Column::right("POSITION"),
        Column::right("END"),
        Column::right("LAG"),
        Column::left("READ BY"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.position
                .map_or_else(|| "-".to_owned(), |position| position.to_string()),
            self.end.to_string(),
            self.lag.to_string(),
            self.member.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

/// Lists groups.
pub(super) async fn ls(global: &Global, args: &LsArgs, out: &mut Out) -> Result<Exit, CliError> {
    let broker = Broker::open(global, Intent::Read, args.topic.as_deref(), out).await?;
    let only = only(&broker, args.topic.as_deref()).await?;
    let mut rows = Vec::new();
    for group in broker.groups().await? {
        if !is_recorder(&group.name) {
            rows.extend(rows_of(&broker, &group).await?);
        }
    }
    rows.retain(|row| only.as_ref().is_none_or(|only| row.topic == *only));
    out.rows(&rows)?;
    if rows.is_empty() {
        out.remark(&format!("no groups in {} yet", broker.url()))?;
    }
    broker.close().await?;
    Ok(Exit::Done)
}

/// Shows one group.
pub(super) async fn show(global: &Global, args: &ShowArgs, out: &mut Out) -> Result<Exit, CliError> {
    let broker = Broker::open(global, Intent::Read, args.topic.as_deref(), out).await?;
    let only = only(&broker, args.topic.as_deref()).await?;
    if let Some(topic) = &only
        && let Some(rows) = queues::rows(&broker, topic, &args.group).await?
    {
        out.rows(&rows)?;
        return broker.close().await.map(|()| Exit::Done);
    }
    let group = group(&broker, &args.group).await?;
    let mut rows = Vec::new();
    for (topic, standing) in by_topic(&group) {
        if only.as_ref().is_some_and(|only| only != topic) {
            continue;
        }
        for at in broker.positions(topic, None).await? {
            let stands = standing.iter().find(|stands| stands.partition == at.partition);
            rows.push(partition_row(&group, topic, &at, stands.copied()));
        }
    }
    out.rows(&rows)?;
    broker.close().await?;
    Ok(Exit::Done)
}

async fn only(broker: &Broker, topic: Option<&str>) -> Result<Option<String>, CliError> {
    match topic {
        Some(topic) => Ok(Some(broker.topic(topic).await?.name.to_string())),
        None => Ok(None),
    }
}

fn by_topic(group: &GroupInfo) -> BTreeMap<&str, Vec<&GroupPosition>> {
    let mut topics: BTreeMap<&str, Vec<&GroupPosition>> = BTreeMap::new();
    for position in &group.positions {
        topics.entry(&*position.destination).or_default().push(position);
    }
    topics
}

/// A row for each topic that the group reads; its retry topics are counted there as what waits.
async fn rows_of(broker: &Broker, group: &GroupInfo) -> Result<Vec<GroupRow>, CliError> {
    let mut rows = Vec::new();
    let mut waiting = BTreeMap::new();
    for (topic, standing) in by_topic(group) {
        let positions = broker.positions(topic, None).await?;
        let open = positions.iter().map(|at| {
            let stands = standing.iter().find(|stands| stands.partition == at.partition);
            lag(at, stands.and_then(|stands| stands.progress.as_ref()))
        });
        let lag = open.sum();
        if is_retry_of(topic, &group.name) {
            waiting.insert(topic, lag);
            continue;
        }
        let mut members: Vec<_> = standing
            .iter()
            .filter_map(|stands| stands.member.as_deref())
            .collect();
        members.sort_unstable();
        members.dedup();
        rows.push(GroupRow {
            group: group.name.to_string(),
            topic: topic.to_owned(),
            partitions: positions.len(),
            lag,
            waiting: 0,
            members: members.into_iter().map(str::to_owned).collect(),
        });
    }
    for row in &mut rows {
        let retry = retry_destination(&row.topic, &row.group);
        row.waiting = waiting.get(retry.as_str()).copied().unwrap_or(0);
    }
    Ok(rows)
}

fn partition_row(
    group: &GroupInfo,
    topic: &str,
    at: &PartitionPosition,
    stands: Option<&GroupPosition>,
) -> GroupPartitionRow {
    let progress = stands.and_then(|stands| stands.progress.as_ref());
    GroupPartitionRow {
        group: group.name.to_string(),
        topic: topic.to_owned(),
        partition: at.partition,
        position: progress.map(|progress| progress.watermark),
        end: at.end,
        lag: lag(at, progress),
        member: stands
            .and_then(|stands| stands.member.as_deref())
            .map(str::to_owned),
    }
}
