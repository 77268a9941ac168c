//! The receiving side: [`SeamSource`].

use crate::history::{Commit, Event, Stage};
use crate::plant::Plant;
use crate::points::Point;
use crate::service::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::{
    Assignment, BoxFuture, DynSource, Epoch, LaneId, Progress, SourceError, SourceEvent, SourceLayer,
};

/// The incarnation that forgets with [`Plant::ForgetProgress`]: it ends cleanly.
const FORGETFUL: u32 = 1;

/// Another source, watched.
#[derive(Debug)]
pub(super) struct SeamSource {
    inner: Box<dyn DynSource>,
    group: Arc<str>,
    world: World,
    lanes: BTreeMap<LaneId, Lane>,
}

#[derive(Debug)]
struct Lane {
    epoch: Epoch,
    topic: Arc<str>,
    partition: u32,
    /// Where the last batch ended.
    read: u64,
    /// What was reported last.
    reported: Option<Progress>,
}

impl SeamSource {
    pub(super) fn new(inner: Box<dyn DynSource>, group: Arc<str>, world: World) -> Self {
        Self {
            inner,
            group,
            world,
            lanes: BTreeMap::new(),
        }
    }

    fn assign(&mut self, assignment: &Assignment) {
        let lane = Lane {
            epoch: assignment.epoch,
            topic: assignment.destination.clone(),
            partition: assignment.partition,
            read: assignment.next,
            reported: None,
        };
        self.lanes.insert(assignment.lane, lane);
    }

    fn follow(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Assigned(assignments) => assignments.iter().for_each(|one| self.assign(one)),
            SourceEvent::Batch(batch) => {
                if let Some(lane) = self.lanes.get_mut(&batch.lane()) {
                    lane.read = batch.next();
                }
                if self.world.has(Plant::CommitBeforeHandle) {
                    self.finish_all(&[batch.lane()]);
                }
            }
            SourceEvent::Revoking { lanes, .. } if self.world.has(Plant::SkipOnRevoke) => {
                self.finish_all(lanes)
            }
            _ => {}
        }
    }

    /// For bugs: everything that was read counts as finished.
    fn finish_all(&mut self, lanes: &[LaneId]) {
        for id in lanes {
            if let Some(lane) = self.lanes.get(id) {
                let progress = Progress {
                    watermark: lane.read,
                    ..Progress::default()
                };
                self.report(*id, lane.epoch, progress);
            }
        }
    }

    fn report(&mut self, id: LaneId, epoch: Epoch, progress: Progress) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        // A bug that went ahead is not taken back by the truth.
        let ahead = lane
            .reported
            .as_ref()
            .is_some_and(|last| last.watermark > progress.watermark);
        if ahead && self.world.plant.is_some() {
            return;
        }
        let news =
            |last: &Progress| (last.watermark, &last.finished) != (progress.watermark, &progress.finished);
        if lane.reported.as_ref().is_none_or(news) {
            self.world.points.pass(Point::ReportBefore);
            self.world.history.write(Event::Commit(Commit {
                stage: Stage::Reported,
                group: self.group.to_string(),
                topic: lane.topic.to_string(),
                partition: lane.partition,
                epoch: epoch.0,
                watermark: progress.watermark,
                finished: progress
                    .finished
                    .iter()
                    .map(|range| (range.start, range.end))
                    .collect(),
            }));
            lane.reported = Some(progress.clone());
        }
        // Once it has run for a while, so that the end of the campaign is still quiet.
        if !self.world.has(Plant::ForgetProgress) || self.world.history.incarnation() != FORGETFUL {
            self.inner.progress(id, epoch, progress);
        }
    }
}

impl SourceLayer for SeamSource {
    fn inner(&self) -> &dyn DynSource {
        &*self.inner
    }

    fn inner_mut(&mut self) -> &mut dyn DynSource {
        &mut *self.inner
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent, SourceError>> {
        Box::pin(async move {
            let event = self.inner.next().await?;
            self.follow(&event);
            Ok(event)
        })
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        self.report(lane, epoch, progress);
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            self.world.points.pass(Point::CommitBefore);
            self.inner.commit().await?;
            self.world.points.pass(Point::CommitAfter);
            Ok(())
        })
    }

    fn release(&mut self, lanes: &[LaneId]) {
        lanes.iter().for_each(|lane| drop(self.lanes.remove(lane)));
        self.inner.release(lanes);
    }
}
