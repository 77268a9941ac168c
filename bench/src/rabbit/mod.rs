//! Arms on a real RabbitMQ.

mod hand;
mod ours;
pub(crate) mod server;

use crate::apart::job::{Job, Outcome, RabbitArm};
use crate::arms::topic;
use crate::error::BenchError;

/// Messages that a queue hands over before one of them is acknowledged.
pub(crate) const PREFETCH: u16 = 250;

/// In words, for the table.
pub(crate) const CONDITIONS: &str = "RabbitMQ of Debian, one node; a classic durable queue, persistent messages; 1,000 confirms open, prefetch 250; broker and \
    client on a core each";

/// The queue from which all arms read.
pub(crate) fn queue(job: &Job) -> String {
    format!("{}.{}", job.topic, job.group)
}

/// Plays the arm of the job.
pub(crate) fn play(arm: RabbitArm, job: &Job) -> Result<Outcome, BenchError> {
    let runtime = topic::runtime()?;
    match arm {
        RabbitArm::Fill => runtime.block_on(ours::fill(job)),
        RabbitArm::PublishJoined => runtime.block_on(hand::publish_joined(job)),
        RabbitArm::PublishEach => runtime.block_on(hand::publish_each(job)),
        RabbitArm::Receipts => runtime.block_on(ours::receipts(job)),
        RabbitArm::ReceiptBatches => runtime.block_on(ours::receipt_batches(job)),
        RabbitArm::Publisher => runtime.block_on(ours::publisher(job)),
        RabbitArm::AckFifty => runtime.block_on(hand::consume(job, 50)),
        RabbitArm::AckEach => runtime.block_on(hand::consume(job, 1)),
        RabbitArm::Source => runtime.block_on(ours::source(job)),
        RabbitArm::App => runtime.block_on(ours::app(job)),
    }
}
