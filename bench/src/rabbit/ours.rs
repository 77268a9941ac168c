//! Our own arms on RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use tidings_core::{
    Binder, DestinationSpec, Guarantee, Message, Outgoing, Source, SourceEvent, SourceInput, SourceSpec,
    Start,
};
use tidings_rabbitmq::{ClientOptions, QueueType, RabbitBinder, RabbitSink, Route};

use super::{PREFETCH, queue};
use crate::apart::job::{Job, Outcome};
use crate::apart::made::Made;
use crate::apart::publishing::{self, Keys, TOGETHER};
use crate::apart::reading;
use crate::error::BenchError;

/// How often the driver alone acknowledges what it has handled.
const ACKS: (Duration, u64) = (Duration::from_millis(100), 50);

fn options(job: &Job) -> Result<ClientOptions, BenchError> {
    let options = ClientOptions::from_url(&job.servers).map_err(BenchError::part("the address"))?;
    Ok(options
        .with_queue_type(QueueType::Classic)
        .with_prefetch(PREFETCH))
}

fn binder(job: &Job) -> Result<Arc<RabbitBinder>, BenchError> {
    let binder = RabbitBinder::open(options(job)?).map_err(BenchError::part("opening the driver"))?;
    Ok(Arc::new(binder))
}

/// A sink whose messages go to the queue that the arms by hand publish to.
fn sink(job: &Job) -> Result<RabbitSink, BenchError> {
    let sink = RabbitSink::open(options(job)?).map_err(BenchError::part("opening the driver"))?;
    sink.route(job.topic.as_str(), Route::Queue);
    Ok(sink)
}

/// Has the driver make the queue of the job, and publishes all messages.
pub(super) async fn fill(job: &Job) -> Result<Outcome, BenchError> {
    let binder = binder(job)?;
    let prepared = Binder::prepare(&*binder, DestinationSpec::new(job.topic.as_str(), 1)).await;
    prepared.map_err(BenchError::part("making a queue"))?;
    let spec = SourceSpec {
        partitions: None,
        subscription: "bench".into(),
        group: Some(job.group.as_str().into()),
        inputs: vec![SourceInput {
            destination: job.topic.as_str().into(),
            retry: None,
        }],
        start: Start::Latest,
        max_batch_bytes: 1 << 20,
        commit_interval: Duration::from_millis(100),
        commit_every: 50,
        revoke_timeout: Duration::from_secs(1),
        guarantee: Guarantee::AtLeastOnce,
    };
    let source = Binder::subscribe(&*binder, spec).await;
    let mut source = source.map_err(BenchError::part("making a queue"))?;
    while !matches!(source.next().await, Ok(SourceEvent::Assigned(_))) {}
    source.close().await.map_err(BenchError::part("making a queue"))?;
    let (made, sink) = (Made::new(), Binder::sink(&*binder));
    let mut sum = 0u64;
    for first in (0..job.total).step_by(1_000) {
        let outgoing = (first..(first + 1_000).min(job.total)).map(|number| {
            let one = made.get(number);
            sum = sum.wrapping_add(one.sum);
            let json = serde_json::to_vec(&one.order).map_err(BenchError::part("encoding"))?;
            let message = Message::new(json).with_key(one.key.clone());
            let message = message.with_header("content-type", "application/json");
            let message = message.map_err(BenchError::part("encoding"))?;
            Ok(Outgoing::new(job.topic.as_str(), message))
        });
        for receipt in sink.publish_all(outgoing.collect::<Result<_, BenchError>>()?) {
            receipt.await.map_err(BenchError::part("a receipt"))?;
        }
    }
    Binder::close(&*binder)
        .await
        .map_err(BenchError::part("closing the driver"))?;
    Ok(Outcome {
        messages: job.total,
        checksum: sum,
        ..Outcome::default()
    })
}

/// One message a call.
pub(super) async fn receipts(job: &Job) -> Result<Outcome, BenchError> {
    publish(job, 1).await
}

/// So many messages a call as on Kafka.
pub(super) async fn receipt_batches(job: &Job) -> Result<Outcome, BenchError> {
    publish(job, TOGETHER).await
}

async fn publish(job: &Job, together: u64) -> Result<Outcome, BenchError> {
    let job = to_queue(job);
    publishing::receipts(&job, &sink(&job)?, together, keys(&job)).await
}

fn keys(job: &Job) -> Keys {
    match job.keys {
        0 => Keys::None,
        _ => Keys::Given,
    }
}

/// An app's publisher.
pub(super) async fn publisher(job: &Job) -> Result<Outcome, BenchError> {
    let job = to_queue(job);
    publishing::publisher(&job, Arc::new(sink(&job)?), keys(&job)).await
}

/// Our destination is the queue itself, as by hand.
fn to_queue(job: &Job) -> Job {
    Job {
        topic: queue(job),
        ..job.clone()
    }
}

/// The driver's batches, handled in a loop.
pub(super) async fn source(job: &Job) -> Result<Outcome, BenchError> {
    reading::source(job, &*binder(job)?, ACKS).await
}

/// An app.
pub(super) async fn app(job: &Job) -> Result<Outcome, BenchError> {
    reading::consume(job, binder(job)?).await
}
