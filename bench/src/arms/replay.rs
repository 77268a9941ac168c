//! A broker that hands out batches made beforehand: what is left is the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidings_core::{
    Assignment, Binder, BinderError, BinderHealth, BoxFuture, Capabilities, DestinationInfo, DestinationSpec,
    Epoch, LaneId, LaneMarks, LaneRole, MarkBoard, MarkCell, MarkMemory, Message, Outgoing,
    PartitionPosition, Progress, PublishError, Receipt, Record, RecordBatch, Sink, Source, SourceError,
    SourceEvent, SourceSpec, Span,
};

const LANE: LaneId = LaneId(0);
const EPOCH: Epoch = Epoch(1);
/// What the engine asks a real broker for by default comes to about as many.
const RECORDS_A_BATCH: usize = 500;

/// One partition of messages that are given out round and round.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    pieces: Arc<[Piece]>,
    total: u64,
    watermark: Arc<AtomicU64>,
    board: Arc<MarkBoard>,
}

/// Where the engine marks what it handles, as on a broker that is durable.
#[derive(Debug)]
struct Cells([MarkCell; 128]);

impl MarkMemory for Cells {
    fn cells(&self) -> &[MarkCell] {
        &self.0
    }
}

/// The memory and the records of one batch, at offsets from zero on.
#[derive(Debug)]
struct Piece {
    memory: Bytes,
    records: Vec<Record>,
}

impl Replay {
    /// A broker whose one partition holds `total` messages: these, over and over. They come in batches of 500; what
    /// does not fill a batch is left out.
    pub(crate) fn new(messages: &[Message], total: u64) -> Self {
        let pieces = messages.chunks_exact(RECORDS_A_BATCH).map(Piece::of);
        Self {
            pieces: pieces.collect(),
            total,
            watermark: Arc::default(),
            board: MarkBoard::new(Cells(std::array::from_fn(|_| MarkCell::default()))),
        }
    }

    /// How many messages there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How far the last reader reported progress.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark.load(Ordering::Relaxed)
    }

    /// The next batch of a reader that is at that offset; none at the end.
    pub(crate) fn batch(&self, offset: u64) -> Option<RecordBatch> {
        let left = usize::try_from(self.total.checked_sub(offset)?).unwrap_or(usize::MAX);
        let round = offset / RECORDS_A_BATCH as u64;
        let index = usize::try_from(round % self.pieces.len().max(1) as u64).ok()?;
        let piece = self.pieces.get(index).filter(|_| left > 0)?;
        // The one allocation of a batch; a log decodes its records into a list as well.
        let mut records = piece.records.clone();
        records.truncate(left);
        for record in &mut records {
            record.offset += offset;
        }
        let next = offset + records.len() as u64;
        Some(RecordBatch::new(LANE, EPOCH, piece.memory.clone(), records, next))
    }
}

impl Piece {
    fn of(messages: &[Message]) -> Self {
        let mut memory = Vec::with_capacity(messages.iter().map(Message::size).sum());
        let mut put = |bytes: &[u8]| {
            let start = u32::try_from(memory.len()).expect("a batch has far less than 4 GiB");
            memory.extend_from_slice(bytes);
            let len = u32::try_from(bytes.len()).expect("a record has far less than 4 GiB");
            Span { start, len }
        };
        let records = messages.iter().enumerate().map(|(offset, message)| Record {
            offset: offset as u64,
            timestamp: message.timestamp().unwrap_or_default(),
            key: message.key().map(|key| put(key)),
            headers: put(message.headers().as_block()),
            payload: message.payload().map(|payload| put(payload)),
        });
        Self {
            records: records.collect(),
            memory: memory.into(),
        }
    }
}

/// Reads the one partition from its start.
#[derive(Debug)]
pub(crate) struct ReplaySource {
    replay: Replay,
    destination: Arc<str>,
    assigned: bool,
    paused: bool,
    offset: u64,
}

impl Source for ReplaySource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        if !self.assigned {
            self.assigned = true;
            return Ok(SourceEvent::Assigned(vec![Assignment {
                lane: LANE,
                epoch: EPOCH,
                destination: self.destination.clone(),
                partition: 0,
                role: LaneRole::Main,
                partner: None,
                next: 0,
                end: self.replay.total,
                finished: Vec::new(),
                attempts: Vec::new(),
                deaths: Vec::new(),
                marks: Some(LaneMarks {
                    board: self.replay.board.clone(),
                    tag: Some(1),
                }),
            }]));
        }
        let batch = if self.paused {
            None
        } else {
            self.replay.batch(self.offset)
        };
        match batch {
            Some(batch) => {
                self.offset = batch.next();
                Ok(SourceEvent::Batch(batch))
            }
            // Nothing more will ever come; the arm ends by dropping this.
            None => std::future::pending().await,
        }
    }

    fn progress(&mut self, _lane: LaneId, _epoch: Epoch, progress: Progress) {
        self.replay.watermark.store(progress.watermark, Ordering::Relaxed);
    }

    fn pause(&mut self, _lanes: &[LaneId]) {
        self.paused = true;
    }

    fn resume(&mut self, _lanes: &[LaneId]) {
        self.paused = false;
    }

    fn seek(&mut self, _lane: LaneId, offset: u64) {
        self.offset = offset - offset % RECORDS_A_BATCH as u64;
    }

    async fn commit(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    fn release(&mut self, _lanes: &[LaneId]) {}

    async fn close(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Refuses everything: the handlers of these arms publish nothing.
#[derive(Debug)]
struct NoSink;

impl Sink for NoSink {
    fn publish(&self, _outgoing: Outgoing) -> Receipt {
        Receipt::failed(PublishError::Closed)
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Binder for Replay {
    type Source = ReplaySource;

    fn kind(&self) -> &'static str {
        "replay"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(NoSink)
    }

    async fn prepare(&self, destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        Ok(DestinationInfo {
            name: destination.name,
            partitions: 1,
        })
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<ReplaySource, BinderError> {
        self.watermark.store(0, Ordering::Relaxed);
        let input = spec.inputs.first().ok_or(BinderError::Closed)?;
        Ok(ReplaySource {
            replay: self.clone(),
            destination: input.destination.clone(),
            assigned: false,
            paused: false,
            offset: 0,
        })
    }

    async fn positions(&self, _: &str, _: Option<&str>) -> Result<Vec<PartitionPosition>, BinderError> {
        Ok(Vec::new())
    }

    async fn store_progress(&self, _: &str, _: u32, _: &str, _: Progress) -> Result<(), BinderError> {
        Ok(())
    }

    async fn read(&self, _: &str, _: u32, from: u64, _: usize) -> Result<RecordBatch, BinderError> {
        self.batch(from).ok_or(BinderError::Closed)
    }

    async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        Ok(Vec::new())
    }

    fn health(&self) -> BinderHealth {
        BinderHealth::Up
    }

    async fn close(&self) -> Result<(), BinderError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_go_round_and_end_at_the_total() {
        let messages: Vec<Message> = (0..1_000u32)
            .map(|number| Message::new(number.to_le_bytes().to_vec()).with_key("k"))
            .collect();
        let replay = Replay::new(&messages, 2_700);
        let (mut offset, mut seen) = (0, Vec::new());
        while let Some(batch) = replay.batch(offset) {
            for record in batch.records() {
                assert_eq!(record.offset, seen.len() as u64);
                let payload = batch.payload(record).unwrap();
                seen.push(u32::from_le_bytes(payload.try_into().unwrap()));
            }
            offset = batch.next();
        }
        assert_eq!(seen.len(), 2_700);
        assert!(
            seen.iter()
                .enumerate()
                .all(|(index, number)| *number as usize == index % 1_000)
        );
    }
}
