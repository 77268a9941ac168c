//! W4: consume, change, produce, at least once. W5: the same exactly once.

use super::{beside, beside_peer};
use crate::apart::job::{Arm, Job};
use crate::apart::peers::{spring, stream};
use crate::error::BenchError;
use crate::kafka::server::{PARTITIONS, server};
use crate::report::Line;
use crate::rows::Setting;
use crate::rows::lines::{cost, speed, throughput};
use crate::verdict::Target;

const OUT: &str = "priced";
const WHAT: &str = "a handler that returns its output, in turn";
/// So many slots, by key, beside the usual way.
const SLOTS: usize = 1_000;
const MESSAGES: u64 = 500_000;

fn job(setting: &Setting<'_>) -> Result<(Job, u64), BenchError> {
    let server = server()?;
    let total = setting.length.messages(MESSAGES);
    let (topic, sum) = server.orders(total, 0, PARTITIONS)?;
    server.topic(OUT, PARTITIONS, true)?;
    let job = Job {
        out: OUT.to_owned(),
        ..server.job(Arm::TransformApp, &topic, total)
    };
    Ok((job, sum))
}

/// W4 beside the loop by hand.
pub(in crate::rows) fn by_hand(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let (ours, sum) = job(setting)?;
    let mut lines = Vec::new();
    for (arm, reference, target) in [
        (
            Arm::TransformLoopHeaders,
            "the batch call and a producer by hand, with headers of that size",
            Target::AtMost(1.10),
        ),
        (
            Arm::TransformLoop,
            "the batch call and a producer by hand, without headers",
            Target::None,
        ),
    ] {
        let the_loop = ours.with(arm);
        let pairs = beside(setting, &ours, &the_loop, sum)?;
        lines.push(cost(WHAT, reference, &pairs, target));
    }
    let [careful, plain] = [Arm::TransformLoopCareful, Arm::TransformLoopHeaders].map(|arm| ours.with(arm));
    let by_hand =
        "bound: by hand, outputs kept until they are delivered, ids derived from inputs, offsets one by one";
    let pairs = beside(setting, &careful, &plain, sum)?;
    let what = "the batch call and a producer by hand, with headers of that size";
    lines.push(cost(by_hand, what, &pairs, Target::None));
    let pairs = beside(setting, &ours, &careful, sum)?;
    lines.push(cost(WHAT, by_hand, &pairs, Target::None));
    let by_key = Job {
        slots: SLOTS,
        ..ours.clone()
    };
    let pairs = beside(setting, &by_key, &ours, sum)?;
    let what = format!("the same, key-ordered, {SLOTS} slots");
    lines.push(cost(&what, "ours, in turn", &pairs, Target::None));
    Ok(lines)
}

/// W4 beside other libraries.
pub(in crate::rows) fn java(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    super::the_peers()?;
    let (ours, sum) = job(setting)?;
    let theirs = Job {
        warm: ours.total / 2,
        ..ours.clone()
    };
    let mut lines = Vec::new();
    for (peer, target) in [
        (
            stream("Spring Cloud Stream, a function", "W4", "transform"),
            Target::AtLeast(4.0),
        ),
        (
            spring(
                "Spring Kafka, a batch with its sends awaited",
                "W4",
                "transformbatch",
            ),
            Target::None,
        ),
    ] {
        let pairs = beside_peer(setting, &ours, peer, &theirs, Some(sum))?;
        lines.push(speed(WHAT, peer.name, &pairs, target));
    }
    Ok(lines)
}

/// W5: ours exactly once beside ours at least once, a span of 100 ms or 10,000 messages each. Throughput, because a
/// transaction costs waiting and not work.
pub(in crate::rows) fn exactly_once(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let (at_least_once, sum) = job(setting)?;
    let once = Job {
        arm: Arm::TransformOnce,
        ..at_least_once.clone()
    };
    let pairs = beside(setting, &once, &at_least_once, sum)?;
    let reference = "ours, at least once";
    Ok(vec![
        throughput(
            &format!("{WHAT}, exactly once"),
            reference,
            &pairs,
            Target::AtLeast(0.90),
        ),
        cost(&format!("{WHAT}, exactly once"), reference, &pairs, Target::None),
    ])
}
