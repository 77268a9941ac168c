//! The thread that takes librdkafka's reports and answers receipts.
//!
//! A thread and not a task: a receipt must resolve also while a runtime is busy or gone, and librdkafka's events
//! (errors, tokens, log lines) must be served always. It sleeps in librdkafka's queue and costs nothing while idle.

use super::gate::Gate;
use super::native::{Delivery, Producer, Served};
use super::refusal::{Circumstances, given_up, refusal};
use super::shared::Shared;
use super::table::Answers;
use crate::background::Held;
use crate::client::{Kind, kind};
use crate::error::KafkaError;
use crate::trouble::Fault;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidings_core::PublishError;

/// How long it sleeps if nothing happens.
const NAP: Duration = Duration::from_millis(500);
/// How often it is looked whether a broker that was away is back.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long a look at the broker may take: nothing is reported meanwhile, and nothing is to be, with all brokers away.
const PROBE_TIME: Duration = Duration::from_millis(300);
/// How long librdkafka may take to report on what was given up.
const GIVING_UP: Duration = Duration::from_secs(5);

/// How long nothing is tried after this user was denied a producer, doubled up to the second.
const FIRST_DENIED_WAIT: Duration = Duration::from_secs(1);
const LONGEST_DENIED_WAIT: Duration = Duration::from_secs(30);

impl Denied {
    fn refusal(&self, destination: Arc<str>) -> PublishError {
        PublishError::Unauthorized {
            destination,
            reason: self.reason.clone(),
        }
    }
}

/// Starts the thread. It ends when the sink is stopped, and is not waited for.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(), KafkaError> {
    let poller = Poller {
        producer: shared.publishing().producer.clone(),
        shared: shared.clone(),
        probed: Instant::now(),
        denied: None,
        denied_wait: FIRST_DENIED_WAIT,
    };
    std::thread::Builder::new()
        .name("tidings-kafka-receipts".to_owned())
        .spawn(move || poller.run())
        .map(|_| ())
        .map_err(|error| KafkaError::Client {
            role: "producer",
            reason: format!("no thread for its reports: {error}"),
        })
}

struct Poller {
    shared: Arc<Shared>,
    producer: Arc<Producer>,
    probed: Instant,
    /// While this user may not publish at all.
    denied: Option<Denied>,
    denied_wait: Duration,
}

/// Why a user may not publish at all, and when that is tried again.
struct Denied {
    reason: String,
    until: Instant,
}

impl Poller {
    fn run(mut self) {
        while !self.shared.stopped.load(Ordering::Acquire) {
            let nap = if self.shared.state.is_down() {
                PROBE_EVERY.min(NAP)
            } else {
                NAP
            };
            self.serve(nap);
            self.follow();
            self.do_work();
            self.probe();
            if let Some(fault) = self.producer.fatal() {
                self.on_fatal(&fault);
            }
        }
        self.end();
    }

    /// Goes on with another producer of transactions, if there is one. What the one before has taken is answered first.
    fn follow(&mut self) {
        if !self.shared.replaced.swap(false, Ordering::AcqRel) {
            return;
        }
        self.give_up();
        let producer = self.shared.publishing().producer.clone();
        drop(Held::new(std::mem::replace(&mut self.producer, producer)));
    }

    /// Takes one event, and answers the receipts of its reports.
    fn serve(&mut self, nap: Duration) -> Served {
        let mut answers = Answers::new(&self.shared.table);
        let mut kept = false;
        let served = self.producer.serve(nap, |delivery| match delivery.result {
            Ok(offset) => {
                kept = true;
                let partition = u32::try_from(delivery.partition).unwrap_or(0);
                answers.kept(delivery.number, partition, u64::try_from(offset).unwrap_or(0));
            }
            Err(code) => {
                self.doubt();
                answers.refused(delivery.number, self.refusal(code, &delivery));
            }
        });
        // Before anybody learns of it: who has a receipt and asks for the health is told the same.
        if kept {
            self.shared.state.works();
            self.denied_wait = FIRST_DENIED_WAIT;
        }
        drop(answers);
        served
    }

    /// A message is not in the transaction that is open, or perhaps not. What a producer of before answers is none of it.
    fn doubt(&self) {
        if Arc::ptr_eq(&self.shared.publishing().producer, &self.producer) {
            self.shared.doubt.store(true, Ordering::Release);
        }
    }

    fn refusal(&self, code: rdkafka::error::RDKafkaErrorCode, delivery: &Delivery<'_>) -> PublishError {
        if let Some(denied) = &self.denied {
            return denied.refusal(delivery.topic.into());
        }
        let facts = self.shared.topics.of(delivery.topic);
        let unknown = code == rdkafka::error::RDKafkaErrorCode::UnknownPartition;
        if unknown && facts.partitions().is_none() {
            self.learn_partitions(delivery.topic);
        }
        let of = Circumstances {
            limit: self.shared.settings.limit,
            timeout: self.shared.settings.timeout,
            cause: self.shared.state.cause(),
            fatal: self.producer.fatal(),
            ..Circumstances::of(delivery, &facts)
        };
        refusal(code, &of)
    }

    fn learn_partitions(&self, topic: &str) {
        if let Ok(Some(count)) = self.producer.partitions(topic, PROBE_TIME) {
            self.shared.topics.of(topic).has_partitions(count);
        }
    }

    /// Messages that wait for room, and those for a partition that there is not.
    fn do_work(&self) {
        if !self.shared.work.swap(false, Ordering::AcqRel) {
            return;
        }
        let wondering = std::mem::take(&mut self.shared.publishing().wondering);
        let mut answers = Answers::new(&self.shared.table);
        for one in wondering {
            self.learn_partitions(&one.destination);
            let partitions = self.shared.topics.of(&one.destination).partitions();
            let error = PublishError::UnknownPartition {
                destination: one.destination,
                partition: one.partition,
                partitions: partitions.unwrap_or(0),
            };
            self.shared.note_refusal(&error);
            answers.refused(one.number, error);
        }
        let mut publishing = self.shared.publishing();
        if let Some(denied) = &self.denied {
            publishing.waiting_bytes = 0;
            for waiting in publishing.waiting.drain(..) {
                answers.refused(waiting.number, denied.refusal(waiting.destination));
            }
            return;
        }
        self.shared.send_waiting(&mut publishing, &mut answers);
        if !publishing.waiting.is_empty() {
            // There is room after the next report.
            self.shared.work.store(true, Ordering::Release);
        }
    }

    /// A client with nothing to do is told of errors and not of their end: so it asks.
    fn probe(&mut self) {
        if self.shared.state.is_down() && self.probed.elapsed() >= PROBE_EVERY {
            if self.producer.reaches_a_broker(PROBE_TIME) {
                self.shared.state.works();
            }
            self.probed = Instant::now();
        }
    }

    /// A user without the right to publish anywhere gets no producer at all. One who only reads never notices; what is
    /// published is refused, and it is tried again with waits that grow, since rights are given while services run.
    fn on_fatal(&mut self, fault: &Fault) {
        if self.shared.publishing().gate != Gate::Free {
            // Who commits and gives up is told by the next of its calls, and makes another producer.
            self.give_up();
            return;
        }
        let tries_again = self
            .denied
            .take_if(|denied| denied.until <= Instant::now())
            .is_some();
        match (&self.denied, kind(fault.code, &fault.reason)) {
            (Some(_), _) => {}
            (None, Kind::Denied) if !tries_again => {
                tracing::debug!(%fault, "the broker denies this user a producer");
                self.denied = Some(Denied {
                    reason: fault.to_string(),
                    until: Instant::now() + self.denied_wait,
                });
                self.denied_wait = (self.denied_wait * 2).min(LONGEST_DENIED_WAIT);
                self.give_up();
                self.shared.work.store(true, Ordering::Release);
                self.do_work();
            }
            _ => self.rebuild(fault),
        }
    }

    /// Answers everything that librdkafka has taken.
    fn give_up(&mut self) {
        self.producer.give_up();
        let deadline = Instant::now() + GIVING_UP;
        while self.producer.under_way() > 0 && Instant::now() < deadline {
            self.serve(Duration::from_millis(10));
        }
    }

    /// After a fatal error librdkafka's producer takes nothing more. Everything under way is answered first, so that a
    /// message that is published again comes before those that wait; then another producer goes on.
    fn rebuild(&mut self, fault: &Fault) {
        if kind(fault.code, &fault.reason) != Kind::Denied {
            tracing::warn!("the Kafka producer cannot go on and is made anew: {fault}");
        }
        self.give_up();
        match self.shared.another_producer() {
            Ok(producer) => {
                let mut publishing = self.shared.publishing();
                publishing.replace(producer.clone());
                self.shared.work.store(true, Ordering::Release);
                drop(publishing);
                // Not while others wait for that lock to publish, or for this thread to answer them.
                drop(Held::new(std::mem::replace(&mut self.producer, producer)));
                self.do_work();
            }
            Err(error) => {
                tracing::error!("no new Kafka producer can be made, tried again in a second: {error}");
                std::thread::sleep(PROBE_EVERY);
            }
        }
    }

    /// Answers everything that is left.
    fn end(&mut self) {
        self.give_up();
        let mut answers = Answers::new(&self.shared.table);
        let mut publishing = self.shared.publishing();
        publishing.waiting_bytes = 0;
        for waiting in publishing.waiting.drain(..) {
            answers.refused(waiting.number, given_up(&waiting.destination));
        }
    }
}
