//! Arms that produce keyed JSON: every delivery is counted or awaited.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::knobs;
use crate::apart::job::{Arm, Job, Outcome, gauge};
use crate::apart::made::Made;
use crate::arms::gauge::Gauge;
use crate::error::BenchError;
use crate::order::{self, Order};
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryFuture, FutureProducer, FutureRecord, Producer, ProducerContext,
};

/// Messages of one call where they are sent together.
const TOGETHER: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts deliveries.
#[derive(Debug, Default)]
pub(super) struct Counted(Arc<AtomicU64>);

impl ClientContext for Counted {}

impl ProducerContext for Counted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // What is missing is noticed at the end.
        self.0.fetch_add(u64::from(result.is_ok()), Relaxed);
    }
}

/// Sends; waits for room where there is none.
pub(super) fn send<C: ProducerContext>(
    producer: &BaseProducer<C>,
    mut record: BaseRecord<'_, [u8], [u8], C::DeliveryOpaque>,
) -> Result<(), BenchError> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(1));
                record = back;
            }
            Err((error, _)) => return Err(broken(error)),
        }
    }
}

/// An id, the same as correlation, and a trace.
pub(super) fn headers(id: &str, trace: &str) -> OwnedHeaders {
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    OwnedHeaders::new_with_capacity(3)
        .insert(header("message-id", id))
        .insert(header("correlation-id", id))
        .insert(header("traceparent", trace))
}

/// A producer by hand and its deliveries.
pub(super) struct Counting {
    pub(super) producer: BaseProducer<Counted>,
    kept: Arc<AtomicU64>,
}

impl Counting {
    pub(super) fn new(job: &Job) -> Result<Self, BenchError> {
        let context = Counted::default();
        let kept = context.0.clone();
        let producer = producer(job, context)?;
        Ok(Self { producer, kept })
    }

    /// Sends; waits for room where there is none.
    pub(super) fn send(
        &self,
        topic: &str,
        key: &[u8],
        payload: &[u8],
        headers: Option<OwnedHeaders>,
    ) -> Result<(), BenchError> {
        let mut record = BaseRecord::to(topic).key(key).payload(payload);
        record.headers = headers;
        send(&self.producer, record)
    }

    pub(super) fn delivered(&self) -> u64 {
        self.kept.load(Relaxed)
    }

    /// Waits for everything.
    pub(super) fn finish(&self, total: u64) -> Result<(), BenchError> {
        self.producer.flush(PATIENCE).map_err(broken)?;
        match self.delivered() {
            all if all == total => Ok(()),
            some => Err(BenchError::part("a producer by hand")(format!(
                "{some} of {total} were delivered"
            ))),
        }
    }
}

/// Writes the topic of the rows that consume. With keys, the orders take them in turn.
pub(super) fn fill(job: &Job) -> Result<Outcome, BenchError> {
    let producer = Counting::new(job)?;
    let mut sum = 0u64;
    for number in 0..job.total {
        let order = Order::numbered(number);
        sum = sum.wrapping_add(order.checksum());
        let key = match job.keys {
            0 => order::key(number, 1_000_000),
            keys => order::fixed_key(number % keys),
        };
        let payload = serde_json::to_vec(&order).map_err(BenchError::part("encoding"))?;
        producer.send(&job.topic, &key, &payload, None)?;
    }
    producer.finish(job.total)?;
    Ok(Outcome {
        messages: job.total,
        checksum: sum,
        ..Outcome::default()
    })
}

/// Headers by hand: an id, the same as correlation, a trace. The values count up, which is less than ids are made of.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: u64,
    id: String,
    trace: String,
}

impl Numbers {
    pub(super) fn headers(&mut self) -> OwnedHeaders {
        self.last += 1;
        self.id.clear();
        self.trace.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.id, "{:036x}", self.last);
        let _ = write!(self.trace, "{:055x}", self.last);
        headers(&self.id, &self.trace)
    }
}

/// One buffer, one poll in 500 messages, deliveries counted: as little as anyone does.
pub(super) fn by_hand(job: &Job) -> Result<Outcome, BenchError> {
    let (producer, made, gauge) = (Counting::new(job)?, Made::new(), gauge(job));
    let mut numbers = (job.arm == Arm::ProduceLoopHeaders).then(Numbers::default);
    let mut json = Vec::with_capacity(512);
    for number in 0..job.total {
        let one = made.get(number);
        json.clear();
        serde_json::to_writer(&mut json, &one.order).map_err(BenchError::part("encoding"))?;
        let headers = numbers.as_mut().map(Numbers::headers);
        producer.send(&job.topic, &one.key, &json, headers)?;
        if number % TOGETHER == 0 {
            producer.producer.poll(Duration::ZERO);
            // As few open as with receipts: what lies around longer costs more.
            while usize::try_from(producer.producer.in_flight_count()).is_ok_and(|open| open >= job.open) {
                producer.producer.poll(Duration::from_millis(1));
            }
        }
        gauge.hit(one.sum);
    }
    producer.finish(job.total)?;
    Outcome::of(&gauge.reading_now()?)
}

/// A future for each message, awaited later.
pub(super) async fn future_each(job: &Job) -> Result<Outcome, BenchError> {
    let producer: FutureProducer = knobs::producer(job).create().map_err(broken)?;
    let (made, gauge) = (Made::new(), gauge(job));
    let mut open: VecDeque<DeliveryFuture> = VecDeque::with_capacity(job.open);
    for number in 0..job.total {
        let one = made.get(number);
        if open.len() == job.open
            && let Some(oldest) = open.pop_front()
        {
            delivered(oldest).await?;
        }
        let json = serde_json::to_vec(&one.order).map_err(BenchError::part("encoding"))?;
        let record = FutureRecord::to(&job.topic).key(&one.key[..]).payload(&json);
        let sent = producer.send_result(record).map_err(|(error, _)| broken(error))?;
        open.push_back(sent);
        gauge.hit(one.sum);
    }
    for one in open {
        delivered(one).await?;
    }
    Outcome::of(&gauge.reading_now()?)
}

async fn delivered(future: DeliveryFuture) -> Result<(), BenchError> {
    let kept = future.await.map_err(BenchError::part("a future by hand"))?;
    kept.map(drop).map_err(|(error, _)| broken(error))
}

/// A producer by hand that tells that context of its deliveries.
pub(super) fn producer<C: ProducerContext>(job: &Job, context: C) -> Result<BaseProducer<C>, BenchError> {
    knobs::producer(job).create_with_context(context).map_err(broken)
}

/// What came of a loop whose outputs had their time; so many `left` are not delivered.
pub(super) fn all_delivered(
    gauge: &Gauge,
    by: &'static str,
    left: usize,
    of: &str,
) -> Result<Outcome, BenchError> {
    match left {
        0 => Outcome::of(&gauge.reading_now()?),
        left => Err(BenchError::part(by)(format!("{left} {of} not delivered"))),
    }
}

pub(super) fn broken(error: KafkaError) -> BenchError {
    BenchError::part("a producer by hand")(error)
}
