//! The segment log of one partition as an arm.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings_log::{DiskFiles, FrameBuilder, LogOptions, PartitionLog};

use crate::arms::raw::Record;
use crate::error::BenchError;

/// A partition's log on the disk, with the frame that its appends are built in.
#[derive(Debug)]
pub(crate) struct Log {
    log: PartitionLog,
    frame: FrameBuilder,
}

impl Log {
    /// Opens the log in that directory; an empty one where there is none.
    pub(crate) fn open(directory: &Path) -> Result<Self, BenchError> {
        let options = LogOptions::default();
        let frame = FrameBuilder::new(options.max_frame_bytes);
        let (log, _) = PartitionLog::open(Arc::new(DiskFiles), directory, options)
            .map_err(BenchError::part("opening the log"))?;
        Ok(Self { log, frame })
    }

    /// Appends the records as one frame by one write.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), BenchError> {
        self.frame.clear();
        for (time, record) in (1_700_000_000_000..).zip(records) {
            self.frame
                .push(time, Some(&record.key), &[], Some(&record.payload))
                .map_err(BenchError::part("building a frame"))?;
        }
        self.log
            .append(&mut self.frame)
            .map_err(BenchError::part("appending"))?;
        Ok(())
    }

    /// Waits until the disk has what was appended.
    pub(crate) fn sync(&self) -> Result<(), BenchError> {
        self.log.sync().map_err(BenchError::part("syncing the log"))?;
        Ok(())
    }

    /// Reads everything from the start, in pieces of about `piece` bytes, and returns the number of records. Checksums
    /// are verified on the way: the log delivers nothing that it has not verified.
    pub(crate) fn read_through(&self, piece: usize) -> Result<u64, BenchError> {
        let (mut offset, end) = (self.log.first_offset(), self.log.next_offset());
        let mut records = 0;
        while offset < end {
            let chunk = self
                .log
                .read(offset, end, piece)
                .map_err(BenchError::part("reading the log"))?;
            if chunk.is_empty() {
                return Err(BenchError::part("reading the log")(
                    "an empty chunk before the end",
                ));
            }
            records += chunk.len() as u64;
            offset = chunk.next_offset();
        }
        Ok(records)
    }
}

/// The files of a log that hold records.
pub(crate) fn segments(directory: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let entries = std::fs::read_dir(directory).map_err(BenchError::file(directory))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(BenchError::file(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
