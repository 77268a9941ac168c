//! What reading costs: librdkafka's batch call with every message thrown away, and a subscription's source.
//!
//! `reading_cost fill|batch|source SERVERS TOPIC COUNT`: `fill` writes the messages, the others read them and print
//! processor time a million, of the whole process. Run the two in turns (A B B A): timings of one run mean little.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]
#![allow(unsafe_code, reason = "the batch call is what it is compared with")]

use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::ffi::CString;
use std::ptr::null_mut;
use std::time::{Duration, Instant};
use tidings_core::{Binder, Source, SourceEvent, SourceInput, SourceSpec, Start};
use tidings_kafka::{ClientOptions, KafkaBinder};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, servers, topic, count] = args.as_slice() else {
        println!("reading_cost fill|batch|source SERVERS TOPIC COUNT");
        return;
    };
    let count: u64 = count.parse().unwrap();
    let begun = Instant::now();
    match mode.as_str() {
        "fill" => return fill(servers, topic, count),
        "batch" => batch(servers, topic, count),
        _ => source(servers, topic, count),
    }
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let used = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    let per_million = used / count as f64 * 1e6;
    println!(
        "{mode}: {per_million:.3} CPU-seconds a million, {:?} in all",
        begun.elapsed()
    );
}

fn fill(servers: &str, topic: &str, count: u64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("linger.ms", "50")
        .create()
        .unwrap();
    for number in 0..count {
        let payload = format!("{{\"id\":{number:020},\"text\":\"{}\"}}", "x".repeat(200));
        let key = (number % 1_000).to_string();
        while producer
            .send(BaseRecord::to(topic).payload(&payload).key(&key))
            .is_err()
        {
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in [
        ("bootstrap.servers", servers),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("check.crcs", "true"),
        ("fetch.queue.backoff.ms", "10"),
        ("queued.max.messages.kbytes", "16384"),
    ] {
        config.set(name, value);
    }
    config.set("group.id", format!("cost-{}", fastrand::u64(..)));
    config
}

fn batch(servers: &str, topic: &str, count: u64) {
    let native = config(servers).create_native_config().unwrap();
    // SAFETY: everything lives to the end of the process, and each message is destroyed once.
    unsafe {
        let client = c::rd_kafka_new(
            c::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            std::mem::ManuallyDrop::new(native).ptr(),
            null_mut(),
            0,
        );
        c::rd_kafka_poll_set_consumer(client);
        let topics = c::rd_kafka_topic_partition_list_new(1);
        let topic = CString::new(topic).unwrap();
        c::rd_kafka_topic_partition_list_add(topics, topic.as_ptr(), -1);
        c::rd_kafka_subscribe(client, topics);
        let queue = c::rd_kafka_queue_get_consumer(client);
        let mut messages = [null_mut::<c::rd_kafka_message_t>(); 512];
        let mut left = count;
        while left > 0 {
            let taken = c::rd_kafka_consume_batch_queue(queue, 100, messages.as_mut_ptr(), 512);
            for message in &messages[..usize::try_from(taken).unwrap()] {
                left = left.saturating_sub(u64::from((**message).len > 0));
                c::rd_kafka_message_destroy(*message);
            }
        }
    }
}

fn source(servers: &str, topic: &str, count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
        let binder = KafkaBinder::open(options).unwrap();
        let mut source = binder
            .subscribe(SourceSpec {
                partitions: None,
                subscription: "cost".into(),
                group: Some(format!("cost-{}", fastrand::u64(..)).into()),
                inputs: vec![SourceInput {
                    destination: topic.into(),
                    retry: None,
                }],
                start: Start::Earliest,
                max_batch_bytes: 512 * 1024,
                commit_interval: Duration::from_secs(1),
                commit_every: 100_000,
                revoke_timeout: Duration::from_secs(5),
                guarantee: tidings_core::Guarantee::AtLeastOnce,
            })
            .await
            .unwrap();
        let mut left = count;
        while left > 0 {
            if let SourceEvent::Batch(batch) = source.next().await.unwrap() {
                left = left.saturating_sub(batch.len() as u64);
                source.progress(
                    batch.lane(),
                    batch.epoch(),
                    tidings_core::Progress {
                        watermark: batch.next(),
                        ..Default::default()
                    },
                );
            }
        }
    });
}
