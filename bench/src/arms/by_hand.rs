//! Loops that a careful person would write instead of the engine: the references of its rows.

use std::sync::Arc;
use std::time::Duration;

use tidings_core::{DynBinder, Progress, RecordBatch, SourceEvent, SourceInput, SourceSpec, Start};

use crate::arms::gauge::Gauge;
use crate::arms::replay::Replay;
use crate::error::BenchError;
use crate::order::{Order, Small};

/// What is done with a message. Every arm of a pair does the same and gets the same checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Looks at the key and decodes nothing: what is left is the way to the handler.
    Key,
    /// Decodes the small message of two numbers.
    Small,
    /// Decodes the order of 256 bytes and reads every field.
    Order,
}

impl Work {
    /// In words, for the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Key => "no decoding",
            Work::Small => "JSON of 29 bytes",
            Work::Order => "JSON of 256 bytes",
        }
    }
}

/// Handles the records of a batch in turn.
pub(crate) fn handle(batch: &RecordBatch, work: Work, gauge: &Gauge) -> Result<(), BenchError> {
    for record in batch.records() {
        let payload = batch.payload(record).unwrap_or_default();
        let sum = match work {
            Work::Key => batch.key(record).map_or(0, <[u8]>::len) as u64,
            Work::Small => {
                let small: Small = serde_json::from_slice(payload).map_err(BenchError::part("decoding"))?;
                small.id + u64::from(small.quantity)
            }
            Work::Order => {
                let order: Order = serde_json::from_slice(payload).map_err(BenchError::part("decoding"))?;
                order.checksum()
            }
        };
        gauge.hit(sum);
    }
    Ok(())
}

/// The bare loop over prepared batches: no broker, no task, no progress.
pub(crate) fn replay(replay: &Replay, work: Work, gauge: &Gauge) -> Result<(), BenchError> {
    let mut offset = 0;
    while let Some(batch) = replay.batch(offset) {
        offset = batch.next();
        handle(&batch, work, gauge)?;
    }
    Ok(())
}

/// A poll loop on the broker itself: batches, handling in turn, progress after each batch.
pub(crate) async fn consume(
    binder: &dyn DynBinder,
    destination: &str,
    group: &str,
    work: Work,
    gauge: &Gauge,
) -> Result<(), BenchError> {
    let mut source = binder
        .subscribe(SourceSpec {
            partitions: None,
            subscription: "by-hand".into(),
            group: Some(group.into()),
            inputs: vec![SourceInput {
                destination: Arc::from(destination),
                retry: None,
            }],
            start: Start::Earliest,
            max_batch_bytes: 256 * 1024,
            commit_interval: Duration::from_millis(100),
            commit_every: 10_000,
            revoke_timeout: Duration::from_secs(1),
            guarantee: tidings_core::Guarantee::AtLeastOnce,
        })
        .await
        .map_err(BenchError::part("subscribing by hand"))?;
    while !gauge.is_done() {
        match source.next().await.map_err(BenchError::part("reading by hand"))? {
            SourceEvent::Batch(batch) => {
                handle(&batch, work, gauge)?;
                let progress = Progress {
                    watermark: batch.next(),
                    ..Progress::default()
                };
                source.progress(batch.lane(), batch.epoch(), progress);
            }
            SourceEvent::Lost(_) => return Err(BenchError::part("reading by hand")("the lane was lost")),
            _ => {}
        }
    }
    source
        .close()
        .await
        .map_err(BenchError::part("leaving the group"))
}

#[cfg(test)]
mod tests {
    use tidings_core::Message;

    use super::*;
    use crate::arms::gauge::Watch;
    use crate::order;

    #[tokio::test]
    async fn the_bare_loop_and_the_poll_loop_read_the_same() {
        let messages: Vec<Message> = (0..1_000)
            .map(|number| Message::new(order::order_json(number)).with_key(order::key(number, 10)))
            .collect();
        let source = Replay::new(&messages, 1_500);
        let sums = (0..1_500).map(|number| Order::numbered(number % 1_000).checksum());
        let expected: u64 = sums.sum();

        let bare = Gauge::leaked(100, 1_500, Watch::Time);
        replay(&source, Work::Order, bare).unwrap();
        assert_eq!(bare.reading().unwrap().checksum, expected);

        let polled = Gauge::leaked(100, 1_500, Watch::Time);
        consume(&source, "orders", "g", Work::Order, polled)
            .await
            .unwrap();
        assert_eq!(polled.reading().unwrap().checksum, expected);
        assert_eq!(source.watermark(), 1_500);
    }
}
