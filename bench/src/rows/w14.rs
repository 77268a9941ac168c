//! W14: appending without fsync beside plain writes into the page cache, and reading what is not in it.

use std::path::PathBuf;

use tidings_embedded::Fsync;

use crate::arms::log::{Log, segments};
use crate::arms::raw::{RawLog, Record, forget, read_through, records};
use crate::arms::topic::{self, Disk};
use crate::error::BenchError;
use crate::measure::{Figure, Sample, Stopwatch, timed};
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::Setting;
use crate::verdict::{Target, Unit};

const BATCH: u64 = 500;
/// About 115 MB an arm: far more than caches of the processor, far less than makes the system write back.
const MESSAGES: u64 = 400_000;
const PIECE_BYTES: usize = 1 << 20;

/// Appends by the log and by the broker, then reads cold and warm.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let records = records(BATCH);
    let rounds = setting.length.rounds();
    let raw = || raw_append(setting, &records);
    let checked = || raw_append_checked(setting, &records);
    let log = Pairs::run(rounds, || log_append(setting, &records), raw)?;
    let bound = Pairs::run(rounds, checked, raw)?;
    let log_checked = Pairs::run(rounds, || log_append(setting, &records), checked)?;
    let broker = Pairs::run(rounds, || broker_append(setting, &records), raw)?;
    let mut lines = Vec::new();
    lines.extend(append_lines("log", &log));
    lines.extend(bound_lines(&bound, &log_checked));
    lines.extend(append_lines("broker with fsync = os", &broker));
    lines.extend(read_lines(setting, &records)?);
    Ok(lines)
}

fn append_lines(what: &str, pairs: &Pairs) -> [Line; 2] {
    let what = format!("{what}, appending batches of {BATCH}");
    let ours = pairs.ours(Figure::PerSecond);
    let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
    let beside = "writing the same records to the page cache";
    [
        Line::new(&what, beside, ratio, Target::AtLeast(0.80))
            .with("ours", Unit::PerSecond, ours)
            .with("page cache", Unit::PerSecond, pairs.reference(Figure::PerSecond))
            .with("cpu ratio", Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds)),
        Line::new(what, "", (Unit::PerSecond, ours), Target::AtLeast(2.5e6)),
    ]
}

/// How much of the distance is nobody's fault: the loop by hand with a checksum and a bound on what can be lost.
fn bound_lines(bound: &Pairs, log: &Pairs) -> [Line; 2] {
    let checked = "by hand with a checksum, and a sync for every 64 MiB";
    let ratio = |pairs: &Pairs| (Unit::Ratio, pairs.ratio(Figure::PerSecond));
    [
        Line::new(
            format!("bound: {checked}"),
            "writing the same records to the page cache",
            ratio(bound),
            Target::None,
        )
        .with("bound", Unit::PerSecond, bound.ours(Figure::PerSecond))
        .with("cpu ratio", Unit::Ratio, bound.ratio(Figure::CpuNanoseconds)),
        Line::new(
            format!("log, appending batches of {BATCH}"),
            checked,
            ratio(log),
            Target::None,
        )
        .with("cpu ratio", Unit::Ratio, log.ratio(Figure::CpuNanoseconds)),
    ]
}

fn batches(setting: &Setting<'_>) -> u64 {
    setting.length.messages(MESSAGES) / BATCH
}

fn raw_append(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let directory = setting.directory()?;
    let mut raw = RawLog::create(&directory.path().join("raw"))?;
    append_all(setting, || raw.append(records))
}

fn raw_append_checked(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let directory = setting.directory()?;
    let mut raw = RawLog::create(&directory.path().join("raw"))?;
    append_all(setting, || raw.append_checked(records))
}

fn log_append(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let directory = setting.directory()?;
    let mut log = Log::open(directory.path())?;
    append_all(setting, || log.append(records))
}

/// The messages exist before the clock starts: making them is the caller's cost, in every arm.
fn broker_append(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let runtime = topic::runtime()?;
    let directory = setting.directory()?;
    let disk = Disk::open(&runtime, directory.path(), Fsync::Os)?;
    let sink = disk.sink();
    let outgoing = topic::outgoing(records);
    let mut watch = Stopwatch::default();
    for _ in 0..batches(setting) {
        let batch = outgoing.clone();
        watch.time(|| runtime.block_on(topic::publish_batch(&sink, batch)))?;
    }
    disk.close(&runtime)?;
    Ok(watch.sample(batches(setting) * BATCH))
}

fn append_all(
    setting: &Setting<'_>,
    mut append: impl FnMut() -> Result<(), BenchError>,
) -> Result<Sample, BenchError> {
    let batches = batches(setting);
    let (sample, result) = timed(batches * BATCH, || (0..batches).try_for_each(|_| append()));
    result.map(|()| sample)
}

/// Cold, where the disk is read, and warm, where only the log's own work is left.
fn read_lines(setting: &Setting<'_>, records: &[Record]) -> Result<Vec<Line>, BenchError> {
    let directory = setting.directory()?;
    let mut log = Log::open(directory.path())?;
    append_all(setting, || log.append(records))?;
    let files = segments(directory.path())?;
    let rounds = setting.length.rounds();
    let mut lines = Vec::new();
    for (name, cold) in [("cold", true), ("warm", false)] {
        let prepare = || if cold { forget(&files) } else { Ok(()) };
        let pairs = Pairs::run(
            rounds,
            || {
                prepare()?;
                read_log(setting, &log)
            },
            || {
                prepare()?;
                read_files(setting, &files)
            },
        )?;
        let ours = pairs.ours(Figure::PerSecond);
        let target = if cold { Target::AtLeast(4e6) } else { Target::None };
        lines.push(
            Line::new(
                format!("log, {name} sequential read"),
                "",
                (Unit::PerSecond, ours),
                target,
            )
            .with(
                "beside reading the bytes alone",
                Unit::Ratio,
                pairs.ratio(Figure::PerSecond),
            )
            .with("bytes alone", Unit::PerSecond, pairs.reference(Figure::PerSecond))
            .with(
                "cpu per message",
                Unit::Nanoseconds,
                pairs.ours(Figure::CpuNanoseconds),
            ),
        );
    }
    Ok(lines)
}

fn read_log(setting: &Setting<'_>, log: &Log) -> Result<Sample, BenchError> {
    let expected = batches(setting) * BATCH;
    let (sample, read) = timed(expected, || log.read_through(PIECE_BYTES));
    match read? {
        found if found == expected => Ok(sample),
        found => Err(BenchError::Disagree {
            what: "records read".into(),
            ours: found.to_string(),
            reference: expected.to_string(),
        }),
    }
}

fn read_files(setting: &Setting<'_>, files: &[PathBuf]) -> Result<Sample, BenchError> {
    let (sample, read) = timed(batches(setting) * BATCH, || read_through(files, PIECE_BYTES));
    read.map(|_| sample)
}
