//! Takes the stamps off again, and notes which messages were finished: [`NotedSource`].

use super::{Book, STAMP};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::{
    BoxFuture, DynSource, Epoch, LaneId, Message, Progress, RecordBatch, SourceError, SourceEvent,
    SourceLayer, SourceSpec,
};

pub(super) struct NotedSource {
    inner: Box<dyn DynSource>,
    /// The group, and what it reads; nothing is noted without one.
    share: Option<(Arc<str>, Vec<Arc<str>>)>,
    lanes: BTreeMap<LaneId, Noted>,
    book: Arc<Book>,
}

/// A lane that is read.
struct Noted {
    destination: Arc<str>,
    epoch: Epoch,
    /// Stamps of what came and is not finished, by offset.
    open: BTreeMap<u64, u64>,
}

/// A message as it was before it was stamped, and its stamp.
pub(super) fn unstamped(mut message: Message) -> (Option<u64>, Message) {
    let stamp = message
        .headers()
        .get_str(STAMP)
        .and_then(|stamp| stamp.parse().ok());
    message.headers_mut().retain(|name| name != STAMP);
    (stamp, message)
}

impl NotedSource {
    pub(super) fn new(inner: Box<dyn DynSource>, spec: &SourceSpec, book: Arc<Book>) -> Self {
        let share = spec.group.as_ref().map(|group| {
            let inputs = spec.inputs.iter();
            let all = inputs.flat_map(|input| std::iter::once(&input.destination).chain(&input.retry));
            (group.clone(), all.cloned().collect::<Vec<_>>())
        });
        if let Some((group, destinations)) = &share {
            destinations.iter().for_each(|one| book.joins(one, group));
        }
        Self {
            inner,
            share,
            lanes: BTreeMap::new(),
            book,
        }
    }

    fn note(&mut self, batch: &RecordBatch) -> RecordBatch {
        let first = batch
            .records()
            .first()
            .map_or(batch.next(), |record| record.offset);
        assert_eq!(
            first + batch.len() as u64,
            batch.next(),
            "what is taken has no gaps"
        );
        let records = batch.records().iter();
        let (stamps, messages): (Vec<_>, Vec<_>) =
            records.map(|record| unstamped(batch.message(record))).unzip();
        if let Some(lane) = self.lanes.get_mut(&batch.lane()) {
            let noted = (first..)
                .zip(stamps)
                .filter_map(|(offset, stamp)| Some((offset, stamp?)));
            lane.open.extend(noted);
        }
        RecordBatch::from_messages(batch.lane(), batch.epoch(), first, &messages)
    }
}

impl SourceLayer for NotedSource {
    fn inner(&self) -> &dyn DynSource {
        &*self.inner
    }

    fn inner_mut(&mut self) -> &mut dyn DynSource {
        &mut *self.inner
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, SourceError>> {
        Box::pin(async move {
            let event = self.inner.next().await?;
            Ok(match event {
                SourceEvent::Batch(batch) => SourceEvent::Batch(self.note(&batch)),
                SourceEvent::Assigned(lanes) => {
                    for lane in &lanes {
                        let noted = Noted {
                            destination: lane.destination.clone(),
                            epoch: lane.epoch,
                            open: BTreeMap::new(),
                        };
                        self.lanes.insert(lane.lane, noted);
                    }
                    SourceEvent::Assigned(lanes)
                }
                other => other,
            })
        })
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        let of_epoch = self.lanes.get_mut(&lane).filter(|noted| noted.epoch == epoch);
        if let (Some(noted), Some((group, _))) = (of_epoch, &self.share) {
            let above = noted.open.split_off(&progress.watermark);
            let mut finished: Vec<u64> = std::mem::replace(&mut noted.open, above).into_values().collect();
            for offset in progress.finished.iter().cloned().flatten() {
                finished.extend(noted.open.remove(&offset));
            }
            self.book.finishes(&noted.destination, group, &finished);
        }
        self.inner.progress(lane, epoch, progress);
    }
}

impl Drop for NotedSource {
    fn drop(&mut self) {
        if let Some((group, destinations)) = &self.share {
            destinations.iter().for_each(|one| self.book.leaves(one, group));
        }
    }
}
