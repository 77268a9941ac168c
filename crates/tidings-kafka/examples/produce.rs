//! What publishing costs: `produce HOST:PORT TOPIC ARM MESSAGES [HEADERS]`, with the arms `floor` (a hand-written loop
//! on the `rdkafka` crate's producer), `future` (one of its futures for each message), `sink` (a receipt for each
//! message, one call each) and `batch` (a receipt for each, 500 messages a call). Prints processor seconds per million.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tidings_core::{DestinationSpec, Message, Outgoing, Receipt, Sink};
use tidings_kafka::{ClientOptions, KafkaAdmin};

/// Receipts that are open at the same time.
const OPEN: usize = 50_000;

struct Run {
    servers: String,
    topic: Arc<str>,
    messages: u64,
    headers: usize,
}

#[derive(Default)]
struct Counted(Arc<AtomicU64>);

impl ClientContext for Counted {}

impl ProducerContext for Counted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "not delivered");
        self.0.fetch_add(1, Relaxed);
    }
}

/// About 240 bytes.
fn payload(number: u64) -> String {
    format!(
        "{{\"order_id\":\"o-{number:012}\",\"customer_id\":\"c-{:08}\",\"total\":{},\"currency\":\"EUR\",\"items\":\
         [\"tea\",\"milk\",\"sugar\",\"bread\"],\"street\":\"Long Street 123\",\"city\":\"Somewhere\",\"country\":\"DE\",\
         \"note\":\"leave it at the door please\",\"priority\":false,\"weight\":1234}}",
        number % 10_000,
        number % 100_000
    )
}

fn key(number: u64) -> String {
    format!("c-{:014}", number % 10_000)
}

impl Run {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("batch.num.messages", "100000")
            .set("queue.buffering.max.kbytes", "32768");
        config
    }

    fn floor(&self) {
        let context = Counted::default();
        let kept = context.0.clone();
        let producer: BaseProducer<Counted> = self.config().create_with_context(context).expect("a producer");
        for number in 0..self.messages {
            let (key, payload) = (key(number), payload(number));
            let mut record = BaseRecord::to(&self.topic).key(&key).payload(&payload);
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        producer.poll(Duration::from_millis(1));
                        record = back;
                    }
                    Err((error, _)) => panic!("{error}"),
                }
            }
            if number % 500 == 0 {
                producer.poll(Duration::ZERO);
                // As few open as with receipts: what lies around longer costs more.
                while producer.in_flight_count() as usize >= OPEN {
                    producer.poll(Duration::from_millis(1));
                }
            }
        }
        producer.flush(Duration::from_secs(60)).expect("flushed");
        assert_eq!(kept.load(Relaxed), self.messages);
    }

    async fn future(&self) {
        let producer: FutureProducer = self.config().create().expect("a producer");
        let mut open = VecDeque::with_capacity(OPEN);
        for number in 0..self.messages {
            if open.len() == OPEN {
                let oldest: rdkafka::producer::DeliveryFuture = open.pop_front().expect("one is open");
                oldest.await.expect("answered").expect("delivered");
            }
            let (key, payload) = (key(number), payload(number));
            let record = FutureRecord::to(&self.topic).key(&key).payload(&payload);
            open.push_back(
                producer
                    .send_result(record)
                    .map_err(|(error, _)| error)
                    .expect("queued"),
            );
        }
        for one in open {
            one.await.expect("answered").expect("delivered");
        }
    }

    fn outgoing(&self, number: u64) -> Outgoing {
        let mut message = Message::new(payload(number)).with_key(key(number));
        for header in 0..self.headers {
            message = message
                .with_header(&format!("header-{header}"), "0123456789abcdef0123456789")
                .expect("it fits");
        }
        Outgoing::new(self.topic.clone(), message)
    }

    async fn sink(&self, sink: &dyn Sink, at_once: u64) {
        let mut open: VecDeque<Receipt> = VecDeque::with_capacity(OPEN);
        let mut number = 0;
        while number < self.messages {
            while open.len() + at_once as usize > OPEN {
                open.pop_front().expect("one is open").await.expect("kept");
            }
            if at_once == 1 {
                open.push_back(sink.publish(self.outgoing(number)));
            } else {
                let some = (number..self.messages.min(number + at_once)).map(|number| self.outgoing(number));
                open.extend(sink.publish_all(some.collect()));
            }
            number += at_once;
        }
        for one in open {
            one.await.expect("kept");
        }
    }
}

fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("a name")
        .split_whitespace()
        .collect();
    let ticks = |place: usize| fields[place].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let run = Run {
        servers: arguments[0].clone(),
        topic: arguments[1].as_str().into(),
        messages: arguments[3].parse().expect("a number"),
        headers: arguments
            .get(4)
            .map_or(0, |count| count.parse().expect("a number")),
    };
    let options = ClientOptions::from_url(&format!("kafka://{}", run.servers)).expect("an address");
    let kafka = KafkaAdmin::open(options).expect("clients");
    kafka
        .prepare(DestinationSpec::new(run.topic.clone(), 6))
        .await
        .expect("a topic");
    let (start, used) = (Instant::now(), processor_seconds());
    match arguments[2].as_str() {
        "floor" => run.floor(),
        "future" => run.future().await,
        "sink" => run.sink(&*kafka.sink(), 1).await,
        "batch" => run.sink(&*kafka.sink(), 500).await,
        other => panic!("no arm {other}"),
    }
    let (wall, used) = (start.elapsed().as_secs_f64(), processor_seconds() - used);
    let million = run.messages as f64 / 1e6;
    println!(
        "{:7} {:.3} CPU-s per million, {:.0}/s",
        arguments[2],
        used / million,
        run.messages as f64 / wall
    );
}
