//! What reads queues for one subscription: [`RabbitSource`].

mod acks;
mod lane;
mod opening;
mod plan;
mod stream;

use crate::connection::{Late, Link};
use crate::options::ClientOptions;
use crate::topology::{QueueSpec, Topology};
use crate::trouble::Trouble;
use acks::{Above, Ack};
use futures_core::Stream;
use lane::{Lane, Reading};
use lapin::options::BasicAckOptions;
use lapin::types::FieldTable;
use plan::plan;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tidings_core::{BoxFuture, Epoch, LaneId, Progress, Source, SourceError, SourceEvent, SourceSpec};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// The first wait after channels were lost, doubled up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Channels that lasted as long were good ones: the next come at once.
const LASTS: Duration = Duration::from_secs(5);
/// After so long without a message it is asked whether there is none, and not more often than that.
const QUIET: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// What sources of one broker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Arc<ClientOptions>,
    pub(crate) link: Arc<Link>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) closed: AtomicBool,
    /// How many assignments there were: what is said of one never counts for another.
    pub(crate) epochs: AtomicU64,
}

type Opening = BoxFuture<'static, Result<Vec<Reading>, SourceError>>;
type Acking = BoxFuture<'static, Result<(), lapin::Error>>;
type Looking = BoxFuture<'static, bool>;

/// One member of a group on RabbitMQ: its queue for each destination, and the queue of what comes back to it.
pub struct RabbitSource {
    shared: Arc<Shared>,
    spec: SourceSpec,
    lanes: Vec<Lane>,
    queues: Vec<QueueSpec>,
    opening: Option<Opening>,
    /// The queues are read.
    is_open: bool,
    wait: Duration,
    /// Since when they are.
    opened: Instant,
    /// What the server closed a channel for, until it is told.
    trouble: Option<String>,
    acking: Option<Acking>,
    /// Since when something is finished that the server does not know of.
    untold_since: Option<Instant>,
    /// Which lane comes first in the next round.
    turn: usize,
    quiet: Quiet,
    timer: Pin<Box<Sleep>>,
    /// Who is woken by deliveries.
    late: Late,
    closed: bool,
}

/// On the way to say that everything was read.
enum Quiet {
    /// It was said.
    Told,
    /// To be asked then.
    Until(Instant),
    /// Asked.
    Looking(Looking),
}

/// What a look at the lanes comes to.
enum Seen {
    Event(SourceEvent),
    /// A channel is no more: why, if the server or the connection said so.
    Broken(Option<Trouble>),
    /// There is something to do again.
    Again,
}

impl RabbitSource {
    /// Reads the queue that each destination has for the subscription.
    pub(crate) fn new(
        shared: Arc<Shared>,
        spec: SourceSpec,
        queue_of: impl Fn(&Arc<str>) -> QueueSpec,
    ) -> Self {
        let (lanes, queues) = plan(&spec, queue_of);
        Self {
            shared,
            spec,
            lanes,
            queues,
            opening: None,
            is_open: false,
            wait: Duration::ZERO,
            opened: Instant::now(),
            trouble: None,
            acking: None,
            untold_since: None,
            turn: 0,
            quiet: Quiet::Told,
            timer: Box::pin(sleep_until(Instant::now())),
            late: Late::default(),
            closed: false,
        }
    }

    /// Makes the queues, so that what is published from now on is kept. What is refused here is refused again, and told,
    /// when they are to be read; a server that is away is not waited for.
    pub(crate) async fn declare(&mut self) {
        if self.shared.link.state().borrow().trouble().is_some() {
            return;
        }
        for queue in &self.queues {
            if let Err(error) = self.shared.topology.queue(queue).await {
                tracing::debug!(subscription = %self.spec.subscription, %error, "a queue is not there yet");
                return;
            }
        }
    }

    async fn open(&mut self) -> Result<SourceEvent, SourceError> {
        let opening = self.opening.get_or_insert_with(|| {
            let (link, options) = (self.shared.link.clone(), self.shared.options.clone());
            let from = self.lanes.iter_mut().map(|lane| match &mut lane.stream {
                Some(stream) => stream.begin(),
                None => FieldTable::default(),
            });
            let queues = self.queues.iter().cloned().zip(from).collect();
            Box::pin(opening::open(link, options, queues, self.wait))
        });
        let opened = opening.as_mut().await;
        self.opening = None;
        self.wait = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        let readings = opened?;
        self.is_open = true;
        self.opened = Instant::now();
        let epoch = Epoch(self.shared.epochs.fetch_add(1, Ordering::Relaxed) + 1);
        self.quiet = Quiet::Until(Instant::now() + QUIET);
        let lanes = self.lanes.iter_mut().zip(readings);
        let assigned = lanes.map(|(lane, reading)| lane.begin(reading, epoch));
        Ok(SourceEvent::Assigned(assigned.collect()))
    }

    fn trouble_of(&self, error: &lapin::Error) -> Option<Trouble> {
        Some(Trouble::of(error, self.shared.options.auth()))
    }

    /// Whatever was not acknowledged comes again.
    fn lose(&mut self, trouble: Option<&Trouble>) -> SourceEvent {
        // Of connections that end, the link tells.
        if let Some(trouble) = trouble.filter(|trouble| trouble.is_of_channel()) {
            tracing::warn!(subscription = %self.spec.subscription, %trouble, "the server has ended the reading of a queue");
            self.trouble = Some(format!("it has ended the reading of a queue: {trouble}"));
        }
        self.is_open = false;
        self.acking = None;
        self.untold_since = None;
        self.lanes.iter_mut().for_each(Lane::end);
        SourceEvent::Lost(self.lanes.iter().map(|lane| lane.id).collect())
    }

    /// So many that are finished and not told hold up what could come.
    fn many(&self) -> u64 {
        u64::from(self.shared.options.consuming().prefetch).div_ceil(4)
    }

    /// When what is finished is to be told.
    fn due(&self) -> Option<Instant> {
        let since = self.untold_since.filter(|_| self.acking.is_none())?;
        let untold: u64 = self.lanes.iter().map(|lane| lane.acks.untold()).sum();
        match untold >= self.spec.commit_every.min(self.many()) {
            true => Some(since),
            false => Some(since + self.spec.commit_interval),
        }
    }

    /// Starts to acknowledge what is finished.
    fn start_acks(&mut self, above: Above) {
        self.untold_since = None;
        let mut all = Vec::new();
        for lane in &mut self.lanes {
            let acks = lane.acks.take(above);
            if let Some(reading) = lane.reading.as_ref().filter(|_| !acks.is_empty()) {
                all.push((reading.channel.channel.clone(), acks));
            }
        }
        if self.lanes.iter().any(|lane| lane.acks.is_waiting()) {
            self.untold_since = Some(Instant::now());
        }
        if all.is_empty() {
            return;
        }
        self.acking = Some(Box::pin(async move {
            for (channel, acks) in all {
                for ack in acks {
                    let (tag, multiple) = match ack {
                        Ack::UpTo(tag) => (tag, true),
                        Ack::One(tag) => (tag, false),
                    };
                    channel.basic_ack(tag, BasicAckOptions { multiple }).await?;
                }
            }
            Ok(())
        }));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Seen> {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.start_acks(Above::MayWait);
        }
        if let Some(acking) = &mut self.acking
            && let Poll::Ready(told) = acking.as_mut().poll(context)
        {
            self.acking = None;
            if let Err(error) = told {
                tracing::debug!(subscription = %self.spec.subscription, %error, "an acknowledgement was not sent");
                return Poll::Ready(Seen::Broken(self.trouble_of(&error)));
            }
            return Poll::Ready(Seen::Again);
        }
        let mut came = false;
        let by_deliveries = &mut Context::from_waker(self.late.of(context.waker()));
        for lane in &mut self.lanes {
            let Some(reading) = &mut lane.reading else {
                continue;
            };
            while let Poll::Ready(delivery) = Pin::new(&mut reading.consumer).poll_next(by_deliveries) {
                match delivery {
                    Some(Ok(delivery)) => lane.kept.push_back(delivery),
                    Some(Err(error)) => return Poll::Ready(Seen::Broken(self.trouble_of(&error))),
                    None => return Poll::Ready(Seen::Broken(None)),
                }
                came = true;
            }
        }
        if came {
            // A channel that is closed again and again as soon as it gets something is not made at full speed.
            if self.opened.elapsed() >= LASTS {
                self.wait = Duration::ZERO;
            }
            self.quiet = Quiet::Until(Instant::now() + QUIET);
        }
        if let Some(batch) = self.next_batch() {
            return Poll::Ready(Seen::Event(batch));
        }
        self.poll_quiet(context)
    }

    fn next_batch(&mut self) -> Option<SourceEvent> {
        let count = self.lanes.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(lane) = self.lanes.get_mut(index).filter(|lane| !lane.paused) else {
                continue;
            };
            if let Some(batch) = lane.batch(self.spec.max_batch_bytes) {
                self.turn = index + 1;
                return Some(SourceEvent::Batch(batch));
            }
        }
        None
    }

    /// Waits for its next timer, and finds out whether everything was read.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> Poll<Seen> {
        if let Quiet::Looking(looking) = &mut self.quiet
            && let Poll::Ready(empty) = looking.as_mut().poll(context)
        {
            if empty {
                self.quiet = Quiet::Told;
                return Poll::Ready(Seen::Event(SourceEvent::Idle));
            }
            self.quiet = Quiet::Until(Instant::now() + LOOK_AGAIN);
        }
        let mut next = self.due();
        if let Quiet::Until(at) = self.quiet {
            if at <= Instant::now() {
                self.quiet = Quiet::Looking(self.look());
                return Poll::Ready(Seen::Again);
            }
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        let Some(next) = next else { return Poll::Pending };
        self.timer.as_mut().reset(next);
        self.timer.as_mut().poll(context).map(|()| Seen::Again)
    }

    /// Asks whether nothing is left in the queues that are not paused.
    fn look(&self) -> Looking {
        let topology = self.shared.topology.clone();
        // A stream is never empty. One that has given nothing for a while has nothing new.
        let lanes = self
            .lanes
            .iter()
            .filter(|lane| !lane.paused && lane.stream.is_none());
        let queues: Vec<_> = lanes.map(|lane| lane.queue.clone()).collect();
        Box::pin(async move {
            for queue in queues {
                match topology.counts(&queue).await {
                    Ok((0, _)) => {}
                    Ok(_) | Err(_) => return false,
                }
            }
            true
        })
    }

    fn set_paused(&mut self, lanes: &[LaneId], paused: bool) {
        for lane in &mut self.lanes {
            if lanes.contains(&lane.id) {
                lane.paused = paused;
            }
        }
    }

    fn find(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }
}

impl Source for RabbitSource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        // A reader with a backlog would otherwise never let other tasks of its thread run.
        tokio::task::coop::consume_budget().await;
        loop {
            if self.closed || self.shared.closed.load(Ordering::Acquire) {
                return Err(SourceError::Closed);
            }
            if let Some(reason) = self.trouble.take() {
                return Err(SourceError::Unavailable { reason });
            }
            if !self.is_open {
                return self.open().await;
            }
            match std::future::poll_fn(|context| self.poll(context)).await {
                Seen::Event(event) => return Ok(event),
                // The end of everything is no loss that passes.
                Seen::Broken(_) if self.shared.closed.load(Ordering::Acquire) => {
                    return Err(SourceError::Closed);
                }
                Seen::Broken(trouble) => return Ok(self.lose(trouble.as_ref())),
                Seen::Again => {}
            }
        }
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        let Some(lane) = self.find(lane).filter(|lane| lane.epoch == epoch) else {
            return;
        };
        lane.report(&progress);
        self.untold_since.get_or_insert_with(Instant::now);
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        self.set_paused(lanes, true);
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        self.set_paused(lanes, false);
        self.quiet = Quiet::Until(Instant::now() + QUIET);
    }

    /// A queue has no other offsets: what was read is gone, or comes again when it was not acknowledged.
    fn seek(&mut self, _lane: LaneId, _offset: u64) {}

    async fn commit(&mut self) -> Result<(), SourceError> {
        loop {
            if let Some(acking) = &mut self.acking {
                let told = acking.as_mut().await;
                self.acking = None;
                told.map_err(|error| SourceError::Unavailable {
                    reason: format!("what is finished was not acknowledged: {error}"),
                })?;
            }
            self.start_acks(Above::Now);
            if self.acking.is_none() {
                return Ok(());
            }
        }
    }

    /// Nothing is taken away by degrees.
    fn release(&mut self, _lanes: &[LaneId]) {}

    async fn close(&mut self) -> Result<(), SourceError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.opening = None;
        let told = timeout(FAREWELL, self.commit()).await;
        let readings: Vec<_> = self
            .lanes
            .iter_mut()
            .filter_map(|lane| lane.reading.take())
            .collect();
        // The server has taken all acknowledgements before it answers.
        let left = timeout(FAREWELL, async {
            for reading in &readings {
                let _ = reading.channel.channel.close(200, "OK".into()).await;
            }
        });
        let _ = left.await;
        told.unwrap_or_else(|_| {
            Err(SourceError::Unavailable {
                reason: format!("no answer within {FAREWELL:?}"),
            })
        })
    }
}

impl fmt::Debug for RabbitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitSource")
            .field("subscription", &self.spec.subscription)
            .field("group", &self.spec.group)
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}
