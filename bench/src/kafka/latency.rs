//! From when a message was due to be sent, through the broker, to its handler in the same process.

use std::thread;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tidings::{Json, on};
use tidings_core::Message;

use super::knobs;
use super::produce::Counting;
use super::read::broken;
use crate::apart::job::{Job, Outcome, gauge};
use crate::apart::reading;
use crate::arms::latency::{self, Latencies};
use crate::arms::topic;
use crate::error::BenchError;
use crate::order::{self, Small};

/// Until a member has its partitions, nothing is sent: the first message would wait for the group and not for us.
const FIRST: u64 = u64::MAX;

fn outcome(job: &Job, latencies: &Latencies) -> Outcome {
    let found = latencies.percentiles();
    Outcome {
        messages: job.total,
        p50_us: found.p50,
        p99_us: found.p99,
        ..Outcome::default()
    }
}

fn first() -> bytes::Bytes {
    format!(r#"{{"id":{FIRST},"quantity":0}}"#).into()
}

/// A thread that sends, and a poll loop on this one. librdkafka's batch call is no rival here: it waits for a full batch
/// until its time is over.
pub(super) fn by_hand(job: &Job) -> Result<Outcome, BenchError> {
    let consumer: BaseConsumer = knobs::consumer(job).create().map_err(broken)?;
    consumer.subscribe(&[&job.topic]).map_err(broken)?;
    let producer = Counting::new(job)?;
    let (gauge, mut sending, mut schedule) = (gauge(job), None, None);
    producer.send(&job.topic, &order::fixed_key(0), &first(), None)?;
    let mut producer = Some(producer);
    while !gauge.is_done() {
        let Some(polled) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = polled.map_err(broken)?;
        let payload = message.payload().unwrap_or_default();
        let small: Small = serde_json::from_slice(payload).map_err(BenchError::part("decoding"))?;
        consumer.store_offset_from_message(&message).map_err(broken)?;
        match (small.id, schedule) {
            (FIRST, _) => {
                let Some(producer) = producer.take() else { continue };
                let latencies = Latencies::leaked(job.per_second, job.warm)?;
                schedule = Some(latencies);
                let job = job.clone();
                sending = Some(thread::spawn(move || send_by_hand(&job, &producer, latencies)));
            }
            (number, Some(latencies)) => {
                Latencies::handled(latencies, number);
                gauge.hit(number);
            }
            _ => {}
        }
    }
    if let Some(sending) = sending {
        join(sending)?;
    }
    let latencies = schedule.ok_or_else(|| BenchError::part("the loop")("it never began"))?;
    Ok(outcome(job, latencies))
}

fn send_by_hand(job: &Job, producer: &Counting, latencies: &Latencies) -> Result<(), BenchError> {
    for number in 0..job.total {
        let payload = latency::payload(number);
        latencies.sleep_until(number);
        producer.send(&job.topic, &order::fixed_key(number % 1_000), &payload, None)?;
        if number % 100 == 0 {
            producer.producer.poll(Duration::ZERO);
        }
    }
    producer.finish(job.total + 1)
}

/// A thread that publishes, and an app on this one.
pub(super) async fn app(job: &Job) -> Result<Outcome, BenchError> {
    let (gauge, began) = (gauge(job), &*Box::leak(Box::new(tokio::sync::Notify::new())));
    let schedule: &'static std::sync::OnceLock<&'static Latencies> =
        Box::leak(Box::new(std::sync::OnceLock::new()));
    let handler = on(job.topic.as_str(), move |Json(small): Json<Small>| async move {
        match (small.id, schedule.get()) {
            (FIRST, _) => began.notify_one(),
            (number, Some(latencies)) => {
                latencies.handled(number);
                gauge.hit(number);
            }
            _ => {}
        }
    });
    let running = reading::start(job, knobs::binder(job)?, handler).await?;
    let publisher = running.publisher().clone();
    let message = |payload, key| Message::new(payload).with_key(order::fixed_key(key));
    let sent = publisher.send(&job.topic, message(first(), 0)).await;
    sent.map_err(BenchError::part("publishing"))?;
    began.notified().await;
    let latencies = Latencies::leaked(job.per_second, job.warm)?;
    let _ = schedule.set(latencies);
    let (total, topic) = (job.total, job.topic.clone());
    let sending = thread::spawn(move || {
        topic::runtime()?.block_on(async {
            let mut receipts = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
            for number in 0..total {
                let message = message(latency::payload(number), number % 1_000);
                latencies.sleep_until(number);
                receipts.push(publisher.send(&topic, message));
            }
            for receipt in receipts {
                receipt.await.map_err(BenchError::part("publishing"))?;
            }
            Ok(())
        })
    });
    gauge.finished().await?;
    join(sending)?;
    running.drain().await;
    Ok(outcome(job, latencies))
}

fn join(sending: thread::JoinHandle<Result<(), BenchError>>) -> Result<(), BenchError> {
    sending
        .join()
        .unwrap_or_else(|_| Err(BenchError::part("the sending thread")("it panicked")))
}
