//! Messages that are suspected of killing the process: handled alone, and dead letters when that proves it.
//!
//! While a suspect is handled nothing else is started in any subscription of the broker. The source is asked as ever, so
//! membership lives; only handlers wait. Every wait ends by time: another subscription's handler that never ends, or a
//! suspect's own, holds up nobody for ever.

use super::{Dispatcher, STRETCH};
use crate::deaths::Standing;
use crate::lane::Stretch;
use crate::tasks::{Stage, TaskId};
use crate::timers::Timer;
use tidings_core::{Company, Passage};
use tokio::time::Instant;

/// Whether this subscription handles something alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Solitude {
    /// It has no suspect.
    #[default]
    Unwanted,
    /// It waits until the others are quiet.
    Asked { until: Instant },
    /// Others start nothing.
    Granted { until: Instant },
}

impl Dispatcher {
    /// How the record that the stretch stands at is to be handled.
    pub(super) fn standing(&self, index: usize, stretch: &Stretch) -> Standing {
        match self.lane(index) {
            Some(lane) if lane.has_deaths() => lane.standing_of(stretch.delivery.lane_offset()).0,
            _ => Standing::Usual,
        }
    }

    /// A task that holds its key does not run as others do.
    pub(super) fn set_aside(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id) else { return };
        match task.standing {
            Standing::Condemned => self.condemn(id),
            _ => {
                self.tasks.set_stage(id, Stage::Queued);
                self.suspects.push_back(id);
            }
        }
    }

    /// Processes died of it: its handler is not called again.
    fn condemn(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let now = self.spec.context.clock.now();
        let said = match task.deaths {
            1 => "the process died while handling it, once and alone".to_owned(),
            deaths => format!("the process died while handling it, {deaths} times"),
        };
        task.first_failure.get_or_insert(now);
        self.board.counters.failed.add(1);
        self.board
            .edit(|status| status.last_failure = Some((now, said.clone())));
        self.dead_letter(id, None, "killed", &said);
    }

    /// Whether nothing may be started, because of this subscription's suspects or of another's. Starts suspects that may
    /// be. True if there are more of them to start.
    pub(super) fn pass_gate(&mut self, now: Instant) -> bool {
        for _ in 0..STRETCH {
            if !self.step_at_gate(now) {
                return false;
            }
        }
        true
    }

    /// The same at the end of a round: what was finished may let a suspect begin, here or elsewhere, and what was held
    /// back go on. True if there is more to do.
    pub(super) fn pass_gate_again(&mut self, now: Instant) -> bool {
        let was_held_back = self.held_back;
        if !was_held_back && self.suspects.is_empty() {
            return false;
        }
        self.pass_gate(now) || (was_held_back && !self.held_back)
    }

    /// True if something changed.
    fn step_at_gate(&mut self, now: Instant) -> bool {
        let handling = self.slots.handling();
        let wanted = self.wants_to_be_alone();
        match self.solitude {
            Solitude::Unwanted if wanted => self.ask_to_be_alone(now),
            Solitude::Asked { .. } if !wanted => self.end_solitude(),
            Solitude::Granted { until } if now >= until || (handling == 0 && !wanted) => self.end_solitude(),
            _ => {}
        }
        let passage = match &self.gate {
            Some(gate) => gate.look(handling),
            None if self.solitude == Solitude::Unwanted => Passage::Open,
            None => Passage::Alone,
        };
        self.held_back = passage != Passage::Open;
        if self.held_back {
            self.stop_sequences(|_| true);
        }
        match self.solitude {
            Solitude::Asked { until } if now >= until => self.start_suspect(now),
            Solitude::Asked { .. } if passage == Passage::Alone && handling == 0 => self.start_suspect(now),
            Solitude::Granted { .. } if handling == 0 && wanted => self.start_suspect(now),
            _ => false,
        }
    }

    fn wants_to_be_alone(&mut self) -> bool {
        while let Some(id) = self.suspects.front()
            && self.tasks.get(*id).is_none()
        {
            self.suspects.pop_front();
        }
        !self.paused && !self.draining && !self.suspects.is_empty()
    }

    fn ask_to_be_alone(&mut self, now: Instant) {
        if let Some(gate) = &self.gate {
            gate.ask();
        }
        // Then it begins beside them: who still waits for something after all this time is no likelier than the suspect to
        // be the reason, and who executes is marked so.
        let until = now + self.spec.policy.alone.wait;
        self.timers.set(until, Timer::Look);
        self.solitude = Solitude::Asked { until };
    }

    fn end_solitude(&mut self) {
        self.solitude = Solitude::Unwanted;
        self.slots.have_company();
        if let Some(gate) = &self.gate {
            gate.withdraw();
        }
    }

    /// Handles the next suspect alone. False if the rate does not allow it.
    fn start_suspect(&mut self, now: Instant) -> bool {
        if self.rate_allows(now) == 0 {
            return false;
        }
        let Some(id) = self.suspects.pop_front() else {
            return false;
        };
        let Some(task) = self.tasks.get(id) else {
            return true;
        };
        tracing::warn!(subscription = %self.spec.context.subscription, position = %task.delivery.position(), deaths = task.deaths,
            "processes died while they handled this message: it is handled alone");
        let times = task.died.saturating_sub(2).min(16);
        // Twice as long after each more death, for what kills slowly.
        let alone = self.spec.policy.alone;
        let until = now + alone.time.saturating_mul(1 << times).min(alone.time_max);
        self.timers.set(until, Timer::Look);
        self.solitude = Solitude::Granted { until };
        if !self.drop_if_filtered(id) {
            self.start_task(id);
        }
        true
    }

    /// A suspect is put to the filter only now: that may be what kills.
    fn drop_if_filtered(&mut self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(id) else {
            return true;
        };
        let lane = task.lane;
        let is_main = self.lane(lane).is_some_and(|lane| !lane.is_retry());
        if self.spec.filter.is_none() || !is_main {
            return false;
        }
        let delivery = task.delivery.clone();
        let filtered = self.is_filtered(lane, &delivery);
        if filtered {
            self.board.counters.filtered.add(1);
            self.close(id, None);
        }
        filtered
    }

    /// Whether what is started now is alone.
    pub(super) fn company(&self) -> Company {
        match self.solitude {
            Solitude::Granted { .. } => Company::Nobody,
            _ => Company::Others,
        }
    }
}
