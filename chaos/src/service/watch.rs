//! Looking at a service from outside: stored positions, dead letters, memory.

use super::parcel::{Parcel, digest};
use crate::error::ChaosError;
use crate::history::{Commit, DeadLetter, Event, GroupFacts, History, Lifecycle, Seen, Stage};
use std::collections::BTreeSet;
use std::time::Duration;
use tidings::{BinderError, DynBinder, PartitionPosition, RecordBatch};
use tidings_core::Diagnosis;
use tokio::time::Instant;

/// How much of a destination is read at once.
const READ_BYTES: usize = 1 << 20;

/// How often in a row nothing is left to do when it is quiet: together much longer than any message is delayed.
const QUIET_LOOKS: u32 = 25;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Every destination that a group has positions in, with the group.
fn lanes(groups: &[GroupFacts]) -> impl Iterator<Item = (String, &str)> {
    groups.iter().flat_map(|facts| {
        [
            (facts.topic.clone(), &*facts.group),
            (facts.retry(), &*facts.group),
        ]
    })
}

async fn positions(
    binder: &dyn DynBinder,
    topic: &str,
    group: &str,
) -> Result<Vec<PartitionPosition>, ChaosError> {
    match binder.positions(topic, Some(group)).await {
        // Before the first start there is nothing.
        Err(BinderError::UnknownDestination { .. }) => Ok(Vec::new()),
        found => found.map_err(ChaosError::service),
    }
}

/// Writes down every stored position that is not in `known` yet.
///
/// # Errors
/// If the broker does not say.
pub async fn note_positions(
    binder: &dyn DynBinder,
    groups: &[GroupFacts],
    history: &History,
    known: &mut BTreeSet<(String, String, u32, u64)>,
) -> Result<(), ChaosError> {
    for (topic, group) in lanes(groups) {
        for position in positions(binder, &topic, group).await? {
            let Some(progress) = position.progress else {
                continue;
            };
            let place = (
                topic.clone(),
                group.to_owned(),
                position.partition,
                progress.watermark,
            );
            if known.insert(place) {
                history.write(Event::Commit(Commit {
                    stage: Stage::Stored,
                    group: group.to_owned(),
                    topic: topic.clone(),
                    partition: position.partition,
                    epoch: 0,
                    watermark: progress.watermark,
                    finished: progress
                        .finished
                        .iter()
                        .map(|range| (range.start, range.end))
                        .collect(),
                }));
            }
        }
    }
    Ok(())
}

/// What each group has not finished.
async fn lag(binder: &dyn DynBinder, groups: &[GroupFacts]) -> Result<Vec<String>, ChaosError> {
    let mut behind = Vec::new();
    for (topic, group) in lanes(groups) {
        for position in positions(binder, &topic, group).await? {
            let done = position
                .progress
                .as_ref()
                .map_or(0, |progress| progress.watermark);
            if done < position.end {
                let partition = position.partition;
                behind.push(format!(
                    "{group} in {topic}/{partition} is at {done} of {}",
                    position.end
                ));
            }
        }
    }
    Ok(behind)
}

/// Waits until every group has finished everything and stored it, and writes down whether it came to that.
///
/// # Errors
/// If the broker does not say.
pub async fn settle(
    binder: &dyn DynBinder,
    groups: &[GroupFacts],
    history: &History,
    patience: Duration,
) -> Result<(), ChaosError> {
    let deadline = Instant::now() + patience;
    let mut quiet = 0;
    loop {
        let behind = lag(binder, groups).await?;
        // What one group finished may be news for another that was asked before, and a delayed message for all.
        quiet = if behind.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET_LOOKS {
            history.write(Event::Lifecycle(Lifecycle::Quiet));
            return Ok(());
        }
        if Instant::now() >= deadline {
            let reason = behind.join("; ");
            history.write(Event::Lifecycle(Lifecycle::Restless { reason }));
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Reads all dead letters out of the log and writes them down.
///
/// # Errors
/// If they cannot be read.
pub async fn letters(
    binder: &dyn DynBinder,
    groups: &[GroupFacts],
    history: &History,
) -> Result<(), ChaosError> {
    let topics: BTreeSet<String> = groups.iter().map(GroupFacts::letters).collect();
    for topic in topics {
        for position in positions(binder, &topic, "").await? {
            let mut from = position.first;
            while from < position.end {
                let read = binder.read(&topic, position.partition, from, READ_BYTES).await;
                let batch = read.map_err(ChaosError::service)?;
                note_letters(&batch, history);
                // A batch without news would be read for ever.
                from = batch.next().max(from + 1);
            }
        }
    }
    Ok(())
}

fn note_letters(batch: &RecordBatch, history: &History) {
    for record in batch.records() {
        let (key, payload) = (batch.key(record), batch.payload(record));
        let diagnosis = Diagnosis::from_headers(batch.headers(record));
        history.write(Event::DeadLetter(letter(Seen::InLog, key, payload, diagnosis)));
    }
}

/// What a dead letter says.
pub fn letter(seen: Seen, key: Option<&[u8]>, payload: Option<&[u8]>, diagnosis: Diagnosis) -> DeadLetter {
    let origin = diagnosis.position;
    DeadLetter {
        seen,
        group: diagnosis.group.unwrap_or_default(),
        topic: origin
            .as_ref()
            .map(|origin| origin.destination().to_owned())
            .unwrap_or_default(),
        partition: origin.as_ref().map_or(0, tidings::Position::partition),
        offset: origin.as_ref().map_or(0, tidings::Position::offset),
        id: Parcel::read(key, payload).id,
        digest: digest(key, payload),
        reason: diagnosis.reason.unwrap_or_default(),
        attempts: diagnosis.attempts.unwrap_or_default(),
        error_bytes: diagnosis.error.map_or(0, |error| error.len()),
    }
}

/// Resident memory in bytes.
pub fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    resident.unwrap_or_default() * rustix::param::page_size() as u64
}

/// Writes resident memory down.
pub fn note_rss(history: &History) {
    history.write(Event::Rss { bytes: resident() });
}
