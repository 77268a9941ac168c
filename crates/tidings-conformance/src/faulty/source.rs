//! Events and progress with faults: [`FaultySource`].

use super::{EventFault, Faults};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use tidings_core::{
    Assignment, BinderError, BoxFuture, DynBinder, DynSource, Epoch, LaneId, Progress, RecordBatch, Source,
    SourceError, SourceEvent, SourceInput, SourceSpec, Transaction,
};
use tokio::time::{Instant, sleep_until};

type Joining = BoxFuture<'static, Result<Box<dyn DynSource>, BinderError>>;

pub(super) struct FaultySource {
    inner: Option<Box<dyn DynSource>>,
    binder: Arc<dyn DynBinder>,
    spec: SourceSpec,
    faults: Faults,
    lanes: BTreeMap<LaneId, Assignment>,
    /// Batches that come later.
    held: VecDeque<(Instant, RecordBatch)>,
    /// The way back into the group.
    joining: Option<Joining>,
    /// Everything was read, but not everything has come.
    owes_idle: bool,
    expiries: u64,
}

impl fmt::Debug for FaultySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultySource")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

/// What happened first.
enum First {
    Event(Result<SourceEvent, SourceError>),
    Held,
    Changed,
}

impl FaultySource {
    pub(super) fn new(
        inner: Box<dyn DynSource>,
        binder: Arc<dyn DynBinder>,
        spec: SourceSpec,
        faults: Faults,
    ) -> Self {
        let expiries = faults.look(|plan| plan.expiries);
        Self {
            inner: Some(inner),
            binder,
            spec,
            faults,
            lanes: BTreeMap::new(),
            held: VecDeque::new(),
            joining: None,
            owes_idle: false,
            expiries,
        }
    }

    /// The membership is over: what was to be delivered still comes, of an epoch that is gone.
    fn expire(&mut self) -> Option<SourceEvent> {
        let expiries = self.faults.look(|plan| plan.expiries);
        if std::mem::replace(&mut self.expiries, expiries) == expiries {
            return None;
        }
        self.inner = None;
        let (binder, spec) = (self.binder.clone(), self.spec.clone());
        self.joining = Some(Box::pin(async move { binder.subscribe(spec).await }));
        let lanes: Vec<_> = std::mem::take(&mut self.lanes).into_keys().collect();
        (!lanes.is_empty()).then_some(SourceEvent::Lost(lanes))
    }

    async fn join(&mut self) -> Result<(), SourceError> {
        let Some(joining) = &mut self.joining else {
            return Ok(());
        };
        let joined = joining.await;
        self.joining = None;
        self.inner = Some(joined.map_err(|error| SourceError::Unavailable {
            reason: error.to_string(),
        })?);
        Ok(())
    }

    async fn first(&mut self) -> First {
        let due = self.held.front().map(|(due, _)| *due);
        let changed = self.faults.changed.clone();
        let Some(inner) = &mut self.inner else {
            return First::Event(Err(SourceError::Closed));
        };
        tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => First::Held,
            event = inner.next() => First::Event(event),
            () = changed.notified() => First::Changed,
        }
    }

    /// What becomes of an event: it comes now, or is held.
    fn admit(&mut self, event: SourceEvent) -> Option<SourceEvent> {
        match &event {
            SourceEvent::Assigned(lanes) => {
                self.lanes.extend(lanes.iter().map(|one| (one.lane, one.clone())));
            }
            SourceEvent::Lost(lanes) => lanes.iter().for_each(|lane| drop(self.lanes.remove(lane))),
            _ => {}
        }
        let SourceEvent::Batch(batch) = event else {
            self.owes_idle = matches!(event, SourceEvent::Idle) && !self.held.is_empty();
            return (!self.owes_idle).then_some(event);
        };
        match self.faults.look(|plan| plan.events) {
            Some(EventFault::Delayed(wait)) => {
                self.held.push_back((Instant::now() + wait, batch));
                None
            }
            Some(EventFault::Doubled) => {
                let twin = again(&batch);
                // None overtakes one that is held, for batches of a lane keep their order: then it comes once.
                let now = self.held.is_empty();
                let event = now.then_some(SourceEvent::Batch(batch));
                self.held.push_back((Instant::now(), twin));
                event
            }
            None if self.held.is_empty() => Some(SourceEvent::Batch(batch)),
            None => {
                self.held.push_back((Instant::now(), batch));
                None
            }
        }
    }
}

/// Waits for ever if nobody answers.
async fn answers(faults: Faults) {
    if faults.look(|plan| plan.hangs) {
        std::future::pending::<()>().await;
    }
}

/// The same records in a batch of its own.
fn again(batch: &RecordBatch) -> RecordBatch {
    let messages: Vec<_> = batch
        .records()
        .iter()
        .map(|record| batch.message(record))
        .collect();
    let first = batch
        .records()
        .first()
        .map_or(batch.next(), |record| record.offset);
    RecordBatch::from_messages(batch.lane(), batch.epoch(), first, &messages)
}

impl Source for FaultySource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        loop {
            if let Some(lost) = self.expire() {
                return Ok(lost);
            }
            self.join().await?;
            if self.held.is_empty() && std::mem::take(&mut self.owes_idle) {
                return Ok(SourceEvent::Idle);
            }
            if self.faults.look(|plan| plan.takes_away()) {
                return Err(SourceError::Unavailable {
                    reason: "as the case says".to_owned(),
                });
            }
            match self.first().await {
                First::Changed => {}
                First::Held => {
                    if let Some((_, batch)) = self.held.pop_front() {
                        return Ok(SourceEvent::Batch(batch));
                    }
                }
                First::Event(event) => {
                    if let Some(event) = self.admit(event?) {
                        return Ok(event);
                    }
                }
            }
        }
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        let (watch, forgets) = self
            .faults
            .look(|plan| (plan.watch.clone(), plan.forgets_progress));
        if let (Some(watch), Some(one)) = (watch, self.lanes.get(&lane))
            && one.epoch == epoch
        {
            watch(one, &progress);
        }
        if !forgets && let Some(inner) = &mut self.inner {
            inner.progress(lane, epoch, progress);
        }
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        self.inner.iter_mut().for_each(|inner| inner.pause(lanes));
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        self.inner.iter_mut().for_each(|inner| inner.resume(lanes));
    }

    fn seek(&mut self, lane: LaneId, offset: u64) {
        self.inner.iter_mut().for_each(|inner| inner.seek(lane, offset));
    }

    fn change_inputs(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        if let Some(inner) = &mut self.inner {
            inner.change_inputs(inputs)?;
        }
        // Whoever joins again asks for what is read now.
        self.spec.inputs = inputs.to_vec();
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), SourceError> {
        answers(self.faults.clone()).await;
        if self.faults.look(|plan| plan.forgets_progress) {
            return Err(SourceError::Unavailable {
                reason: "as the case says".to_owned(),
            });
        }
        match &mut self.inner {
            Some(inner) => inner.commit().await,
            None => Ok(()),
        }
    }

    fn release(&mut self, lanes: &[LaneId]) {
        lanes.iter().for_each(|lane| drop(self.lanes.remove(lane)));
        self.inner.iter_mut().for_each(|inner| inner.release(lanes));
    }

    fn transaction(&self) -> Option<Transaction> {
        self.inner.as_ref()?.transaction()
    }

    fn abort(&mut self) {
        self.inner.iter_mut().for_each(|inner| inner.abort());
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        answers(self.faults.clone()).await;
        match &mut self.inner {
            Some(inner) => inner.close().await,
            None => Ok(()),
        }
    }
}
