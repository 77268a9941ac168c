//! W7 on Kafka: handlers that wait 5 ms, in key order on one partition.

use super::{beside_peer, the_peers};
use crate::apart::job::{Arm, Job};
use crate::apart::peers::parallel;
use crate::error::BenchError;
use crate::kafka::server::{server, unique};
use crate::measure::Figure;
use crate::pairs::{Pairs, Spread};
use crate::report::Line;
use crate::rows::Setting;
use crate::verdict::{Target, Unit};

const ROUNDS_A_KEY: u64 = 200;

fn job(setting: &Setting<'_>, keys: u64) -> Result<Job, BenchError> {
    let server = server()?;
    let total = keys * setting.length.messages(ROUNDS_A_KEY);
    let (topic, _) = server.orders(total, keys, 1)?;
    Ok(Job {
        keys,
        partitions: 1,
        slots: usize::try_from(keys).unwrap_or(1),
        ..server.job(Arm::WaitingApp, &topic, total)
    })
}

/// 100 and 1,000 keys beside bare tasks, and beside tasks by hand.
pub(in crate::rows) fn bare(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    let mut violations = 0;
    for keys in [100, 1_000] {
        let job = job(setting, keys)?;
        let fresh = |arm| Job {
            arm,
            group: unique("group"),
            ..job.clone()
        };
        for (arm, name, label, target) in [
            (
                Arm::BareTasks,
                "bare tokio tasks that only sleep",
                "bare",
                Target::AtLeast(0.99),
            ),
            (
                Arm::KeyedTasks,
                "by hand: librdkafka's batch call, a task with a channel for each key",
                "by hand",
                Target::None,
            ),
        ] {
            let pairs = Pairs::of_processes(
                setting.length.rounds(),
                || {
                    let outcome = fresh(Arm::WaitingApp).run()?;
                    violations += outcome.violations;
                    Ok(outcome.sample())
                },
                || Ok(fresh(arm).run()?.sample()),
            )?;
            let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
            let what = format!("{keys} keys and as many slots, one partition");
            lines.push(
                Line::new(what, name, ratio, target)
                    .with("ours", Unit::PerSecond, pairs.ours(Figure::PerSecond))
                    .with(label, Unit::PerSecond, pairs.reference(Figure::PerSecond))
                    .with("cpu ratio", Unit::Ratio, pairs.ratio(Figure::CpuNanoseconds)),
            );
        }
    }
    lines.push(Line::new(
        "order violations in all of these",
        "",
        (Unit::Count, Spread::of([violations as f64])),
        Target::AtMost(0.0),
    ));
    Ok(lines)
}

/// Beside Confluent's parallel consumer.
pub(in crate::rows) fn java(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    the_peers()?;
    let mut lines = Vec::new();
    for (keys, peer) in [
        (
            100,
            parallel("the parallel consumer, concurrency 100", "W7-100", "100"),
        ),
        (
            1_000,
            parallel("the parallel consumer, concurrency 1,000", "W7-1000", "1000"),
        ),
    ] {
        let ours = job(setting, keys)?;
        let theirs = Job {
            warm: ours.total / 2,
            ..ours.clone()
        };
        let pairs = beside_peer(setting, &ours, peer, &theirs, None)?;
        let ratio = (Unit::Ratio, pairs.ratio(Figure::PerSecond));
        lines.push(
            Line::new(
                format!("{keys} keys and as many slots"),
                peer.name,
                ratio,
                Target::None,
            )
            .with("ours", Unit::PerSecond, pairs.ours(Figure::PerSecond))
            .with("theirs", Unit::PerSecond, pairs.reference(Figure::PerSecond))
            .with("ours, cpu", Unit::Nanoseconds, pairs.ours(Figure::CpuNanoseconds))
            .with(
                "theirs, cpu",
                Unit::Nanoseconds,
                pairs.reference(Figure::CpuNanoseconds),
            ),
        );
    }
    Ok(lines)
}
