//! A member of a group, used without the engine: [`Member`].

use crate::stage::{texts, watermark};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tidings_core::{Assignment, DynSource, Epoch, LaneId, Progress, RecordBatch, SourceError, SourceEvent};
use tokio::time::{Instant, sleep, timeout};

/// A member that waits longer for an event than this waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long after an error that passes it goes on.
const AGAIN: Duration = Duration::from_millis(10);

/// A member of a group, or a reader without one.
#[derive(Debug)]
pub(crate) struct Member(pub(crate) Box<dyn DynSource>);

impl Member {
    /// The next event.
    pub(crate) async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        timeout(PATIENCE, self.event())
            .await
            .expect("an event comes in time")
    }

    /// The next event, however long it takes. A broker of its own may be away for a moment, or too busy to answer in time:
    /// that is said, and passes, as it does for the engine.
    ///
    /// # Cancel safety
    /// That of [`Source::next`](tidings_core::Source::next).
    async fn event(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            match self.0.next().await {
                Err(error @ SourceError::Unavailable { .. }) => goes_on_after(&error),
                event => return event,
            }
            sleep(AGAIN).await;
        }
    }

    /// The next event, or none within that time.
    pub(crate) async fn next_within(&mut self, wait: Duration) -> Option<SourceEvent> {
        let event = timeout(wait, self.event()).await.ok()?;
        Some(event.expect("a healthy broker delivers"))
    }

    pub(crate) async fn assigned(&mut self, lanes: usize) -> Vec<Assignment> {
        let mut all = Vec::new();
        while all.len() < lanes {
            match self.next().await.expect("a healthy broker assigns") {
                SourceEvent::Assigned(more) => all.extend(more),
                SourceEvent::Idle => {}
                other => panic!(
                    "{other:?} instead of an assignment; {} of {lanes} came",
                    all.len()
                ),
            }
        }
        all.sort_by_key(|one| (one.destination.clone(), one.partition));
        all
    }

    pub(crate) async fn batch(&mut self) -> RecordBatch {
        loop {
            match self.next().await.expect("a healthy broker delivers") {
                SourceEvent::Batch(batch) => return batch,
                SourceEvent::Idle | SourceEvent::Assigned(_) => {}
                other => panic!("{other:?} instead of a batch"),
            }
        }
    }

    pub(crate) async fn revoking(&mut self) -> (Vec<LaneId>, Instant) {
        loop {
            match self.next().await.expect("a healthy broker revokes") {
                SourceEvent::Revoking { lanes, deadline } => return (lanes, deadline),
                SourceEvent::Idle | SourceEvent::Batch(_) => {}
                other => panic!("{other:?} instead of a revocation"),
            }
        }
    }

    /// Payloads until every lane was read to its end.
    pub(crate) async fn drain(&mut self) -> Vec<String> {
        let batches = self.drain_batches().await;
        batches.iter().flat_map(texts).collect()
    }

    pub(crate) async fn drain_batches(&mut self) -> Vec<RecordBatch> {
        let mut all = Vec::new();
        loop {
            match self.next().await.expect("a healthy broker delivers") {
                SourceEvent::Batch(batch) => all.push(batch),
                SourceEvent::Idle => return all,
                _ => {}
            }
        }
    }

    /// Goes on asking for events, as the engine always does, until something else has happened: a member takes part in
    /// moving partitions also after it gave its own back.
    pub(crate) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            let event = tokio::select! {
                biased;
                done = &mut other => return done,
                event = self.event() => event,
            };
            match event.expect("a healthy broker goes on") {
                SourceEvent::Idle => {}
                other => panic!("{other:?} although nothing concerns it"),
            }
        }
    }

    /// So many payloads; the broker may need some time for them.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(texts(&self.batch().await));
        }
        all
    }

    /// Polls for the next event so many times and drops the future then, whether it was ready or not.
    pub(crate) async fn poll_and_drop(&mut self, polls: usize) -> Option<SourceEvent> {
        let mut next = pin!(self.0.next());
        for poll in 0..polls {
            let polled = if poll == 0 {
                // A waker that nobody hears: the event must not hang on it.
                next.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            } else {
                poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await
            };
            if let Poll::Ready(event) = polled {
                return Some(event.expect("a healthy broker delivers"));
            }
            tokio::task::yield_now().await;
        }
        None
    }

    pub(crate) fn done(&mut self, lane: LaneId, epoch: Epoch, below: u64) {
        self.0.progress(lane, epoch, watermark(below));
    }

    pub(crate) fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        self.0.progress(lane, epoch, progress);
    }

    pub(crate) async fn commit(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.0.commit().await {
                Err(error @ SourceError::Unavailable { .. }) if Instant::now() < until => {
                    goes_on_after(&error)
                }
                stored => return stored.expect("a healthy broker stores progress"),
            }
            sleep(AGAIN).await;
        }
    }

    pub(crate) async fn close(mut self) {
        self.0.close().await.expect("a healthy broker lets a member go");
    }
}

#[allow(clippy::print_stdout, reason = "why a case took so long")]
fn goes_on_after(error: &SourceError) {
    println!("a member goes on after: {error}");
}

pub(crate) fn partitions(assignments: &[Assignment]) -> Vec<u32> {
    assignments.iter().map(|one| one.partition).collect()
}

/// A member that handles what it gets, in order, and gives back what it is asked for.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) member: Member,
    own: BTreeMap<LaneId, Assignment>,
}

impl Worker {
    pub(crate) fn new(member: Member) -> Self {
        Self {
            member,
            own: BTreeMap::new(),
        }
    }

    /// The partitions that it has.
    pub(crate) fn own(&self) -> impl Iterator<Item = (String, u32)> {
        self.own
            .values()
            .map(|one| (one.destination.to_string(), one.partition))
    }

    /// Follows the events that come within that time, and says what was handled: destination, partition, offset.
    pub(crate) async fn work(&mut self, wait: Duration, manners: Manners) -> Vec<(String, u32, u64)> {
        let mut handled = Vec::new();
        while let Some(event) = self.member.next_within(wait).await {
            match event {
                SourceEvent::Assigned(more) => {
                    self.own.extend(more.into_iter().map(|one| (one.lane, one)));
                }
                SourceEvent::Revoking { lanes, .. } if manners == Manners::Good => {
                    self.member.commit().await;
                    lanes.iter().for_each(|lane| drop(self.own.remove(lane)));
                    self.member.0.release(&lanes);
                }
                SourceEvent::Lost(lanes) => lanes.iter().for_each(|lane| drop(self.own.remove(lane))),
                SourceEvent::Batch(batch) => handled.extend(self.handle(&batch)),
                _ => {}
            }
        }
        handled
    }

    fn handle(&mut self, batch: &RecordBatch) -> Vec<(String, u32, u64)> {
        let one = self
            .own
            .get(&batch.lane())
            .expect("a batch belongs to a lane of the member");
        assert_eq!(
            batch.epoch(),
            one.epoch,
            "a batch belongs to the assignment of its lane"
        );
        self.member.done(batch.lane(), batch.epoch(), batch.next());
        let records = batch.records().iter();
        records
            .map(|record| (one.destination.to_string(), one.partition, record.offset))
            .collect()
    }
}

/// Whether a member gives back what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    Good,
    Bad,
}
