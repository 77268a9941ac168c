//! Says which message is not finished after a long time. It stops nothing: a handler may be slow for a good reason, and
//! only `timeout` says that it is not.

use super::Dispatcher;
use super::run::Work;
use crate::pipeline::Owner;
use crate::status::STUCK;
use std::time::Duration;
use tokio::time::Instant;

/// Work is looked at so many times before it counts as stuck, so its age is wrong by a part of that time at the most.
const LOOKS: u32 = 4;
/// Nor less often than this, so that health tells soon when it is over.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Nor more often: a `stuck_after` of nothing would have the engine look at nothing else.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// What is known of stuck work.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// A timer is set. There is none while nothing is pending.
    watching: bool,
    /// What was named: the slot, and the message by lane and offset.
    named: Option<(usize, (usize, u64))>,
}

/// How far pending work is. A stretch that is handled in turn is one piece of work with many messages.
fn progress(work: &Work) -> usize {
    match work {
        Work::Turn { turn, .. } => turn.progress(),
        Work::Outputs { reached, .. } => *reached,
        _ => 0,
    }
}

impl Dispatcher {
    /// Sees to it that somebody looks while something is pending, and says at once when what was named is over.
    #[inline]
    pub(super) fn watch(&mut self, now: Instant) {
        if let Some((slot, _)) = self.stuck.named
            && !self.slots.is_as_seen(slot, progress)
        {
            self.stuck.named = None;
            self.board.set_obstacle(STUCK, None);
        }
        if self.stuck.watching || self.slots.in_use() == 0 {
            return;
        }
        if let Some(after) = self.spec.policy.stuck_after {
            self.stuck.watching = true;
            self.timers.set(
                now + (after / LOOKS).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
                crate::timers::Timer::Stuck,
            );
        }
    }

    pub(super) fn look_for_stuck(&mut self, now: Instant) {
        self.stuck.watching = false;
        let after = self.spec.policy.stuck_after.unwrap_or(Duration::MAX);
        let longest = self.slots.longest_seen(now, progress);
        let stuck = longest.filter(|(_, age)| *age >= after);
        let Some((slot, age)) = stuck else { return };
        let Some((lane, offset)) = self.message_in(slot) else {
            return;
        };
        let Some(info) = self.lane(lane).map(|lane| lane.info.clone()) else {
            return;
        };
        let said = format!(
            "the message {}/{}@{offset} is not finished after {age:.0?} (stuck_after {after:?}): look at its handler; \
             timeout would stop it",
            info.destination, info.partition
        );
        let named = (slot, (lane, offset));
        if self.stuck.named.replace(named) != Some(named) {
            tracing::warn!(subscription = %self.spec.context.subscription, "{said}");
        }
        self.board.set_obstacle(STUCK, Some(said));
    }

    /// Lane and offset of the message that a slot works on; of a batch, its first.
    fn message_in(&mut self, slot: usize) -> Option<(usize, u64)> {
        let task = match self.slots.work_mut(slot)? {
            Work::Turn { turn, .. } => return Some((turn.lane(), turn.current_offset())),
            Work::Outputs { lane, .. } => {
                let lane = *lane;
                match self.lane(lane)?.outputs.head()? {
                    Owner::Task(task) => *task,
                    Owner::Handled(delivery, _) => return Some((lane, delivery.lane_offset())),
                }
            }
            Work::Call { task, .. } | Work::Effect { task, .. } => *task,
            Work::Batch { call, .. } | Work::BatchOutputs { call, .. } => *call.tasks.first()?,
        };
        let task = self.tasks.get(task)?;
        Some((task.lane, task.delivery.lane_offset()))
    }
}
