//! RustStream as an arm: its own service on its own broker in memory, with the payload of its own benchmark.

use std::convert::Infallible;

use ruststream::OutgoingMessage;
use ruststream::memory::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::arms::gauge::{Gauge, Reading};
use crate::arms::topic;
use crate::error::BenchError;
use crate::order::{self, Small};

const NAME: &str = "orders";

#[subscriber("orders")]
async fn consume(small: &Small, context: &mut Context<'_, (), &'static Gauge>) -> HandlerOutcome {
    context.state().hit(small.id + u64::from(small.quantity));
    HandlerOutcome::ack()
}

/// Fills its queue and has one thread drain it; only the draining is measured.
pub(crate) fn backlog(messages: u64, gauge: &'static Gauge) -> Result<Reading, BenchError> {
    let runtime = topic::runtime()?;
    let broker = MemoryBroker::new();
    runtime.block_on(async {
        let running = service(&broker, gauge).await?;
        // On one thread the service only runs when this waits, and publishing in memory never does.
        publish(&broker, messages).await?;
        let reading = gauge.finished().await;
        drop(running);
        reading
    })
}

/// One thread publishes a few and handles them, over and over, as its own program does; all of it is measured.
pub(crate) fn few_at_a_time(messages: u64, few: u64, gauge: &'static Gauge) -> Result<Reading, BenchError> {
    let broker = MemoryBroker::new();
    topic::runtime()?.block_on(async {
        let running = service(&broker, gauge).await?;
        for first in (0..messages).step_by(few as usize) {
            let now = few.min(messages - first);
            publish(&broker, now).await?;
            gauge.reached(first + now).await;
        }
        drop(running);
        gauge.reading()
    })
}

/// One thread publishes, another handles.
pub(crate) fn two_threads(messages: u64, gauge: &'static Gauge) -> Result<Reading, BenchError> {
    let runtime = two_workers()?;
    let broker = MemoryBroker::new();
    runtime.block_on(async {
        let running = service(&broker, gauge).await?;
        publish(&broker, messages).await?;
        let reading = gauge.finished().await;
        drop(running);
        reading
    })
}

fn two_workers() -> Result<Runtime, BenchError> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(BenchError::system("starting a runtime"))
}

async fn service(broker: &MemoryBroker, gauge: &'static Gauge) -> Result<impl Sized, BenchError> {
    RustStream::new(AppInfo::new("bench", "0.0.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(gauge))
        .with_broker(broker.clone(), |scope| {
            scope.include(consume);
        })
        .start()
        .await
        .map_err(|error| BenchError::part("starting RustStream")(format!("{error:?}")))
}

async fn publish(broker: &MemoryBroker, messages: u64) -> Result<(), BenchError> {
    let publisher = broker.publisher();
    let body = order::small_json();
    for _ in 0..messages {
        publisher
            .publish(OutgoingMessage::new(NAME, &body), None)
            .await
            .map_err(|error| BenchError::part("publishing to RustStream")(format!("{error:?}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arms::gauge::Watch;

    #[test]
    fn each_way_handles_every_message() {
        let one = checksum_of_one();
        let gauge = || Gauge::leaked(0, 1_000, Watch::Time);
        for reading in [
            backlog(1_000, begun(gauge())),
            few_at_a_time(1_000, 300, begun(gauge())),
            two_threads(1_000, begun(gauge())),
        ] {
            assert_eq!(reading.unwrap().checksum, 1_000 * one);
        }
    }

    fn begun(gauge: &'static Gauge) -> &'static Gauge {
        gauge.begin();
        gauge
    }

    fn checksum_of_one() -> u64 {
        let small: Small = serde_json::from_slice(&order::small_json()).unwrap();
        small.id + u64::from(small.quantity)
    }
}
