//! Rows on a real Apache Kafka: each run of an arm is a process of its own on one core, the broker is on the other.
//!
//! An arm says one line of JSON at its end. The programs of other libraries in other languages say the same line, so
//! that all are started, pinned and compared in one way.

mod careful;
pub(crate) mod cores;
mod first;
pub(crate) mod job;
mod knobs;
mod latency;
mod made;
mod ours;
pub(crate) mod peers;
mod produce;
mod read;
pub(crate) mod server;
mod transform;
mod waits;

pub(crate) use first::first;
pub(crate) use knobs::CONDITIONS;

use std::process::ExitCode;

use crate::arms::topic;
use crate::error::BenchError;
use job::{Arm, Job, Outcome};

/// The first argument of a process that plays an arm; the second is the job.
pub(crate) const MARK: &str = "kafka-arm";

/// Plays the arm of the job.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let job = match arguments {
        [job] => serde_json::from_str(job).map_err(BenchError::part("reading the job")),
        _ => Err(BenchError::Arguments(format!("{MARK} takes one job"))),
    };
    match job.and_then(|job| play(&job)) {
        Ok(outcome) => {
            println!("{}", outcome.line());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(job: &Job) -> Result<Outcome, BenchError> {
    let runtime = topic::runtime()?;
    match job.arm {
        Arm::Fill => produce::fill(job),
        Arm::BatchLoop => read::batch_loop(job),
        Arm::PollLoop => read::poll_loop(job),
        Arm::StreamConsumer => runtime.block_on(read::stream_consumer(job)),
        Arm::Source => runtime.block_on(ours::source(job)),
        Arm::App => runtime.block_on(ours::consume(job)),
        Arm::ProduceLoop | Arm::ProduceLoopHeaders => produce::by_hand(job),
        Arm::FutureEach => runtime.block_on(produce::future_each(job)),
        Arm::Receipts | Arm::ReceiptBatches => runtime.block_on(produce::receipts(job)),
        Arm::Publisher => runtime.block_on(produce::publisher(job)),
        Arm::TransformLoop | Arm::TransformLoopHeaders => transform::by_hand(job),
        Arm::TransformApp | Arm::TransformOnce => runtime.block_on(transform::app(job)),
        Arm::WaitingApp => runtime.block_on(waits::app(job)),
        Arm::KeyedTasks => runtime.block_on(waits::keyed_tasks(job)),
        Arm::BareTasks => runtime.block_on(waits::bare_tasks(job)),
        Arm::TransformLoopCareful => careful::by_hand(job),
        Arm::LatencyLoop => latency::by_hand(job),
        Arm::LatencyApp => runtime.block_on(latency::app(job)),
    }
}
