//! W2, W3 and W8 on Kafka: consume with and without decoding, and what key order costs.

use super::{MESSAGES, beside, beside_peer, checksum_of};
use crate::apart::job::{Arm, Job, Packing, Work};
use crate::apart::peers::{Peer, spring, stream};
use crate::error::BenchError;
use crate::kafka::server::{PARTITIONS, server};
use crate::report::Line;
use crate::rows::Setting;
use crate::rows::lines::{cost, speed};
use crate::verdict::Target;

/// W2: decoded, beside three ways to do it by hand.
pub(in crate::rows) fn decoded(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    by_hand(setting, Work::Order, "consume, decode, handle, commit", 1.15)
}

/// W3: the same without decoding.
pub(in crate::rows) fn raw(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    by_hand(setting, Work::Raw, "consume, handle raw bytes, commit", 1.5)
}

fn by_hand(setting: &Setting<'_>, work: Work, what: &str, limit: f64) -> Result<Vec<Line>, BenchError> {
    let mut lines = beside_hands(setting, work, what, limit)?;
    let (ours, sum) = packed_app(setting, work, Packing::Lz4)?;
    let pairs = beside(setting, &ours, &ours.with(Arm::BatchLoop), sum)?;
    lines.push(cost(
        &format!("{what}, lz4"),
        "librdkafka's batch call by hand",
        &pairs,
        Target::AtMost(limit),
    ));
    Ok(lines)
}

fn beside_hands(setting: &Setting<'_>, work: Work, what: &str, limit: f64) -> Result<Vec<Line>, BenchError> {
    let (ours, sum) = app(setting, work)?;
    let mut lines = Vec::new();
    for (arm, name, target) in [
        (
            Arm::BatchLoop,
            "librdkafka's batch call by hand",
            Target::AtMost(limit),
        ),
        (Arm::PollLoop, "a poll loop by hand", Target::AtMost(1.0)),
        (
            Arm::StreamConsumer,
            "the rdkafka crate's stream",
            Target::AtMost(1.0),
        ),
    ] {
        let pairs = beside(setting, &ours, &ours.with(arm), sum)?;
        lines.push(cost(what, name, &pairs, target));
    }
    let driver = ours.with(Arm::Source);
    let pairs = beside(setting, &driver, &ours.with(Arm::BatchLoop), sum)?;
    let what = format!("{what}: the driver without the engine");
    lines.push(cost(
        &what,
        "librdkafka's batch call by hand",
        &pairs,
        Target::None,
    ));
    Ok(lines)
}

/// The app on the topic of all rows, and what it adds up to.
fn app(setting: &Setting<'_>, work: Work) -> Result<(Job, u64), BenchError> {
    packed_app(setting, work, Packing::Plain)
}

fn packed_app(setting: &Setting<'_>, work: Work, packing: Packing) -> Result<(Job, u64), BenchError> {
    let server = server()?;
    let total = setting.length.messages(MESSAGES);
    let (topic, sum) = server.packed_orders(total, 0, PARTITIONS, packing)?;
    let job = Job {
        work,
        packing,
        ..server.job(Arm::App, &topic, total)
    };
    let sum = match work {
        Work::Order => sum,
        Work::Raw => checksum_of(&job.with(Arm::BatchLoop))?,
    };
    Ok((job, sum))
}

/// W2 beside other libraries.
pub(in crate::rows) fn decoded_java(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    java(
        setting,
        Work::Order,
        &[
            (spring("Spring Kafka, a record a call", "W2", "record"), 2.0),
            (spring("Spring Kafka, a batch a call", "W2", "batch"), 2.0),
            (
                stream("Spring Cloud Stream, a record a call", "W2", "record"),
                5.0,
            ),
        ],
    )
}

/// W3 beside other libraries.
pub(in crate::rows) fn raw_java(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    java(
        setting,
        Work::Raw,
        &[
            (
                spring("Spring Kafka, a record a call", "W3", "rawrecord,raw"),
                4.0,
            ),
            (spring("Spring Kafka, a batch a call", "W3", "rawbatch,raw"), 4.0),
        ],
    )
}

fn java(setting: &Setting<'_>, work: Work, all: &[(Peer, f64)]) -> Result<Vec<Line>, BenchError> {
    super::the_peers()?;
    let (ours, sum) = app(setting, work)?;
    let theirs = Job {
        warm: ours.total / 2,
        ..ours.clone()
    };
    let what = match work {
        Work::Order => "consume, decode, handle, commit",
        Work::Raw => "consume, handle raw bytes, commit",
    };
    let mut lines = Vec::new();
    for (peer, target) in all {
        let pairs = beside_peer(setting, &ours, *peer, &theirs, Some(sum))?;
        lines.push(speed(what, peer.name, &pairs, Target::AtLeast(*target)));
    }
    Ok(lines)
}

/// W8: in key order beside in turn.
pub(in crate::rows) fn key_order(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for (work, what) in [(Work::Order, "decoded"), (Work::Raw, "raw bytes")] {
        let (in_turn, sum) = app(setting, work)?;
        let by_key = Job {
            slots: 16,
            ..in_turn.clone()
        };
        let pairs = beside(setting, &by_key, &in_turn, sum)?;
        let target = match work {
            Work::Order => Target::AtLeast(0.85),
            Work::Raw => Target::None,
        };
        lines.push(speed(
            &format!("{what}, key-ordered, 16 slots"),
            "in turn",
            &pairs,
            target,
        ));
    }
    Ok(lines)
}
