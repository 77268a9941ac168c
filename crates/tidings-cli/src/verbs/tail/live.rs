//! Brokers that keep nothing of what was handled: only what comes can be seen. [`run`]

use super::{TailArgs, show_one};
use crate::broker::Broker;
use crate::error::CliError;
use crate::out::Out;
use crate::place::Place;
use crate::reading::Found;
use std::time::Duration;
use tidings_core::{
    DestinationInfo, DynSource, Guarantee, LaneId, Position, Progress, SourceEvent, SourceInput, SourceSpec,
    Start,
};

/// How many bytes come at once at the most.
const BATCH_BYTES: usize = 1 << 20;

/// Shows messages as they come, without taking them from any group.
pub(super) async fn run(
    broker: &Broker,
    topic: &DestinationInfo,
    args: &TailArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let history = args.last.is_some() || !matches!(args.from, None | Some(Place::End));
    if history || !args.follow || args.partition.is_some() {
        return Err(CliError::refused(
            format!(
                "{} keeps nothing of what was handled, and has no partitions: only what comes from now on can be seen",
                broker.url()
            ),
            "write --follow, and neither --last nor --from nor --partition; what lies among the dead letters: tidings dlq ls",
        ));
    }
    let spec = SourceSpec {
        subscription: "tail".into(),
        group: None,
        inputs: vec![SourceInput {
            destination: topic.name.clone(),
            retry: None,
        }],
        partitions: None,
        start: Start::Latest,
        max_batch_bytes: BATCH_BYTES,
        commit_interval: Duration::from_secs(1),
        commit_every: 100,
        revoke_timeout: Duration::from_secs(1),
        guarantee: Guarantee::AtLeastOnce,
    };
    let subscribed = broker.binder().subscribe(spec).await;
    let mut source = subscribed.map_err(|error| broker.failed(error))?;
    let shown = tokio::select! {
        shown = follow(&mut *source, broker, args, out) => shown,
        // The regular end of following.
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let closed = source.close().await;
    shown?;
    closed.map_err(|error| broker.failed(error.into()))
}

async fn follow(
    source: &mut dyn DynSource,
    broker: &Broker,
    args: &TailArgs,
    out: &mut Out,
) -> Result<(), CliError> {
    let (filter, view) = (args.filter(), args.view(out));
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut lanes: Vec<(LaneId, std::sync::Arc<str>, u32)> = Vec::new();
    while left > 0 {
        let event = source.next().await.map_err(|error| broker.failed(error.into()))?;
        let batch = match event {
            SourceEvent::Assigned(assigned) => {
                lanes = assigned
                    .into_iter()
                    .map(|lane| (lane.lane, lane.destination, lane.partition))
                    .collect();
                continue;
            }
            SourceEvent::Batch(batch) => batch,
            _ => continue,
        };
        let Some((lane, destination, partition)) = lanes.iter().find(|(lane, ..)| *lane == batch.lane())
        else {
            continue;
        };
        for record in batch.records() {
            let found = Found {
                position: Position::new(destination.clone(), *partition, record.offset),
                message: batch.message(record),
            };
            if left > 0 && filter.accepts(&found.message) {
                left -= 1;
                show_one(&found, view, out)?;
            }
        }
        out.flush()?;
        let progress = Progress {
            watermark: batch.next(),
            ..Progress::default()
        };
        source.progress(*lane, batch.epoch(), progress);
    }
    Ok(())
}
