//! Consume, change, produce. At least once: an input's offset is stored when its output is delivered. Exactly once: in a
//! transaction with its output.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tidings::{Json, Key, on};
use tidings_core::{Encode, JsonCodec, Message, Output};

use super::knobs;
use super::produce::{Numbers, all_delivered, broken, producer, send};
use super::read::{Reader, Stores};
use crate::apart::job::{Arm, Job, Outcome, gauge};
use crate::apart::reading;
use crate::arms::gauge::Gauge;
use crate::error::BenchError;
use crate::order::Order;

/// Batches of inputs whose outputs may be under way at the same time.
const OPEN: usize = 256;

/// What is done with an order.
pub(super) fn priced(mut order: Order) -> Order {
    order.total += order.tax;
    order.version += 1;
    order.status = "PRICED".into();
    order
}

/// Deliveries counted by batch of inputs.
#[derive(Debug)]
struct ByBatch(Arc<[AtomicU32]>);

impl ClientContext for ByBatch {}

impl ProducerContext for ByBatch {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: usize) {
        if let (Ok(_), Some(count)) = (result, self.0.get(batch)) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// A batch whose outputs are under way.
struct Open {
    number: usize,
    messages: u32,
    /// The last offset of each partition in it.
    ends: Vec<(i32, i64)>,
}

struct Loop {
    reader: Reader,
    producer: BaseProducer<ByBatch>,
    delivered: Arc<[AtomicU32]>,
    open: VecDeque<Open>,
    out: String,
    json: Vec<u8>,
    numbers: Option<Numbers>,
}

pub(super) fn by_hand(job: &Job) -> Result<Outcome, BenchError> {
    let delivered: Arc<[AtomicU32]> = (0..OPEN).map(|_| AtomicU32::new(0)).collect();
    let context = ByBatch(delivered.clone());
    let mut the_loop = Loop {
        reader: Reader::new(job, Stores::Later)?,
        producer: producer(job, context)?,
        delivered,
        open: VecDeque::new(),
        out: job.out.clone(),
        json: Vec::with_capacity(512),
        numbers: (job.arm == Arm::TransformLoopHeaders).then(Numbers::default),
    };
    let gauge = gauge(job);
    let mut number = 0;
    while !gauge.is_done() {
        the_loop.batch(number % OPEN, gauge)?;
        number += 1;
        the_loop.settle();
        while the_loop.open.len() + 1 >= OPEN {
            the_loop.producer.poll(Duration::from_millis(1));
            the_loop.settle();
        }
    }
    the_loop.producer.flush(Duration::from_secs(60)).map_err(broken)?;
    the_loop.settle();
    let left = the_loop.open.len();
    all_delivered(gauge, "the loop by hand", left, "batches have outputs that were")
}

impl Loop {
    fn batch(&mut self, number: usize, gauge: &Gauge) -> Result<(), BenchError> {
        let mut open = Open {
            number,
            messages: 0,
            ends: Vec::new(),
        };
        let (producer, out, json) = (&self.producer, &self.out, &mut self.json);
        let numbers = &mut self.numbers;
        self.reader.batch(|message| {
            let order: Order =
                serde_json::from_slice(message.payload()).map_err(BenchError::part("decoding"))?;
            let sum = order.checksum();
            json.clear();
            serde_json::to_writer(&mut *json, &priced(order)).map_err(BenchError::part("encoding"))?;
            let mut record = BaseRecord::with_opaque_to(out.as_str(), number)
                .key(message.key())
                .payload(&json[..]);
            record.headers = numbers.as_mut().map(Numbers::headers);
            send(producer, record)?;
            let (partition, offset) = message.place();
            open.messages += 1;
            match open.ends.last_mut().filter(|(last, _)| *last == partition) {
                Some(end) => end.1 = offset,
                None => open.ends.push((partition, offset)),
            }
            gauge.hit(sum);
            Ok(())
        })?;
        if open.messages > 0 {
            self.open.push_back(open);
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Stores offsets of batches that are delivered as a whole, in order.
    fn settle(&mut self) {
        while let Some(first) = self.open.front() {
            let Some(count) = self.delivered.get(first.number) else {
                return;
            };
            if count.load(Relaxed) != first.messages {
                return;
            }
            count.store(0, Relaxed);
            for (partition, offset) in &first.ends {
                self.reader.store(*partition, *offset);
            }
            self.open.pop_front();
        }
    }
}

/// A handler that returns its output, at least once or exactly once.
pub(super) async fn app(job: &Job) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let handler = on(
        job.topic.as_str(),
        move |Json(order): Json<Order>, Key(key): Key| async move {
            let sum = order.checksum();
            let json = JsonCodec::encode(&priced(order));
            gauge.hit(sum);
            json.map(|json| Output::message(Message::new(json).with_key(key)))
        },
    );
    let out = job.out.clone();
    let handler = match job.arm {
        Arm::TransformOnce => handler.exactly_once(),
        _ => handler,
    };
    let running = reading::start_with(job, knobs::binder(job)?, handler.to(out.as_str()), |app| {
        app.channel(out.as_str(), |channel| channel.partitions(job.partitions))
    })
    .await?;
    gauge.finished().await?;
    let drained = running.drain().await;
    match drained.finished_in_time {
        true => Outcome::of(&gauge.reading_now()?),
        false => Err(BenchError::part("draining the app")(drained.problems.join("; "))),
    }
}
