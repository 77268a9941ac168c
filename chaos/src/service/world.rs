//! What all parts of a process under attack share: [`World`].

use super::parcel::{Parcel, digest};
use crate::history::{Event, Handle, History, Phase};
use crate::plant::Plant;
use crate::points::{Point, Points};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidings::Delivery;

/// What all parts of a process under attack share. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct World {
    /// Where everything is written down.
    pub history: Arc<History>,
    /// Where the process is killed.
    pub points: Points,
    /// The bug, if there is one.
    pub plant: Option<Plant>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicU64,
    counted: AtomicU64,
    /// For [`Plant::MarkBeforeWork`].
    marked: Mutex<HashSet<(String, String)>>,
    /// For [`Plant::GrowMemory`].
    kept: Mutex<Vec<Vec<u8>>>,
}

impl World {
    /// A world without a past.
    pub fn new(history: Arc<History>, points: Points, plant: Option<Plant>) -> Self {
        Self {
            history,
            points,
            plant,
            shared: Arc::default(),
        }
    }

    /// Whether that bug is planted.
    pub fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Whether that bug is planted, and it is its turn: every so many times.
    pub fn has_every(&self, plant: Plant, every: u64) -> bool {
        self.has(plant) && self.shared.counted.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }

    /// A number for a call of a handler.
    pub fn call(&self) -> u64 {
        self.shared.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a message was seen before, for the bug that asks too early.
    pub fn mark(&self, handle: &Handle) -> bool {
        let mut marked = self.shared.marked.lock().unwrap_or_else(PoisonError::into_inner);
        !marked.insert((handle.group.clone(), handle.id.clone()))
    }

    /// Keeps memory that nobody needs.
    pub fn grow(&self) {
        let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(vec![1; 4 << 20]);
    }

    /// Handlings begin: those of one call. Their lines come first, so that a process that is killed in here leaves them.
    pub fn begin(&self, deliveries: &[Delivery], call: u64) -> Vec<Handling> {
        let lines: Vec<_> = deliveries
            .iter()
            .map(|delivery| Self::line(delivery, call))
            .collect();
        self.history.write_all(lines.iter().cloned().map(Event::Handle));
        let begin = |line| {
            self.points.pass_in(Point::HandleBefore, call);
            Handling {
                world: self.clone(),
                line,
                ended: false,
            }
        };
        lines.into_iter().map(begin).collect()
    }

    fn line(delivery: &Delivery, call: u64) -> Handle {
        let parcel = Parcel::read(delivery.key(), delivery.payload());
        let lane = delivery.lane_position();
        Handle {
            phase: Phase::Start,
            group: delivery.context().group.as_deref().unwrap_or_default().to_owned(),
            topic: delivery.position().destination().to_owned(),
            lane: lane.destination().to_owned(),
            partition: lane.partition(),
            offset: lane.offset(),
            epoch: delivery.batch().epoch().0,
            digest: digest(delivery.key(), delivery.payload()),
            attempt: delivery.attempt(),
            call,
            id: parcel.id,
            key: parcel.key,
            sequence: parcel.sequence,
        }
    }
}

/// A handling under way. One that is dropped before its end says so.
#[derive(Debug)]
pub struct Handling {
    world: World,
    /// What its last line says.
    pub line: Handle,
    ended: bool,
}

impl Handling {
    /// It ends.
    pub fn end(mut self, phase: Phase) {
        self.ended = true;
        self.write(phase);
        self.world.points.pass_in(Point::HandleAfter, self.line.call);
    }

    fn write(&mut self, phase: Phase) {
        self.line.phase = phase;
        self.world.history.write(Event::Handle(self.line.clone()));
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        if !self.ended {
            self.write(Phase::Dropped);
        }
    }
}
