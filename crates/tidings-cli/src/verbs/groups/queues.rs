//! `tidings groups show` on brokers that give each group queues of its own.

use crate::broker::Broker;
use crate::error::CliError;
use crate::out::{Column, Row};
use serde::Serialize;
use tidings_core::{BinderError, DestinationRole, GroupQueue};

/// A queue of a group.
#[derive(Debug, Serialize)]
pub(super) struct QueueRow {
    group: String,
    topic: String,
    queue: String,
    holds: &'static str,
    waiting: u64,
    readers: u32,
}

impl QueueRow {
    fn new(topic: &str, group: &str, queue: &GroupQueue) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            queue: queue.name.to_string(),
            holds: match queue.role {
                DestinationRole::Retry => "retries",
                DestinationRole::DeadLetters => "dead letters",
                _ => "messages",
            },
            waiting: queue.waiting,
            readers: queue.readers,
        }
    }
}

impl Row for QueueRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("TOPIC"),
        Column::left("QUEUE"),
        Column::left("HOLDS"),
        Column::right("WAITING"),
        Column::right("READERS"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.queue.clone(),
            self.holds.to_owned(),
            self.waiting.to_string(),
            self.readers.to_string(),
        ]
    }
}

/// The queues of a group that reads a topic; none where it has positions instead.
pub(super) async fn rows(
    broker: &Broker,
    topic: &str,
    group: &str,
) -> Result<Option<Vec<QueueRow>>, CliError> {
    let queues = match broker.binder().group_queues(topic, group).await {
        Err(BinderError::UnknownDestination { destination }) => {
            return Err(CliError::missing(
                format!("no queue \"{destination}\" in {}", broker.url()),
                format!(
                    "check the name of the group; {group} gets its queue when an app first reads {topic} with it"
                ),
            ));
        }
        queues => queues.map_err(|error| broker.failed(error))?,
    };
    Ok(queues.map(|queues| {
        let rows = queues.iter().map(|queue| QueueRow::new(topic, group, queue));
        rows.collect()
    }))
}
