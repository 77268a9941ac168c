//! The one member of the group: reads what is committed, and commits.

use super::broker::{Partition, Seen, State, TxBroker, TxSink};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::*;
use tokio::time::{Instant, sleep_until};

#[derive(Debug)]
struct Lane {
    id: LaneId,
    destination: Arc<str>,
    partition: u32,
    role: LaneRole,
    partner: Option<LaneId>,
    epoch: Epoch,
    next: u64,
    paused: bool,
    owned: bool,
    /// It is to be assigned at this time.
    returns: Option<Instant>,
}

impl Lane {
    fn place(&self) -> Partition {
        (self.destination.to_string(), self.partition)
    }
}

/// A commit under way.
#[derive(Debug)]
struct Committing {
    /// The broker answers then.
    at: Instant,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    /// It is done; the first answer is lost.
    Unanswered,
    /// It is done, and the member is told that it is not.
    DoneAndDenied,
}

#[derive(Debug)]
pub(crate) struct TxSource {
    broker: TxBroker,
    member: u64,
    lanes: Vec<Lane>,
    reported: HashMap<Partition, Progress>,
    committing: Option<Committing>,
    idle_told: bool,
    turn: usize,
}

impl TxSource {
    pub(super) fn join(broker: &TxBroker, spec: &SourceSpec) -> Self {
        let mut lanes = Vec::new();
        for input in &spec.inputs {
            for partition in 0..broker.partitions {
                let first = lanes.len() as u32;
                let lane = |id: u32, destination: &Arc<str>, role, partner: u32| Lane {
                    id: LaneId(id),
                    destination: destination.clone(),
                    partition,
                    role,
                    partner: input.retry.as_ref().map(|_| LaneId(partner)),
                    epoch: Epoch(0),
                    next: 0,
                    paused: false,
                    owned: false,
                    returns: Some(Instant::now()),
                };
                lanes.push(lane(first, &input.destination, LaneRole::Main, first + 1));
                if let Some(retry) = &input.retry {
                    lanes.push(lane(first + 1, retry, LaneRole::Retry, first));
                }
            }
        }
        let mut state = broker.lock();
        // What an earlier member left open is over, and whatever it still does counts for nothing.
        state.end(Seen::Aborted);
        state.member += 1;
        state.accepting = false;
        let member = state.member;
        drop(state);
        Self {
            broker: broker.clone(),
            member,
            lanes,
            reported: HashMap::new(),
            committing: None,
            idle_told: false,
            turn: 0,
        }
    }

    /// Nothing of the transaction is seen, and all lanes are read again.
    fn give_up(&mut self) {
        self.broker.edit(|state| {
            state.end(Seen::Aborted);
            state.accepting = false;
        });
        self.reported.clear();
        self.committing = None;
        for lane in self.lanes.iter_mut().filter(|lane| lane.owned) {
            lane.owned = false;
            lane.returns = Some(Instant::now());
        }
    }

    /// What the broker does by itself.
    fn suffer(&mut self) -> Option<SourceEvent> {
        let broker = self.broker.clone();
        let mut state = broker.lock();
        let now = Instant::now();
        let late = state.open.as_ref().is_some_and(|open| open.until <= now);
        state.timeouts += u64::from(late);
        if std::mem::take(&mut state.disturbed) || late {
            drop(state);
            let lanes: Vec<_> = self
                .lanes
                .iter()
                .filter(|lane| lane.owned)
                .map(|lane| lane.id)
                .collect();
            self.give_up();
            return Some(SourceEvent::Lost(lanes));
        }
        let (lanes, within) = state.revoke.pop()?;
        Some(SourceEvent::Revoking {
            lanes: lanes.into_iter().map(LaneId).collect(),
            deadline: now + within,
        })
    }

    fn assign(&mut self) -> Option<SourceEvent> {
        let mut state = self.broker.lock();
        let now = Instant::now();
        let mut assigned = Vec::new();
        let returning = self
            .lanes
            .iter_mut()
            .filter(|lane| lane.returns.is_some_and(|at| at <= now));
        for lane in returning {
            state.epochs += 1;
            let stored = state.stored.get(&lane.place()).cloned().unwrap_or_default();
            (lane.owned, lane.returns, lane.paused) = (true, None, false);
            (lane.epoch, lane.next) = (Epoch(state.epochs), stored.watermark);
            assigned.push(Assignment {
                lane: lane.id,
                epoch: lane.epoch,
                destination: lane.destination.clone(),
                partition: lane.partition,
                role: lane.role,
                partner: lane.partner,
                next: stored.watermark,
                end: u64::MAX,
                finished: stored.finished,
                attempts: stored.attempts,
                deaths: Vec::new(),
                marks: None,
            });
        }
        (!assigned.is_empty()).then(|| {
            state.accepting = true;
            self.idle_told = false;
            SourceEvent::Assigned(assigned)
        })
    }

    /// The next records that are committed, up to a gap.
    fn read(lane: &mut Lane, state: &State) -> Option<RecordBatch> {
        let log = state
            .topics
            .get(&*lane.destination)?
            .get(lane.partition as usize)?;
        while log
            .get(lane.next as usize)
            .is_some_and(|entry| entry.seen == Seen::Aborted)
        {
            lane.next += 1;
        }
        let rest = log.get(lane.next as usize..)?;
        let seen = rest.iter().take_while(|entry| entry.seen == Seen::Committed);
        let messages: Vec<_> = seen.take(7).map(|entry| entry.message.clone()).collect();
        if messages.is_empty() {
            return None;
        }
        let batch = RecordBatch::from_messages(lane.id, lane.epoch, lane.next, &messages);
        lane.next = batch.next();
        Some(batch)
    }

    fn step(&mut self) -> Option<SourceEvent> {
        if let Some(event) = self.suffer().or_else(|| self.assign()) {
            return Some(event);
        }
        let state = self.broker.lock();
        let count = self.lanes.len();
        for step in 0..count {
            let lane = &mut self.lanes[(self.turn + step) % count];
            if lane.owned
                && !lane.paused
                && let Some(batch) = Self::read(lane, &state)
            {
                self.turn += 1;
                self.idle_told = false;
                return Some(SourceEvent::Batch(batch));
            }
        }
        let idle = !std::mem::replace(&mut self.idle_told, true);
        idle.then_some(SourceEvent::Idle)
    }

    fn fate(state: &State) -> Fate {
        let faults = state.faults;
        if state.open.as_ref().is_some_and(|open| open.broken) || state.chance(faults.commit_refused) {
            Fate::Refused
        } else if state.chance(faults.commit_unanswered) {
            Fate::Unanswered
        } else if state.chance(faults.commit_done_and_denied) {
            Fate::DoneAndDenied
        } else {
            Fate::Done
        }
    }

    /// Everything published and everything reported, together.
    fn carry_out(&mut self) {
        let mut state = self.broker.lock();
        assert_eq!(state.member, self.member, "a fenced member commits nothing");
        for progress in self.reported.values() {
            assert!(
                progress.finished.len() <= state.ranges,
                "more ranges than it can keep"
            );
        }
        state.end(Seen::Committed);
        state.stored.extend(self.reported.drain());
        drop(state);
        self.broker.changed.notify_waiters();
    }
}

impl Source for TxSource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            let changed = self.broker.changed.clone();
            let changed = changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(event) = self.step() {
                return Ok(event);
            }
            let until = self.broker.lock().open.as_ref().map(|open| open.until);
            let returns = self.lanes.iter().filter_map(|lane| lane.returns).min();
            let until = until.into_iter().chain(returns).min();
            tokio::select! {
                () = changed => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        let lane = &self.lanes[lane.0 as usize];
        if lane.owned && lane.epoch == epoch {
            self.reported.insert(lane.place(), progress);
        }
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
        if self.broker.lock().open.is_none() && self.reported.is_empty() && self.committing.is_none() {
            return Ok(());
        }
        if self.committing.is_none() {
            loop {
                let changed = self.broker.changed.clone();
                let changed = changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self
                    .broker
                    .lock()
                    .open
                    .as_ref()
                    .is_none_or(|open| open.pending == 0)
                {
                    break;
                }
                changed.await;
            }
            let late = self.broker.lock().faults.late;
            let takes = Duration::from_millis(if late { fastrand::u64(0..120) } else { 1 });
            let takes = self.broker.lock().commit_takes.unwrap_or(takes);
            let fate = Self::fate(&self.broker.lock());
            let at = Instant::now() + takes;
            self.committing = Some(Committing { at, fate });
        }
        let Some(Committing { at, fate }) = self.committing else {
            return Ok(());
        };
        sleep_until(at).await;
        match fate {
            Fate::Done => {
                self.carry_out();
                self.committing = None;
                Ok(())
            }
            Fate::Refused => {
                self.give_up();
                Err(SourceError::Aborted {
                    reason: "as the test says".to_owned(),
                })
            }
            Fate::Unanswered => {
                self.committing = Some(Committing {
                    at: Instant::now(),
                    fate: Fate::Done,
                });
                Err(SourceError::Unavailable {
                    reason: "as the test says".to_owned(),
                })
            }
            Fate::DoneAndDenied => {
                self.carry_out();
                self.give_up();
                Err(SourceError::Aborted {
                    reason: "fenced, as the test says".to_owned(),
                })
            }
        }
    }

    fn release(&mut self, lanes: &[LaneId]) {
        let open = self.broker.lock().open.is_some();
        assert!(
            !open && self.reported.is_empty(),
            "lanes are released between two transactions"
        );
        // They come back after a while, as from another member.
        let later = Instant::now() + Duration::from_millis(fastrand::u64(0..50));
        for lane in lanes {
            let lane = &mut self.lanes[lane.0 as usize];
            lane.owned = false;
            lane.returns = Some(later);
        }
    }

    fn transaction(&self) -> Option<Transaction> {
        let state = self.broker.lock();
        Some(Transaction {
            sink: Arc::new(TxSink {
                broker: self.broker.clone(),
                member: self.member,
            }),
            timeout: state.timeout,
            ranges: state.ranges,
        })
    }

    fn abort(&mut self) {
        self.give_up();
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}
