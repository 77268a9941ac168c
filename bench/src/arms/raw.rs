//! A log as one writes it by hand: records with their lengths before them in a buffer, one write a batch.
//!
//! No checksum, no offsets, no index, no recovery: the least that could be called an append, and so the bar.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use bytes::Bytes;

use crate::error::BenchError;
use crate::order;

/// A record to append.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) key: Bytes,
    pub(crate) payload: Bytes,
}

/// That many different records; arms go round in them.
pub(crate) fn records(count: u64) -> Vec<Record> {
    let numbers = 0..count;
    numbers
        .map(|number| Record {
            key: order::key(number, 1_000),
            payload: order::order_json(number),
        })
        .collect()
}

/// So much may be lost by a log that is never told to sync: the size of its segments.
const SEGMENT_BYTES: usize = 64 << 20;

/// The hand-written log.
#[derive(Debug)]
pub(crate) struct RawLog {
    file: File,
    buffer: Vec<u8>,
    unsynced: usize,
}

impl RawLog {
    /// An empty file at that path.
    pub(crate) fn create(path: &Path) -> Result<Self, BenchError> {
        let file = File::create(path).map_err(BenchError::file(path))?;
        Ok(Self {
            file,
            buffer: Vec::new(),
            unsynced: 0,
        })
    }

    /// Appends the records by one write.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), BenchError> {
        self.fill(records);
        self.write()
    }

    /// The same with what no log can do without: a checksum behind the batch, and never more than a
    /// segment that is not on the disk. What a log loses beside this is its own fault.
    pub(crate) fn append_checked(&mut self, records: &[Record]) -> Result<(), BenchError> {
        self.pack_checked(records);
        self.unsynced += self.buffer.len();
        if self.unsynced > SEGMENT_BYTES {
            self.unsynced = 0;
            self.sync()?;
        }
        self.write()
    }

    /// Makes the bytes of a batch, with a checksum behind them.
    pub(crate) fn pack_checked(&mut self, records: &[Record]) {
        self.fill(records);
        let checksum = crc32c::crc32c(&self.buffer);
        self.buffer.extend_from_slice(&checksum.to_le_bytes());
    }

    fn fill(&mut self, records: &[Record]) {
        self.buffer.clear();
        for record in records {
            for part in [&record.key, &record.payload] {
                let length = u32::try_from(part.len()).expect("a record is a few hundred bytes");
                self.buffer.extend_from_slice(&length.to_le_bytes());
                self.buffer.extend_from_slice(part);
            }
        }
    }

    /// Appends what was packed.
    pub(crate) fn write(&mut self) -> Result<(), BenchError> {
        self.file
            .write_all(&self.buffer)
            .map_err(BenchError::system("writing by hand"))
    }

    /// Waits until the disk has what was written (`fdatasync`).
    pub(crate) fn sync(&self) -> Result<(), BenchError> {
        self.file
            .sync_data()
            .map_err(BenchError::system("fdatasync by hand"))
    }
}

/// Reads files from their start to their end by pieces of `piece` bytes, and returns how many bytes there were.
pub(crate) fn read_through(files: &[std::path::PathBuf], piece: usize) -> Result<u64, BenchError> {
    let mut buffer = vec![0; piece];
    let mut total = 0;
    for path in files {
        let mut file = File::open(path).map_err(BenchError::file(path))?;
        loop {
            let length = file
                .read(&mut buffer)
                .map_err(BenchError::system("reading by hand"))?;
            if length == 0 {
                break;
            }
            total += length as u64;
        }
    }
    Ok(total)
}

/// Takes files out of the page cache. Their pages must be clean, so they are synced first.
pub(crate) fn forget(files: &[std::path::PathBuf]) -> Result<(), BenchError> {
    for path in files {
        let file = File::open(path).map_err(BenchError::file(path))?;
        file.sync_all()
            .map_err(BenchError::system("syncing before reading cold"))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(|error| BenchError::system("dropping from the page cache")(error.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_by_hand_is_there_to_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw");
        let records = records(10);
        let mut log = RawLog::create(&path).unwrap();
        log.append(&records).unwrap();
        log.append(&records[..3]).unwrap();
        log.sync().unwrap();
        forget(std::slice::from_ref(&path)).unwrap();
        let bytes = |record: &Record| 8 + record.key.len() + record.payload.len();
        let expected: usize = records.iter().chain(&records[..3]).map(bytes).sum();
        assert_eq!(read_through(&[path], 1000).unwrap(), expected as u64);
    }
}
