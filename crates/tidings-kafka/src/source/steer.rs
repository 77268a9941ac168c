//! Reading is stopped, goes on, and goes on elsewhere.
//!
//! A pause of the engine is one of ours at first: librdkafka throws away what it has fetched of a partition that is
//! paused, and fetches it again. Only when more has come than is worth keeping is librdkafka told, and not before its
//! queue is empty: what has come is kept, as far as there is room. Such a lane is read on when little of that is left,
//! not as soon as the engine wants more. And librdkafka is never told twice, because that loses messages
//! (confluentinc/librdkafka issues 1802 and 3471): a lane knows whether it is held, and goes on with a seek to the
//! offset that is next.

use super::KafkaSource;
use super::lane::{Lane, Standing};
use crate::native::{CHUNK, List, Protocol};
use tidings_core::LaneId;

/// A lane that is paused keeps so many batches of the largest size, and so many of any size.
const KEPT_BATCHES: usize = 2;
const KEPT_SMALL_BATCHES: usize = 64;
/// Beyond so many batches of the largest size in all lanes together, nobody waits for the queue to be empty: half of
/// what it may hold.
const KEPT_IN_ALL: usize = 32;
/// A lane that is held is read on when no more than so many batches of the largest size are left.
const LEFT_BATCHES: usize = 1;

impl KafkaSource {
    /// Holds lanes that are paused and have more ready than is worth keeping, `taken` being how many messages came just
    /// now.
    pub(super) fn hold_full(&mut self, taken: usize) {
        let all: usize = self.lanes.iter().map(|(_, lane)| lane.ready_bytes()).sum();
        if taken == CHUNK && all < self.plan.max_batch_bytes * KEPT_IN_ALL {
            return;
        }
        let most = self.plan.max_batch_bytes * KEPT_BATCHES;
        let full = self.lanes.iter().filter(|(_, lane)| {
            !lane.held
                && !lane.is_open()
                && (lane.ready_bytes() >= most || lane.ready_len() >= KEPT_SMALL_BATCHES)
        });
        for id in full.map(|(id, _)| id).collect::<Vec<_>>() {
            self.hold(id);
        }
    }

    /// librdkafka stops reading a lane.
    pub(super) fn hold(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(id).filter(|lane| !lane.held) else {
            return;
        };
        let mut list = List::new();
        list.add(&lane.topic, lane.partition);
        match self.consumer.pause(&list) {
            Ok(()) => lane.held = true,
            Err(fault) => tracing::warn!(topic = %lane.topic, reason = %fault, "reading could not be paused"),
        }
    }

    /// librdkafka goes on with lanes that may be read and have little left.
    pub(super) fn let_go_of(&mut self, lanes: &[LaneId]) {
        let little = self.plan.max_batch_bytes * LEFT_BATCHES;
        let is_wanted = |lane: &Lane| lane.held && lane.is_open() && lane.ready_bytes() <= little;
        if !lanes.iter().any(|id| self.lanes.get(*id).is_some_and(is_wanted)) {
            return;
        }
        let mut list = List::new();
        for id in lanes {
            let lane = self.lanes.get_mut(*id);
            if let Some(lane) = lane.filter(|lane| is_wanted(lane)) {
                lane.held = false;
                lane.at_end = false;
                let next = i64::try_from(lane.next).unwrap_or(i64::MAX);
                list.add_at(&lane.topic, lane.partition, next);
            }
        }
        if list.is_empty() {
            return;
        }
        let told = self
            .consumer
            .seek(&list)
            .and_then(|()| self.consumer.resume(&list));
        if let Err(fault) = told {
            self.report(&fault);
        }
    }

    /// Tells librdkafka again where lanes go on that were read to their end, after each move of partitions.
    ///
    /// It pauses every partition while a member answers its group, and goes on from where it believes the application
    /// to be; and the batch call counts the report of an end as a message (confluentinc/librdkafka issue 4844), so that
    /// is one too far: the first message after the end would be skipped.
    pub(super) fn read_ends_again(&self) {
        let mut list = List::new();
        let ended = |lane: &Lane| lane.at_end && !lane.held && lane.standing == Standing::Readable;
        for (_, lane) in self.lanes.iter().filter(|(_, lane)| ended(lane)) {
            list.add_at(
                &lane.topic,
                lane.partition,
                i64::try_from(lane.next).unwrap_or(i64::MAX),
            );
        }
        if !list.is_empty()
            && let Err(fault) = self.consumer.seek(&list)
        {
            tracing::warn!(subscription = %self.plan.subscription, reason = %fault, "reading may not go on at the ends");
        }
    }

    /// Takes a partition anew that librdkafka has stopped because it could not read on: a seek does nothing then, and
    /// the partition would stand still for ever.
    pub(super) fn begin_anew(&mut self, id: LaneId) {
        let (mut one, mut all) = (List::new(), List::new());
        for (other, lane) in self.lanes.iter() {
            let next = i64::try_from(lane.next).unwrap_or(i64::MAX);
            all.add_at(&lane.topic, lane.partition, next);
            if other == id {
                one.add_at(&lane.topic, lane.partition, next);
            }
        }
        let told = match self.consumer.protocol() {
            // All that there are, each from where it is.
            Protocol::Eager => self.consumer.assign(&all),
            Protocol::Incremental => self
                .consumer
                .unassign(&one)
                .and_then(|()| self.consumer.assign(&one)),
        };
        if let Err(fault) = told {
            self.report(&fault);
        }
    }

    /// Goes on at another offset, also with a lane that could not be read.
    pub(super) fn read_on_at(&mut self, id: LaneId, offset: u64) {
        let Some(lane) = self.lanes.get_mut(id) else {
            return;
        };
        lane.clear();
        lane.next = offset;
        lane.at_end = false;
        if lane.standing == Standing::Failed {
            lane.standing = Standing::Readable;
        }
        if lane.held {
            self.let_go_of(&[id]);
            return;
        }
        let mut list = List::new();
        list.add_at(
            &lane.topic,
            lane.partition,
            i64::try_from(offset).unwrap_or(i64::MAX),
        );
        if let Err(fault) = self.consumer.seek(&list) {
            self.report(&fault);
        }
    }
}
