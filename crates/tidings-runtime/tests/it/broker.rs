//! A broker of a few lines: enough to drive the engine, and to do to it what real brokers do on bad days.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tokio::sync::Notify;
use tokio::time::Instant;

type LaneKey = (String, u32);

#[derive(Debug, Default)]
struct Inner {
    topics: BTreeMap<String, Vec<Vec<Message>>>,
    stored: HashMap<LaneKey, Progress>,
    /// How many of the next publishes to a destination are refused.
    refuse: HashMap<String, usize>,
    events: VecDeque<SourceEvent>,
    epochs: u64,
    members: usize,
    most_ahead: u64,
    ack_delay: HashMap<String, Duration>,
    refuse_for_good: HashMap<String, u64>,
    stuck_commit: bool,
    late: bool,
    stuck_subscribe: bool,
    acks: VecDeque<Option<Duration>>,
    deaths: HashMap<LaneKey, Vec<Deaths>>,
    board: Option<Arc<MarkBoard>>,
    /// What was marked while each message was given to the broker, by destination.
    marked: Vec<(Arc<str>, Vec<Marked>)>,
    batch: Option<usize>,
    asked: usize,
    releases: usize,
    /// And the clock of the subscription, which began with it.
    longest_hold: Option<(Duration, Clock)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Broker {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
    partitions: u32,
}

impl Broker {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            inner: Arc::default(),
            changed: Arc::default(),
            partitions,
        }
    }

    pub(crate) fn put(&self, destination: &str, partition: u32, message: Message) -> u64 {
        let mut inner = self.inner.lock().unwrap();
        let topic = inner
            .topics
            .entry(destination.to_owned())
            .or_insert_with(|| vec![Vec::new(); self.partitions as usize]);
        topic[partition as usize].push(message);
        let offset = topic[partition as usize].len() as u64 - 1;
        drop(inner);
        self.changed.notify_waiters();
        offset
    }

    pub(crate) fn messages(&self, destination: &str) -> Vec<Message> {
        self.inner
            .lock()
            .unwrap()
            .topics
            .get(destination)
            .cloned()
            .unwrap_or_default()
            .concat()
    }

    pub(crate) fn partition(&self, destination: &str, partition: u32) -> Vec<Message> {
        let inner = self.inner.lock().unwrap();
        inner
            .topics
            .get(destination)
            .map(|topic| topic[partition as usize].clone())
            .unwrap_or_default()
    }

    pub(crate) fn stored(&self, destination: &str, partition: u32) -> Progress {
        self.inner
            .lock()
            .unwrap()
            .stored
            .get(&(destination.to_owned(), partition))
            .cloned()
            .unwrap_or_default()
    }

    /// Whether the group has finished everything in a destination.
    pub(crate) fn is_finished(&self, destination: &str) -> bool {
        let inner = self.inner.lock().unwrap();
        let Some(topic) = inner.topics.get(destination) else {
            return true;
        };
        (0..).zip(topic).all(|(partition, messages)| {
            let stored = inner.stored.get(&(destination.to_owned(), partition));
            stored.map_or(0, |progress| progress.watermark) == messages.len() as u64
        })
    }

    /// The next publishes to a destination are refused for now.
    pub(crate) fn refuse(&self, destination: &str, times: usize) {
        self.inner
            .lock()
            .unwrap()
            .refuse
            .insert(destination.to_owned(), times);
    }

    /// The most records of a lane that were handed out beyond its watermark.
    pub(crate) fn most_ahead(&self) -> u64 {
        self.inner.lock().unwrap().most_ahead
    }

    /// Batches have so many messages.
    pub(crate) fn batches_of(&self, messages: usize) {
        self.inner.lock().unwrap().batch = Some(messages);
    }

    /// How often sources were asked.
    pub(crate) fn asked(&self) -> usize {
        self.inner.lock().unwrap().asked
    }

    /// How often lanes were released.
    pub(crate) fn releases(&self) -> usize {
        self.inner.lock().unwrap().releases
    }

    /// Asks for the lanes with these numbers.
    pub(crate) fn revoke(&self, lanes: &[u32], within: Duration) {
        let lanes = lanes.iter().map(|lane| LaneId(*lane)).collect();
        let event = SourceEvent::Revoking {
            lanes,
            deadline: Instant::now() + within,
        };
        self.inner.lock().unwrap().events.push_back(event);
        self.changed.notify_waiters();
    }

    /// Reports something of which the broker knows nothing.
    pub(crate) fn report(&self, event: SourceEvent) {
        self.inner.lock().unwrap().events.push_back(event);
        self.changed.notify_waiters();
    }

    /// Publishes to a destination are appended and acknowledged after that time.
    pub(crate) fn ack_after(&self, destination: &str, wait: Duration) {
        self.inner
            .lock()
            .unwrap()
            .ack_delay
            .insert(destination.to_owned(), wait);
    }

    /// Publishes to a destination are refused for good.
    pub(crate) fn refuse_for_good(&self, destination: &str) {
        self.inner
            .lock()
            .unwrap()
            .refuse_for_good
            .insert(destination.to_owned(), 0);
    }

    /// How many publishes to it were refused.
    pub(crate) fn refused_for_good(&self, destination: &str) -> u64 {
        self.inner.lock().unwrap().refuse_for_good[destination]
    }
    /// What becomes of the next publishes to the retry destination: appended and acknowledged after that time, or refused.
    /// What is to wait leaves its queue, and comes back to its end after half of its time.
    pub(crate) fn holds_no_longer_than(&self, longest: Duration) {
        self.inner.lock().unwrap().longest_hold = Some((longest, Clock::virtual_from_now()));
    }

    /// When a message that is to wait comes back; none where it waits in its place.
    fn comes_back(&self, message: &Message) -> Option<Instant> {
        let (_, clock) = self.inner.lock().unwrap().longest_hold?;
        let due = message.headers().get_str(names::DUE)?.parse().unwrap();
        let wait = Timestamp::from_millis(due).since(clock.now());
        Some(Instant::now() + wait / 2)
    }

    pub(crate) fn next_parkings(&self, acks: impl IntoIterator<Item = Option<Duration>>) {
        self.inner.lock().unwrap().acks = acks.into_iter().collect();
    }

    /// Some publishes take their time before and after they are appended, so that those of one moment change places.
    pub(crate) fn appends_late(&self) {
        self.inner.lock().unwrap().late = true;
    }

    /// Joining never ends from now on.
    pub(crate) fn subscribe_hangs(&self) {
        self.inner.lock().unwrap().stuck_subscribe = true;
    }

    /// Storing progress never ends from now on.
    pub(crate) fn commits_hang(&self) {
        self.inner.lock().unwrap().stuck_commit = true;
    }

    /// Progress is as if somebody else had stored it.
    pub(crate) fn store(&self, destination: &str, partition: u32, progress: Progress) {
        self.inner
            .lock()
            .unwrap()
            .stored
            .insert((destination.to_owned(), partition), progress);
    }

    /// Messages are marked on that board, which several brokers may share as if they were one.
    pub(crate) fn mark_on(&self, board: &Arc<MarkBoard>) {
        self.inner.lock().unwrap().board = Some(board.clone());
    }

    /// What was marked while each message was given to the broker, with the message's destination.
    pub(crate) fn marked_at_publish(&self) -> Vec<(Arc<str>, Vec<Marked>)> {
        self.inner.lock().unwrap().marked.clone()
    }

    /// Processes have died of these messages, or beside them.
    pub(crate) fn died(&self, destination: &str, partition: u32, deaths: impl IntoIterator<Item = Deaths>) {
        self.inner
            .lock()
            .unwrap()
            .deaths
            .insert((destination.to_owned(), partition), deaths.into_iter().collect());
    }

    pub(crate) fn lose(&self, lanes: &[u32]) {
        let lanes = lanes.iter().map(|lane| LaneId(*lane)).collect();
        self.inner
            .lock()
            .unwrap()
            .events
            .push_back(SourceEvent::Lost(lanes));
        self.changed.notify_waiters();
    }
}

#[derive(Debug, Clone)]
struct Lane {
    id: LaneId,
    destination: Arc<str>,
    partition: u32,
    role: LaneRole,
    partner: Option<LaneId>,
    epoch: Epoch,
    next: u64,
    watermark: u64,
    paused: bool,
    owned: bool,
    returned: bool,
}

impl Inner {
    fn deaths_of(&self, lane: &Lane) -> Vec<Deaths> {
        let key = (lane.destination.to_string(), lane.partition);
        self.deaths.get(&key).cloned().unwrap_or_default()
    }

    fn marks_of(&self, lane: &Lane) -> Option<LaneMarks> {
        let tag = Some(u64::from(lane.id.0));
        self.board.clone().map(|board| LaneMarks { board, tag })
    }
}

#[derive(Debug)]
pub(crate) struct FakeSource {
    broker: Broker,
    lanes: Vec<Lane>,
    reported: HashMap<LaneKey, Progress>,
    idle_told: bool,
    turn: usize,
}

impl FakeSource {
    fn step(&mut self) -> Option<SourceEvent> {
        let mut inner = self.broker.inner.lock().unwrap();
        if let Some(event) = inner.events.pop_front() {
            if let SourceEvent::Lost(lanes) = &event {
                for lane in lanes {
                    let lane = &mut self.lanes[lane.0 as usize];
                    (lane.owned, lane.returned) = (false, true);
                }
            }
            return Some(event);
        }
        let mut assigned = Vec::new();
        for lane in self.lanes.iter_mut().filter(|lane| lane.returned) {
            inner.epochs += 1;
            let stored = inner
                .stored
                .get(&(lane.destination.to_string(), lane.partition))
                .cloned()
                .unwrap_or_default();
            (lane.owned, lane.returned, lane.paused) = (true, false, false);
            (lane.epoch, lane.next, lane.watermark) =
                (Epoch(inner.epochs), stored.watermark, stored.watermark);
            let end = inner
                .topics
                .get(&*lane.destination)
                .map_or(0, |topic| topic[lane.partition as usize].len() as u64);
            assigned.push(Assignment {
                lane: lane.id,
                epoch: lane.epoch,
                destination: lane.destination.clone(),
                partition: lane.partition,
                role: lane.role,
                partner: lane.partner,
                next: stored.watermark,
                end,
                finished: stored.finished,
                attempts: stored.attempts,
                deaths: inner.deaths_of(lane),
                marks: inner.marks_of(lane),
            });
        }
        if !assigned.is_empty() {
            return Some(SourceEvent::Assigned(assigned));
        }
        let count = self.lanes.len();
        for step in 0..count {
            let lane = &mut self.lanes[(self.turn + step) % count];
            let Some(topic) = inner.topics.get(&*lane.destination) else {
                continue;
            };
            let messages = &topic[lane.partition as usize];
            let from = lane.next as usize;
            if lane.owned && !lane.paused && from < messages.len() {
                let until = messages.len().min(from + inner.batch.unwrap_or(7));
                let batch =
                    RecordBatch::from_messages(lane.id, lane.epoch, lane.next, &messages[from..until]);
                lane.next = until as u64;
                let ahead = lane.next - lane.watermark;
                if lane.role == LaneRole::Main {
                    inner.most_ahead = inner.most_ahead.max(ahead);
                }
                self.turn += 1;
                self.idle_told = false;
                return Some(SourceEvent::Batch(batch));
            }
        }
        if self.idle_told {
            return None;
        }
        self.idle_told = true;
        Some(SourceEvent::Idle)
    }
}

impl Source for FakeSource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        self.broker.inner.lock().unwrap().asked += 1;
        loop {
            let changed = self.broker.changed.clone();
            let changed = changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(event) = self.step() {
                return Ok(event);
            }
            changed.await;
        }
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        let lane = &mut self.lanes[lane.0 as usize];
        if lane.epoch != epoch || !lane.owned {
            return;
        }
        assert!(
            progress.watermark >= lane.watermark,
            "a watermark never goes back"
        );
        lane.watermark = progress.watermark;
        self.reported
            .insert((lane.destination.to_string(), lane.partition), progress);
        // This broker stores at once; a crash loses nothing that was reported.
        let mut inner = self.broker.inner.lock().unwrap();
        inner.stored.extend(self.reported.drain());
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        lanes
            .iter()
            .for_each(|lane| self.lanes[lane.0 as usize].paused = true);
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        lanes
            .iter()
            .for_each(|lane| self.lanes[lane.0 as usize].paused = false);
        self.idle_told = false;
    }

    fn seek(&mut self, lane: LaneId, offset: u64) {
        self.lanes[lane.0 as usize].next = offset;
    }

    async fn commit(&mut self) -> Result<(), SourceError> {
        if self.broker.inner.lock().unwrap().stuck_commit {
            std::future::pending::<()>().await;
        }
        self.broker
            .inner
            .lock()
            .unwrap()
            .stored
            .extend(self.reported.drain());
        Ok(())
    }

    fn release(&mut self, lanes: &[LaneId]) {
        self.broker.inner.lock().unwrap().releases += 1;
        for lane in lanes {
            let lane = &mut self.lanes[lane.0 as usize];
            (lane.owned, lane.returned) = (false, true);
        }
        // The pair comes back together.
        assert!(self.lanes.iter().all(|lane| {
            lane.partner
                .is_none_or(|partner| self.lanes[partner.0 as usize].owned == lane.owned)
        }));
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

#[derive(Debug)]
struct FakeSink(Broker);

/// What becomes of one publish.
enum Fate {
    Refused(PublishError),
    RefusedForGood(PublishError),
    /// Appended after one time, acknowledged after another.
    Kept {
        append: Duration,
        acknowledge: Duration,
    },
}

impl Broker {
    fn fate_of(&self, outgoing: &Outgoing) -> Fate {
        let destination = outgoing.destination.clone();
        let mut inner = self.inner.lock().unwrap();
        let refused = |reason: &str| {
            Fate::Refused(PublishError::Unavailable {
                destination: destination.clone(),
                reason: reason.to_owned(),
            })
        };
        if let Some(left) = inner.refuse.get_mut(&*destination)
            && *left > 0
        {
            *left -= 1;
            return refused("as the test says");
        }
        if let Some(count) = inner.refuse_for_good.get_mut(&*destination) {
            *count += 1;
            let size = outgoing.message.size();
            return Fate::RefusedForGood(PublishError::TooLarge {
                destination,
                size,
                limit: 1,
            });
        }
        if let Some(append) = inner.ack_delay.get(&*destination) {
            return Fate::Kept {
                append: *append,
                acknowledge: Duration::ZERO,
            };
        }
        let planned = if destination.ends_with(".retry") {
            inner.acks.pop_front()
        } else {
            None
        };
        match planned {
            Some(None) => return refused("for a moment"),
            Some(Some(acknowledge)) => {
                return Fate::Kept {
                    append: Duration::ZERO,
                    acknowledge,
                };
            }
            None => {}
        }
        let random = |limit| Duration::from_millis(fastrand::u64(0..limit));
        match (inner.late && fastrand::u8(0..3) == 0, fastrand::bool()) {
            (true, _) => Fate::Kept {
                append: random(40),
                acknowledge: random(20),
            },
            // Some receipts are ready at once, others take their time.
            (false, true) => Fate::Kept {
                append: Duration::ZERO,
                acknowledge: Duration::ZERO,
            },
            (false, false) => Fate::Kept {
                append: Duration::ZERO,
                acknowledge: random(4),
            },
        }
    }
}

impl Broker {
    fn note_marks(&self, destination: &Arc<str>) {
        let mut inner = self.inner.lock().unwrap();
        let Some(board) = &inner.board else { return };
        let marked = board.marked();
        inner.marked.push((destination.clone(), marked));
    }
}

impl Sink for FakeSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.0.note_marks(&outgoing.destination);
        let (append, acknowledge) = match self.0.fate_of(&outgoing) {
            Fate::Refused(error) => return Receipt::failed(error),
            Fate::RefusedForGood(error) => {
                return Receipt::boxed(async move {
                    // As a broker on a network: the answer takes a moment.
                    tokio::task::yield_now().await;
                    Err(error)
                });
            }
            Fate::Kept { append, acknowledge } => (append, acknowledge),
        };
        let Outgoing {
            destination,
            partition,
            message,
            ..
        } = outgoing;
        let key = message
            .key()
            .map_or(0, |key| partition_for_key(key, self.0.partitions));
        let partition = partition.unwrap_or(key);
        let broker = self.0.clone();
        if let Some(back) = self.0.comes_back(&message) {
            let kept = Position::new(destination.clone(), 0, 0);
            tokio::spawn(async move {
                tokio::time::sleep_until(back).await;
                broker.put(&destination, partition, message);
            });
            return Receipt::ready(Ok(kept));
        }
        if append.is_zero() {
            let offset = broker.put(&destination, partition, message);
            let position = Position::new(destination, partition, offset);
            if acknowledge.is_zero() {
                return Receipt::ready(Ok(position));
            }
            let at = Instant::now() + acknowledge;
            return Receipt::boxed(async move {
                tokio::time::sleep_until(at).await;
                Ok(position)
            });
        }
        Receipt::boxed(async move {
            tokio::time::sleep(append).await;
            let offset = broker.put(&destination, partition, message);
            tokio::time::sleep(acknowledge).await;
            Ok(Position::new(destination, partition, offset))
        })
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Binder for Broker {
    type Source = FakeSource;

    fn kind(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::NONE;
        can.longest_hold = self
            .inner
            .lock()
            .unwrap()
            .longest_hold
            .map(|(longest, _)| longest);
        can
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(FakeSink(self.clone()))
    }

    async fn prepare(&self, destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        Ok(DestinationInfo {
            name: destination.name,
            partitions: self.partitions,
        })
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<FakeSource, BinderError> {
        if self.inner.lock().unwrap().stuck_subscribe {
            std::future::pending::<()>().await;
        }
        let mut lanes = Vec::new();
        for input in &spec.inputs {
            for partition in 0..self.partitions {
                let first = lanes.len() as u32;
                let lane = |id: u32, destination: &Arc<str>, role, partner: Option<u32>| Lane {
                    id: LaneId(id),
                    destination: destination.clone(),
                    partition,
                    role,
                    partner: partner.map(LaneId),
                    epoch: Epoch(0),
                    next: 0,
                    watermark: 0,
                    paused: false,
                    owned: false,
                    returned: true,
                };
                let partner = input.retry.as_ref().map(|_| first + 1);
                lanes.push(lane(first, &input.destination, LaneRole::Main, partner));
                if let Some(retry) = &input.retry {
                    lanes.push(lane(first + 1, retry, LaneRole::Retry, Some(first)));
                }
            }
        }
        self.inner.lock().unwrap().members += 1;
        Ok(FakeSource {
            broker: self.clone(),
            lanes,
            reported: HashMap::new(),
            idle_told: false,
            turn: 0,
        })
    }

    async fn positions(&self, _: &str, _: Option<&str>) -> Result<Vec<PartitionPosition>, BinderError> {
        Ok(Vec::new())
    }

    async fn store_progress(
        &self,
        destination: &str,
        partition: u32,
        _: &str,
        progress: Progress,
    ) -> Result<(), BinderError> {
        self.inner
            .lock()
            .unwrap()
            .stored
            .insert((destination.to_owned(), partition), progress);
        Ok(())
    }

    async fn read(
        &self,
        destination: &str,
        partition: u32,
        from: u64,
        _: usize,
    ) -> Result<RecordBatch, BinderError> {
        let messages = self.partition(destination, partition);
        let rest = messages.get(from as usize..).unwrap_or_default();
        Ok(RecordBatch::from_messages(LaneId(0), Epoch(0), from, rest))
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
