//! What the calls of publishing and the thread of reports share.

use super::context::SinkContext;
use super::gate::Gate;
use super::native::Producer;
use super::publishing::{Publishing, Waiting, Wondering};
use super::refusal::{Circumstances, no_room, refusal};
use super::settings::Settings;
use super::table::{Answers, Table};
use super::transacting::{Use, no_transaction};
use crate::client::{ClientState, Context, Topics};
use crate::error::KafkaError;
use crate::options::{ClientOptions, WhenFull};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::{Outgoing, PublishError, Receipt, ReceiptBlock, Timestamp};

/// The lock is given back after this many messages of one call: others publish too.
const TURN: usize = 256;

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) state: Arc<ClientState>,
    pub(super) topics: Arc<Topics>,
    pub(super) table: Arc<Table>,
    publishing: Mutex<Publishing>,
    /// Whether anything waits for room or for a count of partitions: what the thread of reports looks at.
    pub(super) work: AtomicBool,
    refuses: AtomicBool,
    pub(super) stopped: AtomicBool,
    /// The thread of reports is to go on with another producer.
    pub(super) replaced: AtomicBool,
    /// A message of the transaction was not kept, or perhaps not.
    pub(super) doubt: AtomicBool,
    pub(super) purpose: Use,
}

impl Shared {
    pub(super) fn new(
        options: &ClientOptions,
        state: Arc<ClientState>,
        topics: Arc<Topics>,
    ) -> Result<Self, KafkaError> {
        let settings = Settings::new(options);
        Self::with(settings, Gate::Free, state, topics, Use::Subscription)
    }

    /// With transactions under that id; the gate is shut.
    pub(super) fn transactional(
        options: &ClientOptions,
        id: &str,
        state: Arc<ClientState>,
        topics: Arc<Topics>,
        purpose: Use,
    ) -> Result<Self, KafkaError> {
        let settings = Settings::transactional(options, id);
        Self::with(settings, Gate::Shut, state, topics, purpose)
    }

    fn with(
        settings: Settings,
        gate: Gate,
        state: Arc<ClientState>,
        topics: Arc<Topics>,
        purpose: Use,
    ) -> Result<Self, KafkaError> {
        let table = Arc::new(Table::default());
        let producer = new_producer(&settings, &state, &table)?;
        Ok(Self {
            settings,
            state,
            topics,
            table,
            publishing: Mutex::new(Publishing::new(producer, gate)),
            work: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            doubt: AtomicBool::new(false),
            purpose,
        })
    }

    /// A producer like the one before.
    pub(super) fn another_producer(&self) -> Result<Arc<Producer>, KafkaError> {
        new_producer(&self.settings, &self.state, &self.table)
    }

    pub(super) fn publishing(&self) -> MutexGuard<'_, Publishing> {
        // Where a panic could leave it half changed, nothing panics.
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, outgoing: &Outgoing) -> Receipt {
        self.publish_in(None, outgoing)
    }

    pub(super) fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        self.publish_all_in(None, outgoing)
    }

    /// Publishes in a turn of transactions, or without any.
    pub(super) fn publish_in(&self, turn: Option<u64>, outgoing: &Outgoing) -> Receipt {
        self.publish_one(&mut self.publishing(), turn, outgoing)
    }

    pub(super) fn publish_all_in(&self, turn: Option<u64>, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let mut receipts = Vec::with_capacity(outgoing.len());
        let mut outgoing = outgoing.into_iter().peekable();
        while outgoing.peek().is_some() {
            let mut publishing = self.publishing();
            let some = outgoing.by_ref().take(TURN);
            receipts.extend(some.map(|one| self.publish_one(&mut publishing, turn, &one)));
        }
        receipts
    }

    fn publish_one(&self, publishing: &mut Publishing, turn: Option<u64>, outgoing: &Outgoing) -> Receipt {
        if let Err(refused) = enter(publishing, turn, &outgoing.destination) {
            return Receipt::failed(refused);
        }
        self.try_publish(publishing, outgoing).unwrap_or_else(|refused| {
            self.note_refusal(&refused);
            Receipt::failed(refused)
        })
    }

    /// A message that is refused although it is not at fault is missing in its transaction.
    pub(super) fn note_refusal(&self, refused: &PublishError) {
        if self.purpose == Use::Single || !refused.is_permanent() {
            self.doubt.store(true, Ordering::Release);
        }
    }

    /// The receipt of a message that was taken, or why it was not.
    fn try_publish(&self, publishing: &mut Publishing, outgoing: &Outgoing) -> Result<Receipt, PublishError> {
        let Outgoing {
            destination,
            partition,
            message,
            due,
        } = outgoing;
        self.check(*due)?;
        let waits = !publishing.waiting.is_empty();
        let transactional = publishing.gate != Gate::Free;
        let number = publishing.number(&self.table);
        let Some(target) = publishing.target(destination, &self.topics) else {
            let destination = destination.clone();
            return Err(PublishError::UnknownDestination { destination });
        };
        let limit = target.facts.max_message_bytes();
        self.settings.check_size(message, destination, limit)?;
        // Who comes later stays behind those that wait.
        let sent = if waits {
            Err(Code::QueueFull)
        } else {
            let to = target.partition(*partition, message.key().is_some());
            target.topic.send(message, to, number)
        };
        match sent {
            Ok(()) => {}
            Err(Code::Fatal | Code::State) if transactional => {
                return Err(no_transaction(destination.clone()));
            }
            // After a fatal error a new producer takes the messages that wait.
            Err(Code::QueueFull | Code::Fatal) => self.wait_for_room(
                publishing,
                Waiting {
                    destination: destination.clone(),
                    partition: *partition,
                    message: message.clone(),
                    number,
                },
            )?,
            Err(Code::UnknownPartition) if target.facts.partitions().is_none() => {
                self.wonder(publishing, destination, *partition, number);
            }
            Err(code) => {
                let facts = target.facts.clone();
                let partition = partition.and_then(|partition| i32::try_from(partition).ok());
                let of = self.circumstances(destination, &facts, partition.unwrap_or(-1), message.size());
                return Err(refusal(code, &of));
            }
        }
        Ok(publishing.receipt(destination.clone()))
    }

    fn check(&self, due: Option<Timestamp>) -> Result<(), PublishError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(PublishError::Closed);
        }
        if due.is_some_and(|due| due > Timestamp::now()) {
            return Err(PublishError::Unsupported {
                broker: "kafka",
                feature: "publishing for later",
                cure: "publish now, or let the handler answer `Failure::later`; the embedded broker and RabbitMQ can",
            });
        }
        Ok(())
    }

    fn wait_for_room(&self, publishing: &mut Publishing, waiting: Waiting) -> Result<(), PublishError> {
        let bytes = waiting.bytes();
        let max = match self.settings.when_full {
            WhenFull::Wait { max_bytes } => max_bytes,
            WhenFull::Refuse => 0,
        };
        if publishing.waiting_bytes + bytes > max {
            return Err(no_room(waiting.destination));
        }
        publishing.waiting_bytes += bytes;
        publishing.waiting.push_back(waiting);
        self.wake_poller(publishing);
        Ok(())
    }

    fn wonder(
        &self,
        publishing: &mut Publishing,
        destination: &Arc<str>,
        partition: Option<u32>,
        number: usize,
    ) {
        publishing.wondering.push(Wondering {
            destination: destination.clone(),
            partition: partition.unwrap_or(0),
            number,
        });
        self.wake_poller(publishing);
    }

    fn wake_poller(&self, publishing: &Publishing) {
        if !self.work.swap(true, Ordering::AcqRel) {
            publishing.producer.interrupt();
        }
    }

    /// Sends what waits for room, as far as there is any.
    pub(super) fn send_waiting(&self, publishing: &mut Publishing, answers: &mut Answers<'_>) {
        while let Some(waiting) = publishing.waiting.pop_front() {
            let bytes = waiting.bytes();
            let sent = match publishing.target(&waiting.destination, &self.topics) {
                Some(target) => {
                    let to = target.partition(waiting.partition, waiting.message.key().is_some());
                    target.topic.send(&waiting.message, to, waiting.number)
                }
                None => Err(Code::InvalidTopic),
            };
            if let Err(code @ (Code::QueueFull | Code::Fatal)) = sent {
                tracing::trace!(?code, "messages wait for room");
                publishing.waiting.push_front(waiting);
                return;
            }
            publishing.waiting_bytes -= bytes;
            if let Err(code) = sent {
                let facts = self.topics.of(&waiting.destination);
                let partition = waiting
                    .partition
                    .and_then(|partition| i32::try_from(partition).ok());
                let size = waiting.message.size();
                let of = self.circumstances(&waiting.destination, &facts, partition.unwrap_or(-1), size);
                let refused = refusal(code, &of);
                self.note_refusal(&refused);
                answers.refused(waiting.number, refused);
            }
        }
    }

    pub(super) fn circumstances<'a>(
        &self,
        topic: &'a str,
        facts: &'a crate::client::TopicFacts,
        partition: i32,
        size: usize,
    ) -> Circumstances<'a> {
        Circumstances {
            topic,
            facts,
            partition,
            size,
            limit: self.settings.limit,
            timeout: self.settings.timeout,
            cause: self.state.cause(),
            fatal: None,
            surely_not_kept: true,
        }
    }

    /// Ends the block that is being filled, and gives all that are under way.
    pub(super) fn end_block(&self) -> Vec<Arc<ReceiptBlock>> {
        let mut publishing = self.publishing();
        let ended = publishing.end_block();
        let under_way = self.table.under_way();
        drop(publishing);
        if let Some((index, block)) = ended.filter(|(_, block)| block.is_whole()) {
            block.wake();
            self.table.release(index, &block);
        }
        under_way
    }

    /// Takes nothing more.
    pub(super) fn refuse_more(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// Ends the thread of reports; what is under way is given up.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.publishing().producer.interrupt();
    }
}

/// Lets a message into the transaction, which it begins if it is the first.
fn enter(publishing: &mut Publishing, turn: Option<u64>, destination: &Arc<str>) -> Result<(), PublishError> {
    match publishing.gate {
        Gate::Free => Ok(()),
        Gate::Open if turn == Some(publishing.turn) => Ok(()),
        Gate::Ready if turn == Some(publishing.turn) => {
            let begun = publishing.producer.begin();
            begun.map_err(|failed| PublishError::Unavailable {
                destination: destination.clone(),
                reason: format!("no transaction can be begun: {failed}"),
            })?;
            publishing.gate = Gate::Open;
            publishing.begun = true;
            Ok(())
        }
        _ => Err(no_transaction(destination.clone())),
    }
}

impl Waiting {
    /// What it costs to keep it.
    fn bytes(&self) -> usize {
        self.message.size() + size_of::<Self>()
    }
}

fn new_producer(
    settings: &Settings,
    state: &Arc<ClientState>,
    table: &Arc<Table>,
) -> Result<Arc<Producer>, KafkaError> {
    let context = SinkContext {
        common: Context::new(state.clone()),
        table: table.clone(),
    };
    Producer::new(&settings.config, context)
}
