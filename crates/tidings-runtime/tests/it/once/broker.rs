//! A broker with transactions, of a few hundred lines: what is published into one is seen by readers when it is
//! committed, together with the progress of its group, or never.

use super::source::TxSource;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidings_core::*;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub(crate) type Partition = (String, u32);

/// Whether an entry is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Committed,
    Open(u64),
    Aborted,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    pub(crate) seen: Seen,
}

/// The transaction of the one member.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: u64,
    /// The broker gives it up then.
    pub(crate) until: Instant,
    /// Publishes that were not answered.
    pub(crate) pending: usize,
    /// A publish failed: it can't be committed.
    pub(crate) broken: bool,
}

/// What happens to commits and publishes, each with a chance in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) publish_lost: u32,
    pub(crate) publish_refused: u32,
    pub(crate) commit_refused: u32,
    pub(crate) commit_unanswered: u32,
    pub(crate) commit_done_and_denied: u32,
    pub(crate) late: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Vec<Vec<Entry>>>,
    pub(crate) stored: HashMap<Partition, Progress>,
    pub(crate) open: Option<Open>,
    pub(crate) transactions: u64,
    pub(crate) epochs: u64,
    /// Of the member that may publish and commit; a newer one fences the older ones.
    pub(crate) member: u64,
    /// Between giving a transaction up and assigning the lanes again nothing is taken.
    pub(crate) accepting: bool,
    pub(crate) faults: Faults,
    /// The member's transaction is to be given up by the source itself.
    pub(crate) disturbed: bool,
    pub(crate) revoke: Vec<(Vec<u32>, Duration)>,
    pub(crate) commits: u64,
    pub(crate) aborts: u64,
    pub(crate) timeouts: u64,
    pub(crate) ranges: usize,
    /// How long each commit takes; none is by chance.
    pub(crate) commit_takes: Option<Duration>,
    pub(crate) timeout: Duration,
    /// Destinations that refuse messages for good.
    pub(crate) forbidden: Vec<String>,
    /// Resolves when what was published last is appended: the next one is appended behind it.
    last: Option<oneshot::Receiver<()>>,
}

#[derive(Debug, Clone)]
pub(crate) struct TxBroker {
    state: Arc<Mutex<State>>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) partitions: u32,
}

impl TxBroker {
    pub(crate) fn new(partitions: u32) -> Self {
        let state = State {
            ranges: 8,
            timeout: Duration::from_secs(60),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
            partitions,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }

    fn append(&self, destination: &str, partition: u32, message: Message, seen: Seen) -> u64 {
        let mut state = self.lock();
        let topic = state
            .topics
            .entry(destination.to_owned())
            .or_insert_with(|| vec![Vec::new(); self.partitions as usize]);
        let log = &mut topic[partition as usize];
        log.push(Entry { message, seen });
        let offset = log.len() as u64 - 1;
        drop(state);
        self.changed.notify_waiters();
        offset
    }

    /// Published by somebody else, without a transaction.
    pub(crate) fn put(&self, destination: &str, partition: u32, message: Message) -> u64 {
        self.append(destination, partition, message, Seen::Committed)
    }

    /// What a reader of what is committed sees: nothing beyond the first open transaction of a partition.
    pub(crate) fn committed(&self, destination: &str) -> Vec<Message> {
        let state = self.lock();
        let Some(topic) = state.topics.get(destination) else {
            return Vec::new();
        };
        let seen = topic.iter().flat_map(|log| {
            log.iter()
                .take_while(|entry| !matches!(entry.seen, Seen::Open(_)))
                .filter(|entry| entry.seen == Seen::Committed)
        });
        seen.map(|entry| entry.message.clone()).collect()
    }

    /// Everything, seen or not.
    pub(crate) fn count(&self, destination: &str) -> usize {
        let state = self.lock();
        state
            .topics
            .get(destination)
            .map_or(0, |topic| topic.iter().map(Vec::len).sum())
    }

    /// Whether the group has finished everything in a destination.
    pub(crate) fn is_finished(&self, destination: &str) -> bool {
        let state = self.lock();
        let Some(topic) = state.topics.get(destination) else {
            return true;
        };
        (0..).zip(topic).all(|(partition, log)| {
            let stored = state.stored.get(&(destination.to_owned(), partition));
            let watermark = stored.map_or(0, |progress| progress.watermark);
            let mut rest = (0..).zip(log).filter(|(offset, _)| *offset >= watermark);
            rest.all(|(_, entry)| entry.seen == Seen::Aborted)
        })
    }

    pub(crate) fn stored(&self, destination: &str, partition: u32) -> Progress {
        let state = self.lock();
        let stored = state.stored.get(&(destination.to_owned(), partition));
        stored.cloned().unwrap_or_default()
    }
}

impl State {
    pub(crate) fn chance(&self, in_a_thousand: u32) -> bool {
        fastrand::u32(0..1_000) < in_a_thousand
    }

    /// The transaction that is open, or a new one.
    fn opened(&mut self) -> &mut Open {
        let until = Instant::now() + self.timeout;
        let transactions = &mut self.transactions;
        self.open.get_or_insert_with(|| {
            *transactions += 1;
            Open {
                id: *transactions,
                until,
                pending: 0,
                broken: false,
            }
        })
    }

    /// Ends what is open.
    pub(crate) fn end(&mut self, seen: Seen) {
        let Some(open) = self.open.take() else { return };
        match seen {
            Seen::Committed => self.commits += 1,
            _ => self.aborts += 1,
        }
        for log in self.topics.values_mut().flatten() {
            for entry in log.iter_mut().filter(|entry| entry.seen == Seen::Open(open.id)) {
                entry.seen = seen;
            }
        }
    }
}

/// Where a member's effects go.
#[derive(Debug)]
pub(crate) struct TxSink {
    pub(crate) broker: TxBroker,
    pub(crate) member: u64,
}

/// What becomes of a publish.
struct Accepted {
    transaction: u64,
    /// It is kept, and the answer is lost.
    lost: bool,
    append: Duration,
    acknowledge: Duration,
}

impl TxSink {
    fn accept(&self, outgoing: &Outgoing) -> Result<Accepted, PublishError> {
        let destination = outgoing.destination.clone();
        let mut state = self.broker.lock();
        let away = |reason: &str| PublishError::Unavailable {
            destination: destination.clone(),
            reason: reason.to_owned(),
        };
        if state.member != self.member || !state.accepting {
            return Err(away("no transaction is open"));
        }
        if state.forbidden.iter().any(|name| **name == *destination) {
            let reason = "as the test says".to_owned();
            return Err(PublishError::Unauthorized { destination, reason });
        }
        let faults = state.faults;
        let (refused, lost) = (
            state.chance(faults.publish_refused),
            state.chance(faults.publish_lost),
        );
        let open = state.opened();
        if refused {
            open.broken = true;
            return Err(away("as the test says"));
        }
        open.pending += 1;
        let transaction = open.id;
        let random = |most| Duration::from_millis(fastrand::u64(0..most));
        let late = faults.late && fastrand::u8(0..3) == 0;
        let quick = fastrand::bool();
        Ok(Accepted {
            transaction,
            lost,
            append: if late { random(30) } else { Duration::ZERO },
            acknowledge: if late || !quick { random(8) } else { Duration::ZERO },
        })
    }

    fn carry_out(
        broker: &TxBroker,
        outgoing: Outgoing,
        accepted: &Accepted,
    ) -> Result<Position, PublishError> {
        let destination = outgoing.destination.clone();
        let key = outgoing.message.key();
        let by_key = key.map_or(0, |key| partition_for_key(key, broker.partitions));
        let partition = outgoing.partition.unwrap_or(by_key);
        let still_open = broker
            .lock()
            .open
            .as_ref()
            .is_some_and(|open| open.id == accepted.transaction);
        let appended = still_open.then(|| {
            let seen = Seen::Open(accepted.transaction);
            broker.append(&destination, partition, outgoing.message, seen)
        });
        broker.edit(|state| {
            if let Some(open) = state.open.as_mut().filter(|open| open.id == accepted.transaction) {
                open.pending -= 1;
            }
        });
        match appended.filter(|_| !accepted.lost) {
            Some(offset) => Ok(Position::new(destination, partition, offset)),
            None => Err(PublishError::Timeout {
                destination,
                after: Duration::from_secs(1),
            }),
        }
    }
}

impl Sink for TxSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let accepted = match self.accept(&outgoing) {
            Ok(accepted) => accepted,
            Err(error) => return Receipt::failed(error),
        };
        let before = self.broker.lock().last.take();
        let before = before.and_then(|mut before| match before.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => Some(before),
            _ => None,
        });
        if before.is_none() && accepted.append.is_zero() && accepted.acknowledge.is_zero() {
            return Receipt::ready(Self::carry_out(&self.broker, outgoing, &accepted));
        }
        let (sender, receipt) = Receipt::pair();
        let broker = self.broker.clone();
        let (appended, behind) = oneshot::channel();
        broker.lock().last = Some(behind);
        // Whoever waits or not: it is under way.
        tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            tokio::time::sleep(accepted.append).await;
            let result = Self::carry_out(&broker, outgoing, &accepted);
            let _ = appended.send(());
            tokio::time::sleep(accepted.acknowledge).await;
            sender.resolve(result);
        });
        receipt
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async { Ok(()) })
    }
}

/// The way past the transaction: everything that goes there is seen at once.
#[derive(Debug)]
struct Outside(TxBroker);

impl Sink for Outside {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let offset = self
            .0
            .put(&format!("outside.{}", outgoing.destination), 0, outgoing.message);
        Receipt::ready(Ok(Position::new(outgoing.destination, 0, offset)))
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Binder for TxBroker {
    type Source = TxSource;

    fn kind(&self) -> &'static str {
        "transactional"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::NONE;
        can.transactions = true;
        can
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(Outside(self.clone()))
    }

    async fn prepare(&self, destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        Ok(DestinationInfo {
            name: destination.name,
            partitions: self.partitions,
        })
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<TxSource, BinderError> {
        assert_eq!(spec.guarantee, Guarantee::ExactlyOnce);
        Ok(TxSource::join(self, &spec))
    }

    async fn positions(&self, _: &str, _: Option<&str>) -> Result<Vec<PartitionPosition>, BinderError> {
        Ok(Vec::new())
    }

    async fn store_progress(&self, _: &str, _: u32, _: &str, _: Progress) -> Result<(), BinderError> {
        Ok(())
    }

    async fn read(&self, _: &str, _: u32, from: u64, _: usize) -> Result<RecordBatch, BinderError> {
        Ok(RecordBatch::from_messages(LaneId(0), Epoch(0), from, &[]))
    }

    async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        Ok(Vec::new())
    }

    fn health(&self) -> BinderHealth {
        BinderHealth::Up
    }

    async fn close(&self) -> Result<(), BinderError> {
        Ok(())
    }
}
