//! From a time to an offset.

use super::PartitionLog;
use super::read::Readable;
use crate::error::LogError;
use crate::format::index;
use crate::lock::read;
use crate::scan::{Depth, Scan, Step};
use crate::segments::View;
use std::sync::Arc;

impl PartitionLog {
    /// The first offset with this timestamp or a later one, or the next offset when there is none. Timestamps need
    /// not ascend: an earlier record can have a later one, and then it is the answer.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] and [`LogError::Io`], as [`PartitionLog::read`].
    pub fn offset_for_time(&self, timestamp_ms: i64) -> Result<u64, LogError> {
        let view = self.view();
        let next = view.next();
        let Some(segment) = self.segment_for_time(&view, timestamp_ms)? else {
            return Ok(next);
        };
        let Some(frame) = self.frame_for_time(&segment, timestamp_ms)? else {
            return Ok(next);
        };
        let chunk = match self.read(frame, segment.next, 1) {
            // Retention was faster; what is left is searched again, and gets less each time.
            Err(LogError::OutOfRange { .. }) => return self.offset_for_time(timestamp_ms),
            chunk => chunk?,
        };
        let record = chunk
            .records()
            .iter()
            .find(|record| record.timestamp_ms >= timestamp_ms);
        Ok(record.map_or(next, |record| record.offset))
    }

    fn segment_for_time(&self, view: &View, timestamp_ms: i64) -> Result<Option<Readable>, LogError> {
        for sealed in &view.sealed {
            let known = sealed.max_timestamp.get();
            if known.is_some_and(|max_timestamp| *max_timestamp < timestamp_ms) {
                continue;
            }
            let opened = match self.open_sealed(sealed) {
                // Retention was faster.
                Err(error) if error.is_not_found() => continue,
                opened => opened?,
            };
            if opened.mark.max_timestamp >= timestamp_ms {
                let mut readable = self.readable(view, sealed.base)?;
                readable.start = index::find_time(&opened.entries, timestamp_ms).unwrap_or(readable.start);
                return Ok(Some(readable));
            }
        }
        let Some(active) = view
            .active
            .as_ref()
            .filter(|active| active.mark().max_timestamp >= timestamp_ms)
        else {
            return Ok(None);
        };
        let tail = read(&active.tail);
        let start = index::find_time(&tail.entries, timestamp_ms);
        Ok(start.map(|start| Readable {
            base: active.base,
            seed: active.seed,
            file: Arc::clone(&active.file),
            end: tail.mark.position,
            next: tail.mark.next,
            start,
        }))
    }

    /// The first offset of the first frame that reaches the time.
    fn frame_for_time(&self, segment: &Readable, timestamp_ms: i64) -> Result<Option<u64>, LogError> {
        let path = self.place.segment(segment.base);
        let start = (segment.start.position, segment.start.offset);
        let mut scan = Scan::new(&*segment.file, segment.seed, start, segment.end).depth(Depth::Headers);
        let (mut position, mut offset) = start;
        loop {
            match scan.step().map_err(LogError::io("read", &path))? {
                Step::Frame { header } if header.max_timestamp >= timestamp_ms => {
                    return Ok(Some(header.base));
                }
                Step::Frame { header } => (position, offset) = (position + header.total(), header.next()),
                Step::End => return Ok(None),
                Step::Flaw(flaw) => return Err(LogError::corrupt(&path, position, offset, flaw)),
            }
        }
    }
}
