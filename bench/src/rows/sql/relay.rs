//! W9 and W10: what is in the outbox is sent.

use crate::apart::job::{Job, Outcome, SqlArm};
use crate::error::BenchError;
use crate::kafka::server as kafka;
use crate::measure::{Figure, Sample};
use crate::pairs::{Pairs, Spread};
use crate::report::Line;
use crate::rows::lines::{cost, throughput};
use crate::rows::{Setting, agree};
use crate::sql::CHANNEL;
use crate::sql::server::server;
use crate::verdict::{Target, Unit};

const BACKLOG: u64 = 1_000_000;
const REPLICATED: u64 = 500_000;
const SHARED: u64 = 300_000;
const BY_HAND: &str = "SELECT, publish, DELETE and COMMIT by hand, 1,000 rows at a time";

/// W9.
pub(crate) fn polling(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    // Copies are made of a thousand.
    let total = setting.length.messages(BACKLOG).next_multiple_of(1_000);
    let arm = |arm| play(arm, total, |job| job);
    let pairs = Pairs::of_processes(
        setting.length.rounds(),
        || arm(SqlArm::Relay),
        || arm(SqlArm::RelayByHand),
    )?;
    let what = format!("a backlog of {total}, into a broker in memory");
    let speed = (Unit::PerSecond, pairs.ours(Figure::PerSecond));
    Ok(vec![
        throughput(&what, BY_HAND, &pairs, Target::AtLeast(0.85)),
        cost(&what, BY_HAND, &pairs, Target::None),
        Line::new(what, "", speed, Target::AtLeast(40_000.0)),
    ])
}

/// What relays that share the keys would gain, by hand: with a broker that confirms at once, and with one that takes its time.
pub(crate) fn ranges(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let total = setting.length.messages(SHARED).next_multiple_of(1_000);
    let mut lines = Vec::new();
    for confirm_ms in [0, 5] {
        let arm = |arm, slots| {
            play(arm, total, |job| Job {
                slots,
                confirm_ms,
                ..job
            })
        };
        for (ours, slots, said) in [
            (
                SqlArm::RelayByHand,
                2,
                "2 loops by hand, each with half of the keys",
            ),
            (
                SqlArm::RelayByHand,
                4,
                "4 loops by hand, each with a quarter of the keys",
            ),
            (SqlArm::Relay, 0, "our relay"),
        ] {
            let rounds = setting.length.rounds();
            let pairs = Pairs::of_processes(rounds, || arm(ours, slots), || arm(SqlArm::RelayByHand, 0))?;
            let what = format!("a backlog of {total}, confirmed after {confirm_ms} ms: {said}");
            lines.push(throughput(&what, BY_HAND, &pairs, Target::None));
            lines.push(cost(&what, BY_HAND, &pairs, Target::None));
        }
    }
    Ok(lines)
}

fn play(arm: SqlArm, total: u64, change: impl Fn(Job) -> Job) -> Result<Sample, BenchError> {
    let ground = server()?.ground()?;
    let job = change(ground.job(arm, total));
    if job.slots > 0 {
        ground.divide(job.slots)?;
    }
    ground.fill_outbox(total)?;
    let outcome = job.run()?;
    agree(&format!("{arm:?}: rows left"), ground.count("tidings.outbox")?, 0)?;
    Ok(outcome.sample())
}

/// What it costs to be the only one that may send to a Kafka.
pub(crate) fn fence(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let total = setting.length.messages(SHARED).next_multiple_of(1_000);
    let kafka = kafka::server()?;
    kafka.topic(CHANNEL, kafka::PARTITIONS, true)?;
    let arm = |arm| {
        play(arm, total, |job| Job {
            out: kafka.servers(),
            ..job
        })
    };
    let pairs = Pairs::of_processes(
        setting.length.rounds(),
        || arm(SqlArm::RelayFenced),
        || arm(SqlArm::RelayUnfenced),
    )?;
    let what = format!("a backlog of {total}, into a Kafka, a transaction a batch");
    let beside = "without a fence";
    Ok(vec![
        throughput(&what, beside, &pairs, Target::None),
        cost(&what, beside, &pairs, Target::None),
    ])
}

/// W10.
pub(crate) fn replication(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let total = setting.length.messages(REPLICATED).next_multiple_of(1_000);
    let runs = (0..setting.length.rounds()).map(|_| replicate(total));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let spread = |figure: fn(&Outcome) -> f64| Spread::of(runs.iter().map(figure));
    let what = format!("{total} messages, to a sink that confirms at once and keeps nothing");
    let line =
        |said: &str, unit, found, target| Line::new(format!("{what}: {said}"), "", (unit, found), target);
    let per_core = spread(|run| run.sample().figure(Figure::PerCpuSecond));
    let per_second = spread(|run| run.sample().figure(Figure::PerSecond));
    Ok(vec![
        line(
            "per second of the relay's processor time",
            Unit::PerSecond,
            per_core,
            Target::AtLeast(100_000.0),
        ),
        line("by the clock", Unit::PerSecond, per_second, Target::None),
        line(
            "resident at the most",
            Unit::Megabytes,
            spread(|run| run.rss_mb),
            Target::AtMost(64.0),
        ),
    ])
}

fn replicate(total: u64) -> Result<Outcome, BenchError> {
    let ground = server()?.ground()?;
    let outcome = ground.job(SqlArm::Replication, total).run();
    ground.drop_slots()?;
    let outcome = outcome?;
    agree("rows left", ground.count("tidings.outbox")?, 0)?;
    Ok(outcome)
}
