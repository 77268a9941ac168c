//! When progress is stored, and what became of it: [`Commits`].

use crate::native::{Consumer, List};
use crate::progress::{self, Room};
use crate::source::lane::Lanes;
use crate::trouble::Fault;
use std::time::Duration;
use tidings_core::{Epoch, LaneId};
use tokio::time::Instant;

/// The first wait after a commit that failed, doubled up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// So many commits in a row may meet a group that settles; beyond that this member may be out of it.
const PATIENT_WITH: u32 = 20;

/// What was reported and may not be stored yet. One commit is under way at a time, so that an older one never comes
/// after a newer; lanes that are handed over are the exception, because they don't come again.
#[derive(Debug)]
pub(crate) struct Commits {
    interval: Duration,
    every: u64,
    /// Since when something is not stored.
    since: Option<Instant>,
    /// How many messages were finished since then.
    messages: u64,
    under_way: Vec<UnderWay>,
    numbers: usize,
    /// After a failure.
    not_before: Option<Instant>,
    wait: Duration,
    failure: Option<Fault>,
    /// How many commits in a row met a group that was settling.
    rebalances: u32,
    /// How much text the broker takes beside an offset.
    room: Room,
}

#[derive(Debug)]
struct UnderWay {
    number: usize,
    lanes: Vec<(LaneId, Epoch, u64)>,
}

/// Which lanes to store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    All,
    These(&'a [LaneId]),
}

impl Commits {
    pub(crate) fn new(interval: Duration, every: u64) -> Self {
        Self {
            interval,
            every: every.max(1),
            since: None,
            messages: 0,
            under_way: Vec::new(),
            numbers: 0,
            not_before: None,
            wait: FIRST_WAIT,
            failure: None,
            rebalances: 0,
            room: Room::default(),
        }
    }

    /// Something was reported.
    pub(crate) fn note(&mut self, messages: u64) {
        self.messages += messages;
        self.since.get_or_insert_with(Instant::now);
    }

    /// Something must be stored soon.
    pub(crate) fn hurry(&mut self) {
        self.note(self.every);
    }

    pub(crate) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// When to look again; none when there is nothing to store or an answer is awaited.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.is_under_way() {
            return None;
        }
        let since = self.since?;
        let due = match self.messages >= self.every {
            true => since,
            false => since + self.interval,
        };
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// When it may be tried again after a failure.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before.filter(|at| *at > Instant::now())
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    /// The last failure, unless something was stored since.
    pub(crate) fn take_failure(&mut self) -> Option<Fault> {
        self.failure.take()
    }

    /// Starts to store what is not stored. False if there is nothing, or it could not be started.
    pub(crate) fn start(&mut self, consumer: &Consumer, lanes: &Lanes, of: Of<'_>) -> bool {
        let mut list = List::new();
        let mut snapshot = Vec::new();
        let wanted = |id: &LaneId| match of {
            Of::All => true,
            Of::These(these) => these.contains(id),
        };
        for (id, lane) in lanes.iter().filter(|(id, _)| wanted(id)) {
            let Some(reported) = lane.reported.as_ref().filter(|_| lane.is_dirty()) else {
                continue;
            };
            let watermark = i64::try_from(reported.progress.watermark).unwrap_or(i64::MAX);
            let metadata = progress::encode_within(self.room.bytes(), &reported.progress, lane.began_with);
            list.add_with(&lane.topic, lane.partition, watermark, &metadata);
            snapshot.push((id, lane.epoch, reported.version));
        }
        if matches!(of, Of::All) {
            (self.since, self.messages) = (None, 0);
        }
        if snapshot.is_empty() {
            return false;
        }
        self.numbers += 1;
        match consumer.commit(&list, self.numbers) {
            Ok(()) => {
                self.under_way.push(UnderWay {
                    number: self.numbers,
                    lanes: snapshot,
                });
                true
            }
            Err(fault) => {
                self.fail(fault);
                false
            }
        }
    }

    /// An answer came. Whether the progress is stored.
    pub(crate) fn answered(&mut self, number: usize, fault: Option<Fault>, lanes: &mut Lanes) -> bool {
        let found = self.under_way.iter().position(|one| one.number == number);
        let Some(answered) = found.map(|index| self.under_way.swap_remove(index)) else {
            return false;
        };
        if let Some(fault) = fault {
            self.fail(fault);
            return false;
        }
        (self.wait, self.not_before, self.failure) = (FIRST_WAIT, None, None);
        self.rebalances = 0;
        for (id, epoch, version) in answered.lanes {
            let lane = lanes.get_mut(id).filter(|lane| lane.epoch == epoch);
            if let Some(reported) = lane.and_then(|lane| lane.reported.as_mut()) {
                reported.stored = reported.stored.max(version);
            }
        }
        true
    }

    fn fail(&mut self, fault: Fault) {
        if fault.is_of_text() && self.room.bytes() > 0 {
            // The position counts, the text saves work at a restart.
            self.room.shrink();
            self.hurry();
            return;
        }
        self.rebalances += 1;
        if fault.is_rebalance() && self.rebalances < PATIENT_WITH {
            // Members are on their way in or out. Whoever waits for the commit goes on waiting.
            self.not_before = Some(Instant::now() + FIRST_WAIT);
            self.since.get_or_insert_with(Instant::now);
            return;
        }
        if !fault.is_left_out() {
            tracing::warn!(reason = %fault, "progress could not be stored yet; it is tried again");
        }
        self.not_before = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.failure = Some(fault);
        // It stays reported: the next round takes it along.
        self.since.get_or_insert_with(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::RDKafkaErrorCode as Code;

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_takes_less_text_is_asked_again_at_once_until_the_position_stands_alone() {
        let mut commits = Commits::new(Duration::from_secs(60), 1_000);
        let refused = || Fault::new(Code::OffsetMetadataTooLarge, String::new());
        let mut rounds = 0;
        while commits.room.bytes() > 0 {
            commits.fail(refused());
            assert!(commits.is_due() && commits.not_before().is_none());
            assert_eq!(commits.take_failure(), None, "whoever waits goes on waiting");
            rounds += 1;
        }
        assert_eq!(rounds, 13);
        // Without any text it is an error as others are.
        commits.fail(refused());
        assert!(commits.take_failure().is_some() && commits.not_before().is_some());
    }
}
