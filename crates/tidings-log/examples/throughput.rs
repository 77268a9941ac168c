//! Rates of the log beside a loop that writes or reads the same bytes without it, in one run, because absolute rates
//! of a shared machine mean little: `cargo run --release -p tidings-log --example throughput [DIRECTORY]`.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_log::{DiskFiles, Files, FrameBuilder, LogOptions, MemoryFiles, PartitionLog};

const RECORDS: u64 = 2_000_000;
const BATCH: u64 = 500;
const PAYLOAD: [u8; 256] = [7; 256];
const ROUNDS: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("tidings-log-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let outcome = (0..ROUNDS).try_for_each(|round| run_round(&dir, round));
    std::fs::remove_dir_all(&dir)?;
    outcome
}

fn run_round(dir: &Path, round: usize) -> Outcome<()> {
    println!("round {}", round + 1);
    let raw = dir.join("raw");
    let path = dir.join(format!("log-{round}"));
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    report("append, no sync", RECORDS, append(&files, &path, RECORDS, None)?);
    report("  raw write loop", RECORDS, write_raw(&raw, RECORDS, None)?);
    report("read, verified", RECORDS, read(&files, &path)?);
    report("  raw read loop", RECORDS, read_raw(&raw)?);
    std::fs::remove_dir_all(&path)?;
    report(
        "append, memory",
        RECORDS,
        append(
            &(Arc::new(MemoryFiles::new()) as Arc<dyn Files>),
            &path,
            RECORDS,
            None,
        )?,
    );
    let few = RECORDS / 10;
    report("append, sync by 4000", few, append(&files, &path, few, Some(8))?);
    report("  raw write and sync", few, write_raw(&raw, few, Some(8))?);
    std::fs::remove_dir_all(&path)?;
    Ok(())
}

fn report(what: &str, records: u64, took: Duration) {
    let rate = records as f64 / took.as_secs_f64() / 1e6;
    println!(
        "  {what:<24} {rate:>6.2} M records/s   {:>7.1} ms",
        took.as_secs_f64() * 1e3
    );
}

fn append(files: &Arc<dyn Files>, dir: &Path, records: u64, sync_every: Option<u64>) -> Outcome<Duration> {
    let (log, _) = PartitionLog::open(Arc::clone(files), dir, LogOptions::default())?;
    let mut frame = FrameBuilder::default();
    let start = Instant::now();
    for batch in 0..records / BATCH {
        for record in 0..BATCH {
            let key = (batch * BATCH + record).to_le_bytes();
            frame.push(record as i64, Some(&key), b"", Some(&PAYLOAD))?;
        }
        log.append(&mut frame)?;
        if sync_every.is_some_and(|every| batch % every == every - 1) {
            log.sync()?;
        }
    }
    Ok(start.elapsed())
}

fn read(files: &Arc<dyn Files>, dir: &Path) -> Outcome<Duration> {
    let (log, _) = PartitionLog::open(Arc::clone(files), dir, LogOptions::default())?;
    let start = Instant::now();
    let mut offset = 0;
    let mut bytes = 0;
    while offset < log.next_offset() {
        let chunk = log.read(offset, u64::MAX, 1 << 20)?;
        bytes += chunk
            .records()
            .iter()
            .map(|record| chunk.payload(record).map_or(0, <[u8]>::len))
            .sum::<usize>();
        offset = chunk.next_offset();
    }
    let took = start.elapsed();
    assert_eq!(
        bytes,
        offset as usize * PAYLOAD.len(),
        "what was read is what was written"
    );
    Ok(took)
}

/// The bytes that a batch takes in the log.
fn batch_bytes() -> Outcome<usize> {
    let mut frame = FrameBuilder::default();
    for record in 0..BATCH {
        frame.push(record as i64, Some(&record.to_le_bytes()), b"", Some(&PAYLOAD))?;
    }
    Ok(frame.bytes())
}

fn write_raw(path: &Path, records: u64, sync_every: Option<u64>) -> Outcome<Duration> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let bytes = vec![7; batch_bytes()?];
    let start = Instant::now();
    for batch in 0..records / BATCH {
        file.write_all_at(&bytes, batch * bytes.len() as u64)?;
        if sync_every.is_some_and(|every| batch % every == every - 1) {
            file.sync_data()?;
        }
    }
    Ok(start.elapsed())
}

fn read_raw(path: &Path) -> Outcome<Duration> {
    let file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let start = Instant::now();
    let mut position = 0;
    loop {
        match file.read_at(&mut buffer, position)? {
            0 => return Ok(start.elapsed()),
            read => position += read as u64,
        }
    }
}
