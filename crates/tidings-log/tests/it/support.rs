//! Records that can be told apart, and small logs to put them into.

use std::path::Path;
use std::sync::Arc;
use tidings_log::faults::FaultyFiles;
use tidings_log::{Access, Files, FrameBuilder, LogError, LogOptions, MemoryFiles, PartitionLog, Recovery};

/// A record as the test wants it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) time: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Option<Vec<u8>>,
}

/// A record that shows its number in every part; some have no key, no payload, or empty ones.
pub(crate) fn rec(number: u64) -> Rec {
    let text = |what: &str| format!("{what}-{number}").into_bytes();
    Rec {
        time: 1_000 + number as i64 * 10,
        key: match number % 5 {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(text("key")),
        },
        headers: if number.is_multiple_of(2) {
            Vec::new()
        } else {
            text("headers")
        },
        payload: match number % 7 {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some([text("payload"), vec![number as u8; (number % 40) as usize]].concat()),
        },
    }
}

pub(crate) fn recs(numbers: std::ops::Range<u64>) -> Vec<Rec> {
    numbers.map(rec).collect()
}

pub(crate) const DIR: &str = "topics/orders/0";

pub(crate) fn dir() -> &'static Path {
    Path::new(DIR)
}

/// Segments of a few frames, so that a small log has several.
pub(crate) fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 600,
        index_interval_bytes: 200,
        ..LogOptions::default()
    }
}

/// One segment only.
pub(crate) fn single() -> LogOptions {
    LogOptions {
        index_interval_bytes: 200,
        ..LogOptions::default()
    }
}

pub(crate) fn read_only(options: LogOptions) -> LogOptions {
    LogOptions {
        access: Access::ReadOnly,
        ..options
    }
}

pub(crate) fn memory() -> Arc<dyn Files> {
    Arc::new(MemoryFiles::new())
}

pub(crate) fn faulty() -> Arc<FaultyFiles> {
    Arc::new(FaultyFiles::new(memory()))
}

pub(crate) fn try_open(
    files: &Arc<dyn Files>,
    options: LogOptions,
) -> Result<(PartitionLog, Recovery), LogError> {
    PartitionLog::open(Arc::clone(files), dir(), options)
}

pub(crate) fn open(files: &Arc<dyn Files>, options: LogOptions) -> PartitionLog {
    try_open(files, options).unwrap().0
}

pub(crate) fn frame(records: &[Rec]) -> FrameBuilder {
    let mut frame = FrameBuilder::default();
    for Rec {
        time,
        key,
        headers,
        payload,
    } in records
    {
        frame
            .push(*time, key.as_deref(), headers, payload.as_deref())
            .unwrap();
    }
    frame
}

pub(crate) fn append(log: &PartitionLog, records: &[Rec]) {
    let next = log.next_offset();
    let offsets = log.append(&mut frame(records)).unwrap();
    assert_eq!(offsets, next..next + records.len() as u64);
}

/// Appends `rec(n)` for the numbers, so many to a frame.
pub(crate) fn append_numbers(log: &PartitionLog, numbers: std::ops::Range<u64>, by: usize) {
    for records in recs(numbers).chunks(by) {
        append(log, records);
    }
}

/// The records from an offset on, up to the end or the first error.
pub(crate) fn read_from(
    log: &PartitionLog,
    from: u64,
    max_bytes: usize,
) -> (Vec<(u64, Rec)>, Result<(), LogError>) {
    let mut found = Vec::new();
    let mut next = from;
    loop {
        let chunk = match log.read(next, u64::MAX, max_bytes) {
            Ok(chunk) if chunk.is_empty() => return (found, Ok(())),
            Ok(chunk) => chunk,
            Err(error) => return (found, Err(error)),
        };
        for record in chunk.records() {
            let owned = Rec {
                time: record.timestamp_ms,
                key: chunk.key(record).map(<[u8]>::to_vec),
                headers: chunk.headers(record).to_vec(),
                payload: chunk.payload(record).map(<[u8]>::to_vec),
            };
            found.push((record.offset, owned));
        }
        assert!(chunk.next_offset() > next, "a read that gives records goes on");
        next = chunk.next_offset();
    }
}

/// That the log holds `rec(n)` at each offset n of what it says it holds.
pub(crate) fn assert_numbers(log: &PartitionLog) {
    let (found, end) = read_from(log, log.first_offset(), 300);
    end.unwrap();
    let expected: Vec<_> = (log.first_offset()..log.next_offset())
        .map(|number| (number, rec(number)))
        .collect();
    assert_eq!(found, expected);
}

/// The segment files, oldest first.
pub(crate) fn segment_names(files: &dyn Files) -> Vec<String> {
    names_ending(files, ".log")
}

pub(crate) fn names_ending(files: &dyn Files, end: &str) -> Vec<String> {
    let entries = files.list(dir()).unwrap().into_iter().map(|entry| entry.name);
    let mut names: Vec<_> = entries.filter(|name| name.ends_with(end)).collect();
    names.sort();
    names
}

pub(crate) fn contents(files: &dyn Files, name: &str) -> Vec<u8> {
    let file = files.open(&dir().join(name), Access::ReadOnly).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    let read = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(read, bytes.len());
    bytes
}

pub(crate) fn replace(files: &dyn Files, name: &str, bytes: &[u8]) {
    let file = files.open(&dir().join(name), Access::ReadWrite).unwrap();
    file.truncate(0).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
}

/// The same files again, in memory.
pub(crate) fn copy(files: &dyn Files) -> Arc<dyn Files> {
    let copy = memory();
    copy.create_dir_all(dir()).unwrap();
    for entry in files.list(dir()).unwrap() {
        copy.create(&dir().join(&entry.name)).unwrap();
        replace(&*copy, &entry.name, &contents(files, &entry.name));
    }
    copy
}

/// Leaves the log as a killed process would: nothing is written on the way out.
pub(crate) fn kill(log: PartitionLog) {
    std::mem::forget(log);
}
