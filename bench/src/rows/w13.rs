//! W13: appending with an fsync before each acknowledgement, beside the same batches written and synced by hand.

use std::time::Duration;

use tidings_embedded::Fsync;

use crate::arguments::Length;
use crate::arms::acknowledged::Acknowledged;
use crate::arms::log::Log;
use crate::arms::raw::{RawLog, Record, records};
use crate::arms::topic::{self, Disk};
use crate::error::BenchError;
use crate::measure::{Figure, Sample, Stopwatch, repeated};
use crate::pairs::Pairs;
use crate::report::Line;
use crate::rows::Setting;
use crate::verdict::{Target, Unit};

const IN_FLIGHT: [u64; 3] = [1, 64, 4_096];
const BESIDE: &str = "a raw write + fdatasync of the same records";

/// The log alone and the broker on it, for each number in flight.
pub(crate) fn run(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for in_flight in IN_FLIGHT {
        let records = records(in_flight);
        let log = Pairs::run(
            setting.length.rounds(),
            || log_arm(setting, &records),
            || raw_arm(setting, &records),
        )?;
        lines.extend(lines_of("log", in_flight, &log));
        let broker = Pairs::run(
            setting.length.rounds(),
            || broker_arm(setting, &records),
            || raw_arm(setting, &records),
        )?;
        lines.extend(lines_of("broker with fsync = always", in_flight, &broker));
        lines.extend(bound(setting, in_flight, &records)?);
    }
    Ok(lines)
}

/// How much of the distance is nobody's fault: packing with a checksum on the publisher's thread, writing and syncing on
/// another, and an answer for each message, by hand.
fn bound(setting: &Setting<'_>, in_flight: u64, records: &[Record]) -> Result<Vec<Line>, BenchError> {
    let rounds = setting.length.rounds();
    let by_hand = "by hand with a checksum, a thread that writes, and a tokio oneshot for each message";
    let bound = Pairs::run(
        rounds,
        || acknowledged_arm(setting, records),
        || raw_arm(setting, records),
    )?;
    let broker = Pairs::run(
        rounds,
        || broker_arm(setting, records),
        || acknowledged_arm(setting, records),
    )?;
    let line = |what: String, beside: &str, pairs: &Pairs| {
        let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
        Line::new(what, beside, ratio, Target::None).with(
            "cpu ratio",
            Unit::Ratio,
            pairs.ratio(Figure::CpuNanoseconds),
        )
    };
    Ok(vec![
        line(format!("bound: {by_hand}, {in_flight} in flight"), BESIDE, &bound),
        line(
            format!("broker with fsync = always, {in_flight} in flight"),
            by_hand,
            &broker,
        ),
    ])
}

/// The ratio, and at the largest batch the absolute figure that is asked for.
fn lines_of(what: &str, in_flight: u64, pairs: &Pairs) -> Vec<Line> {
    let what = format!("{what}, {in_flight} in flight");
    let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
    let ours = pairs.ours(Figure::PerSecond);
    let mut lines = vec![
        Line::new(&what, BESIDE, ratio, Target::AtLeast(0.85))
            .with("ours", Unit::PerSecond, ours)
            .with("raw", Unit::PerSecond, pairs.reference(Figure::PerSecond))
            .with("cpu ratio", Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds)),
    ];
    if in_flight == 4_096 {
        lines.push(Line::new(
            &what,
            "",
            (Unit::PerSecond, ours),
            Target::AtLeast(1e6),
        ));
    }
    lines
}

fn arm_length(length: Length) -> Duration {
    match length {
        Length::Full => Duration::from_millis(400),
        Length::Short => Duration::from_millis(20),
    }
}

fn raw_arm(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let directory = setting.directory()?;
    let mut raw = RawLog::create(&directory.path().join("raw"))?;
    repeated(arm_length(setting.length), records.len() as u64, || {
        raw.append(records)?;
        raw.sync()
    })
}

fn log_arm(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let directory = setting.directory()?;
    let mut log = Log::open(directory.path())?;
    repeated(arm_length(setting.length), records.len() as u64, || {
        log.append(records)?;
        log.sync()
    })
}

/// The same as the broker's arm, by hand.
fn acknowledged_arm(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let runtime = topic::runtime()?;
    let directory = setting.directory()?;
    let mut log = Acknowledged::create(&directory.path().join("acknowledged"))?;
    let (mut watch, mut messages) = (Stopwatch::default(), 0);
    while watch.wall() < arm_length(setting.length) {
        let batch = records.to_vec();
        watch.time(|| log.publish(&runtime, batch))?;
        messages += records.len() as u64;
    }
    Ok(watch.sample(messages))
}

/// All messages of a batch are published, then all receipts are awaited; then the next batch.
fn broker_arm(setting: &Setting<'_>, records: &[Record]) -> Result<Sample, BenchError> {
    let runtime = topic::runtime()?;
    let directory = setting.directory()?;
    let disk = Disk::open(&runtime, directory.path(), Fsync::Always)?;
    let sink = disk.sink();
    let outgoing = topic::outgoing(records);
    let (mut watch, mut messages) = (Stopwatch::default(), 0);
    while watch.wall() < arm_length(setting.length) {
        // Copied before the clock starts: making messages is the caller's cost, in every arm.
        let batch = outgoing.clone();
        watch.time(|| runtime.block_on(topic::publish_batch(&sink, batch)))?;
        messages += records.len() as u64;
    }
    disk.close(&runtime)?;
    Ok(watch.sample(messages))
}
