//! A lane that belongs to this subscription: its ledger, what was received of it, and what it waits for.

use crate::deaths::{self, Standing};
use crate::ledger::{Ledger, Ticket};
use crate::pipeline::Pipeline;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use tidings_core::{
    Assignment, Deaths, Delivery, Epoch, HandlerContext, LaneId, LaneInfo, LaneRole, Progress, RecordBatch,
};
use tokio::time::Instant;

/// At most so many ranges of finished offsets above the watermark are reported: what a restart handles again without
/// them is bounded by `max_in_flight` anyway.
const REPORTED_RANGES: usize = 128;
/// At most so many counts of attempts are reported, lowest offsets first.
const REPORTED_ATTEMPTS: usize = 1_024;

/// How much of what is finished is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is cheap to tell often.
    Bounded,
    /// Everything: the lane is left in order, and nothing is to be handled again.
    All,
}

/// Records of one batch that were received and not looked at.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// The delivery of the next record; moved on from record to record.
    pub(crate) delivery: Delivery,
    /// The ticket of the first record that was opened.
    first: Ticket,
    /// Records before that one, which were received before.
    skipped: usize,
    /// The next record.
    pub(crate) cursor: usize,
    /// How many records the batch has.
    pub(crate) len: usize,
}

impl Stretch {
    /// The ticket of a record.
    pub(crate) fn ticket(&self, index: usize) -> Ticket {
        self.first.plus(index - self.skipped)
    }
}

/// The items of a batch call that are gathered.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    /// Its number; 0 before the first.
    pub(crate) batch: u64,
    pub(crate) tasks: Vec<crate::tasks::TaskId>,
    /// Items whose key is held for them and for which there was no room; they come first in the next batch.
    pub(crate) overflow: VecDeque<crate::tasks::TaskId>,
    /// Whether the first item has waited long enough.
    pub(crate) due: bool,
    /// Calls that run.
    pub(crate) calls: usize,
}

/// What is kept in memory for a lane.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The last ticket and the size of each batch of which something may be open.
    batches: VecDeque<(Ticket, usize)>,
    /// The size of these batches.
    bytes: usize,
    /// The size of the messages that are tasks.
    pub(crate) tasks: usize,
}

impl Memory {
    fn received(&mut self, last: Ticket, bytes: usize) {
        self.batches.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// The size of the batches from the watermark on.
    pub(crate) fn batches(&mut self, ledger: &Ledger) -> usize {
        while let Some((last, bytes)) = self.batches.front()
            && ledger.is_below_watermark(*last)
        {
            self.bytes -= bytes;
            self.batches.pop_front();
        }
        self.bytes
    }
}

/// Where a lane goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seek {
    /// At that offset.
    To(u64),
    /// Where it is: its partner goes elsewhere.
    Along,
}

/// A lane that belongs to this subscription.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) epoch: Epoch,
    pub(crate) info: Arc<LaneInfo>,
    /// Which of the subscription's inputs it reads.
    pub(crate) input: usize,
    /// The other lane of its pair.
    pub(crate) partner: Option<usize>,
    /// The number of its pair: that of the main lane.
    pub(crate) pair: usize,
    pub(crate) ledger: Ledger,
    pub(crate) backlog: VecDeque<Stretch>,
    /// Where the lane ended when it was assigned.
    pub(crate) known_end: u64,
    /// Where this subscription's own messages end in it, for a retry lane.
    pub(crate) parked_end: u64,
    /// All records below were looked at, for a retry lane.
    pub(crate) looked_to: u64,
    /// Offsets above the first that were finished before it was assigned.
    finished_before: Vec<Range<u64>>,
    /// The last position that was received and had been finished before.
    finished_through: Option<Ticket>,
    /// Attempts that failed, of messages that wait in place.
    attempts: BTreeMap<u64, u32>,
    /// Messages that processes died of, or beside.
    deaths: BTreeMap<u64, Deaths>,
    /// The lane's name in the marks.
    pub(crate) tag: Option<u64>,
    /// Whether the source was told to stop.
    pub(crate) source_paused: bool,
    /// It is to be handed over, or to go on elsewhere: nothing starts any more.
    pub(crate) stopping: bool,
    /// When what still runs of a lane that stops is stopped.
    pub(crate) stop_by: Option<Instant>,
    /// Where it goes on once nothing of it runs.
    pub(crate) seek: Option<Seek>,
    /// The slot of a stretch that is being handled in turn.
    pub(crate) sequence: Option<usize>,
    /// Its tasks, in whatever stage.
    pub(crate) tasks: usize,
    /// What is kept in memory for it.
    pub(crate) memory: Memory,
    /// Messages are moved to the retry lane again after this time: it refused one.
    pub(crate) move_again: Option<Instant>,
    pub(crate) gather: Gather,
    /// What its handlers returned, on its way.
    pub(crate) outputs: Pipeline,
    /// Whether there is progress to report.
    pub(crate) changed: bool,
}

impl Lane {
    pub(crate) fn new(assignment: Assignment, input: usize) -> Self {
        let own = assignment.lane.0 as usize;
        let partner = assignment.partner.map(|lane| lane.0 as usize);
        Self {
            id: assignment.lane,
            epoch: assignment.epoch,
            info: Arc::new(LaneInfo {
                destination: assignment.destination,
                partition: assignment.partition,
                role: assignment.role,
            }),
            input,
            partner,
            pair: match assignment.role {
                LaneRole::Main => own,
                LaneRole::Retry => partner.unwrap_or(own),
            },
            ledger: Ledger::starting_at(assignment.next),
            backlog: VecDeque::new(),
            known_end: assignment.end,
            parked_end: assignment.end,
            looked_to: assignment.next,
            finished_before: assignment.finished,
            finished_through: None,
            attempts: assignment.attempts.into_iter().collect(),
            deaths: assignment
                .deaths
                .into_iter()
                .map(|deaths| (deaths.offset, deaths))
                .collect(),
            tag: assignment.marks.and_then(|marks| marks.tag),
            source_paused: false,
            stopping: false,
            stop_by: None,
            seek: None,
            sequence: None,
            tasks: 0,
            memory: Memory::default(),
            move_again: None,
            gather: Gather::default(),
            outputs: Pipeline::default(),
            changed: false,
        }
    }

    /// Whether anything of it runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.tasks > 0 || self.sequence.is_some() || self.gather.calls > 0 || self.outputs.load().messages > 0
    }

    /// The lane as it goes on where it was asked to. A retry lane goes on at its own watermark and keeps what is known of
    /// its messages, those that came meanwhile included; a main lane begins anew, and nothing is known of what it reads.
    pub(crate) fn moved(mut self) -> Self {
        let told = self.progress(Extent::All);
        let keeps = self.is_retry();
        let known = |progress: Progress| match keeps {
            true => (progress.finished, progress.attempts),
            false => (Vec::new(), Vec::new()),
        };
        let (finished, attempts) = known(told);
        let next = match self.seek {
            Some(Seek::To(offset)) => offset,
            // What ended meanwhile has moved it on.
            Some(Seek::Along) | None => self.ledger.watermark(),
        };
        let received = self.ledger.next_offset();
        let assignment = Assignment {
            lane: self.id,
            epoch: self.epoch,
            destination: self.info.destination.clone(),
            partition: self.info.partition,
            role: self.info.role,
            partner: self.partner.map(|partner| LaneId(partner as u32)),
            next,
            end: self.known_end.max(self.parked_end).max(received),
            finished,
            attempts,
            deaths: Vec::new(),
            marks: None,
        };
        let mut lane = Self::new(assignment, self.input);
        lane.info = self.info;
        lane.tag = self.tag;
        lane.deaths = if keeps { self.deaths } else { BTreeMap::new() };
        lane.changed = true;
        lane
    }

    pub(crate) fn is_retry(&self) -> bool {
        self.info.role == LaneRole::Retry
    }

    /// Opens the positions of a batch; those that were finished before are closed at once.
    pub(crate) fn receive(&mut self, batch: RecordBatch, context: &Arc<HandlerContext>) {
        let next = batch.next();
        let (first, count) = self.open_positions(&batch);
        self.ledger.pass(next);
        self.changed |= count == 0;
        if let Some(first) = first {
            self.memory.received(first.plus(count - 1), batch.memory_bytes());
            let len = batch.len();
            let skipped = len - count;
            let delivery = Delivery::new(Arc::new(batch), skipped, self.info.clone(), context.clone());
            self.backlog.push_back(Stretch {
                delivery,
                first,
                skipped,
                cursor: skipped,
                len,
            });
        }
        self.finished_before.retain(|range| range.end > next);
    }

    /// The first ticket and how many there are.
    fn open_positions(&mut self, batch: &RecordBatch) -> (Option<Ticket>, usize) {
        let records = batch.records();
        if self.finished_before.is_empty()
            && let Some(first) = records.first()
            && first.offset >= self.ledger.next_offset()
        {
            let first = self.ledger.open_all(records.iter().map(|record| record.offset));
            return (Some(first), records.len());
        }
        let (mut first, mut count) = (None, 0);
        for record in records {
            if record.offset < self.ledger.next_offset() {
                // A source that goes back without a new epoch would hand out a message twice at once.
                continue;
            }
            let ticket = self.ledger.open(record.offset);
            first.get_or_insert(ticket);
            count += 1;
            if self
                .finished_before
                .iter()
                .any(|range| range.contains(&record.offset))
            {
                self.ledger.finish(ticket);
                self.finished_through = Some(ticket);
                self.changed = true;
            }
        }
        (first, count)
    }

    /// Closes a position.
    pub(crate) fn finish(&mut self, ticket: Ticket) {
        self.ledger.finish(ticket);
        self.changed = true;
    }

    /// Closes so many positions from one on.
    pub(crate) fn finish_range(&mut self, first: Ticket, count: usize) {
        self.ledger.finish_range(first, count);
        self.changed = true;
    }

    /// Remembers that attempts failed, so that a restart does not start the count again.
    pub(crate) fn note_attempts(&mut self, offset: u64, used: u32) {
        self.attempts.insert(offset, used);
        self.changed = true;
    }

    /// Forgets the attempts of a finished message, and the deaths.
    pub(crate) fn forget_attempts(&mut self, offset: u64) {
        if !self.deaths.is_empty() {
            self.deaths.remove(&offset);
        }
        if !self.attempts.is_empty() {
            self.attempts.remove(&offset);
        }
    }

    /// Attempts that failed before, also before a restart.
    pub(crate) fn attempts_of(&self, offset: u64) -> u32 {
        if self.attempts.is_empty() {
            0
        } else {
            self.attempts.get(&offset).copied().unwrap_or(0)
        }
    }

    /// Whether something is known of a message from before.
    pub(crate) fn is_known(&self, offset: u64) -> bool {
        self.attempts_of(offset) > 0 || self.deaths.contains_key(&offset)
    }

    /// Whether processes died of any message, or beside it.
    pub(crate) fn has_deaths(&self) -> bool {
        !self.deaths.is_empty()
    }

    /// How a message is to be handled, how many attempts its deaths count as, and how many deaths that are.
    pub(crate) fn standing_of(&self, offset: u64) -> (Standing, u32, u32) {
        match self.deaths.get(&offset) {
            Some(deaths) => (deaths::standing(deaths), deaths::attempts(deaths), deaths.count()),
            None => (Standing::Usual, 0, 0),
        }
    }

    /// Whether nothing is known of any record from `next` on: no earlier attempts, deaths or success. That nothing above
    /// the watermark is finished does not say it: the watermark runs ahead of `next` over what was finished before the lane
    /// was assigned.
    pub(crate) fn is_unknown(&self, next: Ticket) -> bool {
        self.attempts.is_empty()
            && self.deaths.is_empty()
            && self.finished_through.is_none_or(|last| last < next)
    }

    /// Whether bounded progress leaves something out.
    pub(crate) fn has_more_to_tell(&self) -> bool {
        self.attempts.len() > REPORTED_ATTEMPTS
            || self.finished_ranges(REPORTED_RANGES + 1).len() > REPORTED_RANGES
    }

    /// Ranges of finished offsets above the watermark, at most `limit`, lowest first. What was finished before the
    /// lane was assigned and is still to be received is among them: a report replaces the one before, and without them
    /// the next owner would handle those messages again.
    fn finished_ranges(&self, limit: usize) -> Vec<Range<u64>> {
        let mut ranges = self.ledger.finished_ranges(limit);
        let received = self.ledger.next_offset();
        let to_come = self
            .finished_before
            .iter()
            .map(|range| range.start.max(received)..range.end);
        let room = limit.saturating_sub(ranges.len());
        ranges.extend(to_come.filter(|range| !range.is_empty()).take(room));
        ranges
    }

    /// Whether everything that is finished is told with so many ranges.
    pub(crate) fn can_be_told(&self, ranges: usize) -> bool {
        self.finished_ranges(ranges + 1).len() <= ranges
    }

    /// What is finished.
    pub(crate) fn progress(&mut self, extent: Extent) -> Progress {
        let (ranges, attempts) = match extent {
            Extent::Bounded => (REPORTED_RANGES, REPORTED_ATTEMPTS),
            Extent::All => (usize::MAX, usize::MAX),
        };
        let watermark = self.ledger.watermark();
        self.attempts = self.attempts.split_off(&watermark);
        self.deaths = self.deaths.split_off(&watermark);
        Progress {
            watermark,
            finished: self.finished_ranges(ranges),
            attempts: self
                .attempts
                .iter()
                .take(attempts)
                .map(|(offset, used)| (*offset, *used))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{Clock, Message, Publisher, Routes};

    fn context() -> Arc<HandlerContext> {
        Arc::new(HandlerContext {
            app: "shop".into(),
            subscription: "billing".into(),
            group: Some("billing".into()),
            publisher: Publisher::new(Arc::new(Routes::default()), Clock::System),
            clock: Clock::System,
        })
    }

    fn lane(finished: Vec<Range<u64>>) -> Lane {
        let assignment = Assignment {
            lane: LaneId(0),
            epoch: Epoch(1),
            destination: "orders".into(),
            partition: 0,
            role: LaneRole::Main,
            partner: None,
            next: 10,
            end: 30,
            finished,
            attempts: Vec::new(),
            deaths: Vec::new(),
            marks: None,
        };
        Lane::new(assignment, 0)
    }

    fn receive_five(lane: &mut Lane) {
        let messages = vec![Message::new("tea"); 5];
        let batch = RecordBatch::from_messages(LaneId(0), Epoch(1), 10, &messages);
        lane.receive(batch, &context());
    }

    #[test]
    fn what_was_finished_before_is_not_handled_in_turn_when_the_watermark_has_run_over_it() {
        let mut lane = lane(vec![11..12, 12..13]);
        receive_five(&mut lane);
        let ticket = |index| lane.backlog.front().unwrap().ticket(index);
        let tickets: Vec<_> = (0..5).map(ticket).collect();
        lane.finish(tickets[0]);
        assert_eq!(lane.ledger.watermark(), 13);
        let unknown: Vec<_> = tickets.iter().map(|next| lane.is_unknown(*next)).collect();
        assert_eq!(unknown, [false, false, false, true, true]);
    }

    #[test]
    fn what_was_finished_before_and_is_not_received_yet_stays_in_every_report() {
        let mut lane = lane(vec![11..12, 14..16, 20..21]);
        let told = |lane: &mut Lane| lane.progress(Extent::All).finished;
        assert_eq!(told(&mut lane), [11..12, 14..16, 20..21]);
        receive_five(&mut lane);
        assert_eq!(
            told(&mut lane),
            [11..12, 14..15, 15..16, 20..21],
            "in the middle of a range the batch ends"
        );
    }
}
