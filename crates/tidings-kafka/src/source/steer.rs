//! Reading is stopped, goes on, and goes on elsewhere.
//!
//! A pause of the engine is one of ours at first: librdkafka throws away what it has fetched of a partition that is
//! paused, and fetches it again. Only when more has come than is worth keeping is librdkafka told, and not before its
//! queue is empty: what has come is kept, as far as there is room. Such a lane is read on when little of that is left,
//! not as soon as the engine wants more, and not as late as when nothing is left: librdkafka asks a broker one question
//! at a time, and one about other partitions, of which a retry partition is always one, may be under way for
//! `fetch.wait.max.ms`. So a lane keeps what it is taken of in longer than that. And librdkafka is never told twice,
//! because that loses messages (confluentinc/librdkafka issues 1802 and 3471): a lane knows whether it is held, and goes
//! on with a seek to the offset that is next.

use super::KafkaSource;
use super::lane::{Lane, Standing};
use crate::native::{CHUNK, Consumer, List, Protocol};
use tidings_core::LaneId;

/// A lane that is paused keeps so many batches of the largest size at least, and at the most so many times what
/// librdkafka's queue holds (`queued.max.messages.kbytes`).
const KEPT_BATCHES: usize = 2;
const MOST_QUEUES: usize = 2;
/// As long as this it can go on with what it keeps; it is read on when half of that is left, which is longer than
/// `fetch.wait.max.ms`, also where that is left at librdkafka's 500.
const KEPT_SECONDS: f64 = 1.2;
/// So many batches of any size it keeps.
const KEPT_SMALL_BATCHES: usize = 512;
/// All lanes together keep so many when all are paused: with many lanes each keeps its part of them only.
const SHARED_QUEUES: usize = 4;
const SHARED_SMALL_BATCHES: usize = 8_192;
/// Beyond so many in all lanes together, of the largest size or of any, or beyond what the queue holds, nobody waits for
/// librdkafka's queue to be empty.
const IN_A_HURRY_BATCHES: usize = 32;
const IN_A_HURRY_SMALL_BATCHES: usize = 2_048;

/// What a lane keeps while it is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    bytes: usize,
    batches: usize,
    /// Bytes that are kept of a lane from which little is taken, as far as there is room.
    least: usize,
}

impl Kept {
    /// What each lane of so many may keep, with batches and a queue of so many bytes at the most.
    fn of(max_batch_bytes: usize, queue_bytes: usize, lanes: usize) -> Self {
        let lanes = lanes.max(1);
        let shared = queue_bytes.saturating_mul(SHARED_QUEUES) / lanes;
        Self {
            bytes: shared.min(queue_bytes.saturating_mul(MOST_QUEUES)).max(1),
            batches: (SHARED_SMALL_BATCHES / lanes).clamp(1, KEPT_SMALL_BATCHES),
            least: max_batch_bytes.saturating_mul(KEPT_BATCHES),
        }
    }

    /// What is worth keeping of a lane that so many bytes are taken of in a second.
    fn bytes_of(self, taken_a_second: usize) -> usize {
        let ahead = (taken_a_second as f64 * KEPT_SECONDS) as usize;
        ahead.max(self.least).min(self.bytes)
    }

    /// More has come than is worth keeping, and nobody takes it.
    fn holds(self, lane: &Lane) -> bool {
        if lane.held || lane.is_open() {
            return false;
        }
        lane.ready_bytes() >= self.bytes_of(lane.taken_a_second()) || lane.ready_len() >= self.batches
    }

    /// It may be read and has little left, which is at the latest when it has nothing: so none stands still that is
    /// looked at after each change.
    fn lets_go(self, lane: &Lane) -> bool {
        lane.held
            && lane.is_open()
            && lane.ready_bytes() <= self.bytes_of(lane.taken_a_second()) / 2
            && lane.ready_len() <= self.batches / 2
    }
}

impl KafkaSource {
    fn share(&self) -> Kept {
        let plan = &self.plan;
        Kept::of(plan.max_batch_bytes, plan.queue_bytes, self.lanes.iter().count())
    }

    /// Holds lanes that are paused and have more ready than is worth keeping, `taken` being how many messages came just
    /// now.
    pub(super) fn hold_full(&mut self, taken: usize) {
        let (mut bytes, mut batches) = (0, 0);
        for (_, lane) in self.lanes.iter() {
            bytes += lane.ready_bytes();
            batches += lane.ready_len();
        }
        let many = self.plan.max_batch_bytes.saturating_mul(IN_A_HURRY_BATCHES);
        let many = many.min(self.plan.queue_bytes);
        if taken == CHUNK && bytes < many && batches < IN_A_HURRY_SMALL_BATCHES {
            return;
        }
        let kept = self.share();
        let full = self.lanes.iter().filter(|(_, lane)| kept.holds(lane));
        let full: Vec<LaneId> = full.map(|(id, _)| id).collect();
        self.hold(&full);
    }

    /// librdkafka stops reading lanes.
    pub(super) fn hold(&mut self, lanes: &[LaneId]) {
        let mut list = List::new();
        for id in lanes {
            if let Some(lane) = self.lanes.get_mut(*id).filter(|lane| !lane.held) {
                lane.held = true;
                list.add(&lane.topic, lane.partition);
            }
        }
        if list.is_empty() {
            return;
        }
        if let Err(fault) = self.consumer.pause(&list) {
            // They are let go of as if they were held, and until then what comes is kept.
            tracing::warn!(subscription = %self.plan.subscription, reason = %fault, "reading could not be paused");
        }
    }

    /// librdkafka goes on with lanes that may be read and have little left.
    pub(super) fn let_go_of(&mut self, lanes: &[LaneId]) {
        // Asked for each batch: who is not held costs nothing.
        if !lanes
            .iter()
            .any(|id| self.lanes.get(*id).is_some_and(|lane| lane.held))
        {
            return;
        }
        let kept = self.share();
        let mut list = List::new();
        for id in lanes {
            let lane = self.lanes.get_mut(*id);
            if let Some(lane) = lane.filter(|lane| kept.lets_go(lane)) {
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

    /// Answers the group, and tells librdkafka where the lanes that stay go on; `leaving` are those that do not.
    ///
    /// It pauses every partition until a member answers, and goes on from where it believes the application to be; and
    /// the batch call counts every report as a message (confluentinc/librdkafka issue 4844), that of an end as well as
    /// that of an error, so that is one too far: the first message after it would be skipped, or the broker asked for an
    /// offset that is not there. So they stay paused until they have been told. What was fetched is thrown away by
    /// librdkafka's own pause in any case.
    pub(super) fn answer<T>(&self, leaving: &[LaneId], answer: impl FnOnce(&Consumer) -> T) -> T {
        let mut list = List::new();
        let goes_on = |lane: &Lane| !lane.held && lane.standing == Standing::Readable;
        for (id, lane) in self.lanes.iter().filter(|(_, lane)| goes_on(lane)) {
            if !leaving.contains(&id) {
                let next = i64::try_from(lane.next).unwrap_or(i64::MAX);
                list.add_at(&lane.topic, lane.partition, next);
            }
        }
        if list.is_empty() {
            return answer(&self.consumer);
        }
        let paused = self.consumer.pause(&list);
        let answered = answer(&self.consumer);
        let told = self.consumer.seek(&list).and_then(|()| match paused {
            Ok(()) => self.consumer.resume(&list),
            Err(fault) => Err(fault),
        });
        if let Err(fault) = told {
            tracing::warn!(subscription = %self.plan.subscription, reason = %fault, "reading may not go on where it was");
        }
        answered
    }

    /// Takes a partition anew that librdkafka has stopped because it could not read on: a seek does nothing then, and
    /// the partition would stand still for ever.
    pub(super) fn begin_anew(&mut self, id: LaneId) {
        let mut one = List::new();
        if let Some(lane) = self.lanes.get(id) {
            let next = i64::try_from(lane.next).unwrap_or(i64::MAX);
            one.add_at(&lane.topic, lane.partition, next);
        }
        let told = match self.consumer.protocol() {
            // All that there are, each from where it is.
            Protocol::Eager => self.consumer.assign(&self.kept()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_keep_no_more_than_a_bound_together_and_few_keep_as_much_as_is_worth_it() {
        const BATCH: usize = 512 << 10;
        const QUEUE: usize = 16 << 20;
        let most = Kept {
            bytes: 2 * QUEUE,
            batches: 512,
            least: 2 * BATCH,
        };
        assert_eq!(Kept::of(BATCH, QUEUE, 0), most);
        assert_eq!(Kept::of(BATCH, QUEUE, 2), most);
        // A lane that is slow keeps little, one that is fast for longer than a fetch may take.
        assert_eq!(most.bytes_of(0), 2 * BATCH);
        assert_eq!(most.bytes_of(10 * BATCH), 12 * BATCH);
        assert_eq!(most.bytes_of(usize::MAX), 2 * QUEUE);
        for lanes in 1..3_000 {
            let kept = Kept::of(BATCH, QUEUE, lanes);
            assert!(
                kept.bytes_of(usize::MAX) * lanes <= SHARED_QUEUES * QUEUE,
                "{lanes}: {kept:?}"
            );
            assert!(kept.batches * lanes <= SHARED_SMALL_BATCHES, "{lanes}: {kept:?}");
        }
        let least = Kept::of(1, 1, 100_000);
        assert_eq!((least.bytes_of(1 << 20), least.batches), (1, 1));
    }
}
