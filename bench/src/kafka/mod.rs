//! Arms on a real Apache Kafka.

mod careful;
mod first;
mod knobs;
mod latency;
mod produce;
mod read;
pub(crate) mod server;
mod transform;
mod waits;

pub(crate) use first::first;
pub(crate) use knobs::CONDITIONS;

use std::sync::Arc;
use std::time::Duration;

use tidings_core::{Binder, Sink};

use crate::apart::job::{Arm, Job, Outcome};
use crate::apart::publishing::{self, Keys, TOGETHER};
use crate::apart::reading;
use crate::arms::topic;
use crate::error::BenchError;

/// How often the driver alone stores what it has handled.
const COMMIT: (Duration, u64) = (Duration::from_millis(100), 10_000);

fn sink(job: &Job) -> Result<Arc<dyn Sink>, BenchError> {
    Ok(Binder::sink(&*knobs::binder(job)?))
}

/// Plays the arm of the job.
pub(crate) fn play(job: &Job) -> Result<Outcome, BenchError> {
    let runtime = topic::runtime()?;
    match job.arm {
        Arm::Fill => produce::fill(job),
        Arm::BatchLoop => read::batch_loop(job),
        Arm::PollLoop => read::poll_loop(job),
        Arm::StreamConsumer => runtime.block_on(read::stream_consumer(job)),
        Arm::Source => runtime.block_on(reading::source(job, &*knobs::binder(job)?, COMMIT)),
        Arm::App => runtime.block_on(reading::consume(job, knobs::binder(job)?)),
        Arm::ProduceLoop | Arm::ProduceLoopHeaders => produce::by_hand(job),
        Arm::FutureEach => runtime.block_on(produce::future_each(job)),
        Arm::Receipts => runtime.block_on(publishing::receipts(job, &*sink(job)?, 1, Keys::Given)),
        Arm::ReceiptBatches => {
            runtime.block_on(publishing::receipts(job, &*sink(job)?, TOGETHER, Keys::Given))
        }
        Arm::Publisher => runtime.block_on(publishing::publisher(job, sink(job)?, Keys::Given)),
        Arm::TransformLoop | Arm::TransformLoopHeaders => transform::by_hand(job),
        Arm::TransformApp | Arm::TransformOnce => runtime.block_on(transform::app(job)),
        Arm::WaitingApp => runtime.block_on(waits::app(job)),
        Arm::KeyedTasks => runtime.block_on(waits::keyed_tasks(job)),
        Arm::BareTasks => runtime.block_on(waits::bare_tasks(job)),
        Arm::TransformLoopCareful => careful::by_hand(job),
        Arm::LatencyLoop => latency::by_hand(job),
        Arm::LatencyApp => runtime.block_on(latency::app(job)),
        Arm::Rabbit(_) | Arm::Sql(_) => Err(BenchError::part("the arm")("is one of another broker")),
    }
}
