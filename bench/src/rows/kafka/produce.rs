//! W1: produce keyed JSON, every delivery awaited.

use super::{beside, beside_peer, checksum_of};
use crate::apart::job::{Arm, Job, Packing};
use crate::apart::peers::{spring, stream};
use crate::error::BenchError;
use crate::kafka::server::{PARTITIONS, server};
use crate::report::Line;
use crate::rows::Setting;
use crate::rows::lines::{cost, speed};
use crate::verdict::Target;

const MESSAGES: u64 = 1_000_000;
/// Deliveries that are open at the same time in two lines; in the others it is 50,000.
const FEWER_OPEN: usize = 10_000;
const TOPIC: &str = "sink";
const LOOP: &str = "a loop by hand that counts deliveries";
const PUBLISHER: &str = "an app's publisher: with id, correlation and trace as headers";

fn job(setting: &Setting<'_>, arm: Arm) -> Result<Job, BenchError> {
    let server = server()?;
    server.topic(TOPIC, PARTITIONS, true)?;
    Ok(server.job(arm, TOPIC, setting.length.messages(MESSAGES)))
}

/// Our ways to publish, beside two by hand.
pub(in crate::rows) fn by_hand(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let the_loop = job(setting, Arm::ProduceLoop)?;
    let sum = checksum_of(&the_loop)?;
    let mut lines = Vec::new();
    let most = Target::AtMost(1.10);
    for packing in [Packing::Plain, Packing::Lz4] {
        for (arm, what, reference, beside_what, target) in [
            (Arm::Receipts, "a receipt each", Arm::ProduceLoop, LOOP, most),
            (
                Arm::ReceiptBatches,
                "a receipt each, 500 a call",
                Arm::ProduceLoop,
                LOOP,
                most,
            ),
            (
                Arm::Publisher,
                PUBLISHER,
                Arm::ProduceLoopHeaders,
                "the loop by hand with headers of that size",
                most,
            ),
            (Arm::Publisher, PUBLISHER, Arm::ProduceLoop, LOOP, Target::None),
        ] {
            let of = |arm| Job {
                arm,
                packing,
                ..the_loop.clone()
            };
            let pairs = beside(setting, &of(arm), &of(reference), sum)?;
            let what = format!("{what}{}", super::said(packing));
            lines.push(cost(&what, beside_what, &pairs, target));
        }
    }
    for packing in [Packing::Plain, Packing::Lz4] {
        let of = |arm| Job {
            arm,
            packing,
            open: FEWER_OPEN,
            ..the_loop.clone()
        };
        let pairs = beside(setting, &of(Arm::Receipts), &of(Arm::ProduceLoop), sum)?;
        let what = format!("a receipt each, {FEWER_OPEN} open{}", super::said(packing));
        lines.push(cost(&what, LOOP, &pairs, most));
    }
    let (ours, future) = (the_loop.with(Arm::Receipts), the_loop.with(Arm::FutureEach));
    let pairs = beside(setting, &ours, &future, sum)?;
    lines.push(cost(
        "a receipt each",
        "a future each of the rdkafka crate",
        &pairs,
        Target::AtMost(1.0),
    ));
    Ok(lines)
}

/// Beside other libraries.
pub(in crate::rows) fn java(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    super::the_peers()?;
    let ours = job(setting, Arm::Receipts)?;
    let theirs = Job {
        warm: ours.total / 2,
        ..ours.clone()
    };
    let mut lines = Vec::new();
    for (peer, target) in [
        (spring("KafkaTemplate", "W1", "produce"), 2.3),
        (stream("StreamBridge", "W1", "produce"), 7.5),
    ] {
        // They make orders of their own, of the same size.
        let pairs = beside_peer(setting, &ours, peer, &theirs, None)?;
        lines.push(speed(
            "a receipt each",
            peer.name,
            &pairs,
            Target::AtLeast(target),
        ));
    }
    Ok(lines)
}
