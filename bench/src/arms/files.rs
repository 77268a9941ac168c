//! Many partitions as one writes them by hand: an open file each, one record a write, read back by one read. It is what
//! a log of many partitions cannot do without, and so the bound of what such a log can cost.
//!
//! A record is a length, a checksum, a time and its payload. Positions of a reader are stored when they are 100 ms old
//! or after 10,000 messages, as the broker does it: what was written is synced before, sixteen files at a time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::measure::{Sample, timed};

/// What is done with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Each is read before the next is published: whatever is looked through for one message shows.
    Single,
    /// The same, and partitions come in no order, as with keys.
    Spread,
    /// All are published one by one, then all are read.
    Backlog,
    /// They are published in turn, and not read.
    Publish,
}

impl Pace {
    /// Which of so many gets that message.
    pub(crate) fn place(self, number: u64, count: u64) -> u64 {
        let number = match self {
            Pace::Spread => number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33,
            Pace::Single | Pace::Backlog | Pace::Publish => number,
        };
        number % count.max(1)
    }

    fn reads_each(self) -> bool {
        matches!(self, Pace::Single | Pace::Spread)
    }
}

/// What every message carries.
pub(crate) const PAYLOAD: &[u8] = b"a payload of sixty-four bytes, as small events often have it....";
/// How old unstored positions get.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// How many messages they may speak of.
pub(crate) const EVERY: u64 = 10_000;
/// Syncs of different files share most of their wait.
const AT_ONCE: usize = 16;
/// Length, checksum and time.
const HEAD: usize = 16;
const RECORD: usize = HEAD + PAYLOAD.len();
/// A backlog is read by pieces of so much.
const PIECE: usize = 1 << 20;

/// A partition.
#[derive(Debug)]
struct Part {
    file: File,
    end: AtomicU64,
    read: AtomicU64,
    is_dirty: AtomicBool,
}

/// All of them, and the file of positions.
#[derive(Debug)]
pub(crate) struct Files {
    parts: Vec<Part>,
    positions: File,
}

impl Files {
    /// So many empty ones.
    pub(crate) fn create(directory: &Path, count: usize) -> Result<Self, BenchError> {
        let open = |name: String| {
            let path = directory.join(name);
            let options = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path);
            options.map_err(BenchError::file(path))
        };
        let part = |number: usize| {
            Ok(Part {
                file: open(number.to_string())?,
                end: AtomicU64::new(0),
                read: AtomicU64::new(0),
                is_dirty: AtomicBool::new(false),
            })
        };
        Ok(Self {
            parts: (0..count).map(part).collect::<Result<_, BenchError>>()?,
            positions: open("positions".to_owned())?,
        })
    }

    /// One run of so many messages.
    pub(crate) fn run(&self, pace: Pace, messages: u64) -> Result<Sample, BenchError> {
        let (sample, done) = timed(messages, || {
            let (due, when_due) = sync_channel(1);
            std::thread::scope(|scope| {
                let storing = scope.spawn(move || self.store_when_due(&when_due));
                let worked = self.work(pace, messages, &mut Due::new(due));
                let stored = storing.join().unwrap_or(Ok(()));
                worked.and(stored)
            })
        });
        done.map_err(BenchError::system("many files by hand"))?;
        Ok(sample)
    }

    fn work(&self, pace: Pace, messages: u64, due: &mut Due) -> std::io::Result<()> {
        let mut record = Vec::with_capacity(RECORD);
        for number in 0..messages {
            let place = pace.place(number, self.parts.len() as u64) as usize;
            let Some(part) = self.parts.get(place) else {
                continue;
            };
            let at = part.append(&mut record)?;
            if pace.reads_each() {
                part.read_at(at, RECORD)?;
                due.report(1);
            }
        }
        if pace == Pace::Backlog {
            for part in &self.parts {
                while part.read.load(Ordering::Relaxed) < part.end.load(Ordering::Relaxed) {
                    let from = part.read.load(Ordering::Relaxed);
                    due.report(part.read_at(from, PIECE / RECORD * RECORD)?);
                }
            }
        }
        Ok(())
    }

    /// Until nobody can say any more that positions are due.
    fn store_when_due(&self, when_due: &Receiver<()>) -> std::io::Result<()> {
        while when_due.recv().is_ok() {
            self.store()?;
        }
        Ok(())
    }

    /// Syncs what was written, then stores how far it was read.
    fn store(&self) -> std::io::Result<()> {
        let read: Vec<u64> = self
            .parts
            .iter()
            .map(|part| part.read.load(Ordering::Acquire))
            .collect();
        let dirty: Vec<_> = self
            .parts
            .iter()
            .filter(|part| part.is_dirty.swap(false, Ordering::AcqRel))
            .collect();
        let next = AtomicUsize::new(0);
        let sync = || -> std::io::Result<()> {
            while let Some(part) = dirty.get(next.fetch_add(1, Ordering::Relaxed)) {
                part.file.sync_data()?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..AT_ONCE.min(dirty.len())).map(|_| scope.spawn(sync)).collect();
            let own = sync();
            let all = others.into_iter().map(|other| other.join().unwrap_or(Ok(())));
            all.fold(own, |so_far, one| so_far.and(one))
        })?;
        let bytes: Vec<u8> = read.iter().flat_map(|position| position.to_le_bytes()).collect();
        self.positions.write_all_at(&bytes, 0)?;
        self.positions.sync_data()
    }
}

impl Part {
    /// Writes the next record and tells where it is.
    fn append(&self, record: &mut Vec<u8>) -> std::io::Result<u64> {
        let time = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64;
        record.clear();
        record.extend_from_slice(&(PAYLOAD.len() as u32).to_le_bytes());
        record.extend_from_slice(&crc32c::crc32c(PAYLOAD).to_le_bytes());
        record.extend_from_slice(&time.to_le_bytes());
        record.extend_from_slice(PAYLOAD);
        let at = self.end.load(Ordering::Relaxed);
        self.file.write_all_at(record, at)?;
        self.end.store(at + RECORD as u64, Ordering::Release);
        self.is_dirty.store(true, Ordering::Release);
        Ok(at)
    }

    /// Reads from there into memory of its own, verifies every record, and notes how far it came: so many records.
    fn read_at(&self, from: u64, most: usize) -> std::io::Result<u64> {
        let there = self.end.load(Ordering::Relaxed).saturating_sub(from) as usize;
        let mut bytes = vec![0; most.min(there)];
        self.file.read_exact_at(&mut bytes, from)?;
        let mut records = 0;
        for record in bytes.chunks_exact(RECORD) {
            let (head, payload) = record.split_at(HEAD);
            if head.get(4..8) != Some(&crc32c::crc32c(payload).to_le_bytes()) {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            records += 1;
        }
        self.read.store(from + bytes.len() as u64, Ordering::Release);
        Ok(records)
    }
}

/// When positions are to be stored.
struct Due {
    tell: SyncSender<()>,
    since: Option<Instant>,
    messages: u64,
}

impl Due {
    fn new(tell: SyncSender<()>) -> Self {
        Self {
            tell,
            since: None,
            messages: 0,
        }
    }

    fn report(&mut self, messages: u64) {
        self.messages += messages;
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.messages >= EVERY || since.elapsed() >= INTERVAL {
            (self.since, self.messages) = (None, 0);
            // One that is under way is followed by one more at the most.
            let _ = self.tell.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_by_hand_is_read_and_its_positions_are_stored() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::create(directory.path(), 3).unwrap();
        for pace in [Pace::Single, Pace::Spread, Pace::Backlog] {
            files.run(pace, 30_000).unwrap();
            let ends = files.parts.iter().map(|part| (&part.end, &part.read));
            for (end, read) in ends {
                assert_eq!(
                    end.load(Ordering::Relaxed),
                    read.load(Ordering::Relaxed),
                    "{pace:?}"
                );
            }
        }
        let stored = std::fs::read(directory.path().join("positions")).unwrap();
        assert_eq!(stored.len(), 24);
        assert!(stored.iter().any(|byte| *byte > 0));
    }

    #[test]
    fn a_byte_that_changed_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::create(directory.path(), 1).unwrap();
        files.run(Pace::Publish, 2).unwrap();
        files.parts[0]
            .file
            .write_all_at(b"!", RECORD as u64 + 40)
            .unwrap();
        assert_eq!(files.parts[0].read_at(0, RECORD).unwrap(), 1);
        assert!(files.parts[0].read_at(RECORD as u64, RECORD).is_err());
    }
}
