//! What handlers return is handed to the broker, and its message's position closed once the broker has kept it. See
//! [`Pipeline`](crate::pipeline::Pipeline).

use super::run::Work;
use super::{Dispatcher, STRETCH};
use crate::effects::{OutputId, prepare};
use crate::ledger::Ticket;
use crate::panics::text_of;
use crate::pipeline::{Ended, Load, Owner, Pipeline, Sent};
use crate::span::Cause;
use crate::tasks::{Stage, Task, TaskId};
use crate::verdict::Verdict;
use std::task::Poll;
use tidings_core::{Delivery, Failure, FailureKind, Outputs, PublishError};

impl Dispatcher {
    /// A message was handled, and this is what its handler returned. The slot and the key are free as soon as the broker
    /// has it: it keeps the order of the calls.
    pub(super) fn publish_outputs(&mut self, id: TaskId, slot: usize, outputs: Outputs) {
        // What the handler returned is encoded while its message is marked, since it may be too much for the process.
        self.mark_here(slot, &[id]);
        let Some(task) = self.tasks.get(id) else {
            return self.slots.give_back(slot);
        };
        let index = task.lane;
        let (channel, cause) = (self.spec.output.as_deref(), &task.delivery);
        let ids = OutputId::new(cause, &self.spec.context);
        let prepared = prepare(
            self.publisher(),
            channel,
            outputs,
            Some(cause),
            &ids,
            &self.answers,
        );
        let prepared = match prepared {
            Ok(prepared) if prepared.is_empty() => return self.done(id, Some(slot)),
            Ok(prepared) => prepared,
            Err(error) => return self.on_published(id, Some(slot), Err(error)),
        };
        self.slots.give_back(slot);
        let sent = Sent::new(prepared, self.holds_outputs(index));
        self.track(index, Owner::Task(id), sent);
        self.tasks.set_stage(id, Stage::Publishing);
        self.give_key_back(id);
        self.poll_new_outputs(index);
    }

    /// The same for a message of a lane that was handled in turn. It becomes a task only if what it returned is refused.
    pub(super) fn publish_of_turn(
        &mut self,
        index: usize,
        slot: usize,
        message: (Delivery, Ticket),
        outputs: Outputs,
    ) {
        let channel = self.spec.output.as_deref();
        let ids = OutputId::new(&message.0, &self.spec.context);
        let prepared = prepare(
            self.publisher(),
            channel,
            outputs,
            Some(&message.0),
            &ids,
            &self.answers,
        );
        self.slots.give_back(slot);
        let held = self.holds_outputs(index);
        self.follow(index, message, prepared.map(|prepared| Sent::new(prepared, held)));
    }

    /// What a message of a lane returned that was handled in turn is on its way, or cannot be.
    pub(super) fn follow(
        &mut self,
        index: usize,
        (delivery, ticket): (Delivery, Ticket),
        sent: Result<Sent, PublishError>,
    ) {
        match sent {
            Ok(sent) if sent.is_empty() => self.handled(index, &delivery, ticket),
            Ok(sent) => {
                self.track(index, Owner::Handled(delivery, ticket), sent);
                self.poll_new_outputs(index);
            }
            Err(error) => {
                let id = self.add_task(Task::new(delivery, index, ticket, None));
                self.on_published(id, None, Err(error));
            }
        }
    }

    /// Whether outputs of a lane are kept back for now.
    pub(super) fn holds_outputs(&self, index: usize) -> bool {
        self.lane(index).is_some_and(|lane| lane.outputs.holds())
    }

    fn track(&mut self, index: usize, owner: Owner, sent: Sent) {
        let deadline = self.now + self.effects.timeout;
        self.change_outputs(index, |pipeline| pipeline.push(owner, sent, deadline));
    }

    fn give_key_back(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let held = task.key.take().filter(|_| task.holds_key);
        task.holds_key = false;
        if let Some(key) = held {
            self.release(key);
        }
    }

    /// Sees to it that somebody polls the outputs of a lane.
    fn poll_new_outputs(&mut self, index: usize) {
        let is_new = self
            .lane_mut(index)
            .is_some_and(|lane| !std::mem::replace(&mut lane.outputs.polled, true));
        if is_new {
            let slot = self.slots.take();
            self.publishing += 1;
            self.poll_outputs(slot, index, 0);
        }
    }

    /// Takes what the broker has answered for. `reached` tells how many messages were answered for since the slot was taken.
    pub(super) fn poll_outputs(&mut self, slot: usize, index: usize, mut reached: usize) {
        for _ in 0..STRETCH {
            let (effects, slots) = (&self.effects, &mut self.slots);
            let Some(lane) = self.lanes.get_mut(index).and_then(Option::as_mut) else {
                return self.end_publishing(slot);
            };
            let before = lane.outputs.load();
            let polled = slots.poll(slot, |context| lane.outputs.poll(context, effects));
            let after = lane.outputs.load();
            if polled.is_ready() && matches!(polled, Poll::Ready(None)) {
                lane.outputs.polled = false;
            }
            self.count_outputs(before, after);
            match polled {
                Poll::Ready(Some(ended)) => {
                    reached += 1;
                    self.on_answered(index, ended);
                }
                Poll::Ready(None) => return self.end_publishing(slot),
                Poll::Pending => {
                    return self.slots.put(slot, Work::Outputs { lane: index, reached });
                }
            }
        }
        // Others want to go on as well.
        self.slots.put(slot, Work::Outputs { lane: index, reached });
        self.slots.wake(slot);
    }

    fn end_publishing(&mut self, slot: usize) {
        self.publishing -= 1;
        self.slots.give_back(slot);
    }

    /// The outputs of a lane are not waited for any more. How many messages they are of.
    pub(super) fn give_up_outputs(&mut self, index: usize) -> usize {
        self.publishing -= 1;
        let Some(lane) = self.lane_mut(index) else {
            return 0;
        };
        lane.outputs.polled = false;
        self.change_outputs(index, |pipeline| {
            let load = pipeline.load();
            pipeline.clear();
            load.messages
        })
        .unwrap_or_default()
    }

    fn change_outputs<T>(&mut self, index: usize, change: impl FnOnce(&mut Pipeline) -> T) -> Option<T> {
        let lane = self.lanes.get_mut(index)?.as_mut()?;
        let before = lane.outputs.load();
        let changed = change(&mut lane.outputs);
        let after = lane.outputs.load();
        self.count_outputs(before, after);
        Some(changed)
    }

    fn count_outputs(&mut self, before: Load, after: Load) {
        self.on_the_way.messages = self.on_the_way.messages + after.messages - before.messages;
        self.on_the_way.bytes = self.on_the_way.bytes + after.bytes - before.bytes;
    }

    fn on_answered(&mut self, index: usize, Ended { owner, result }: Ended) {
        let (delivery, ticket) = match owner {
            Owner::Task(id) => return self.on_published(id, None, result),
            Owner::Handled(delivery, ticket) => (delivery, ticket),
        };
        if result.is_err() {
            let id = self.add_task(Task::new(delivery, index, ticket, None));
            return self.on_published(id, None, result);
        }
        self.handled(index, &delivery, ticket);
    }

    /// A message that is no task is handled, with all that it returned.
    fn handled(&mut self, index: usize, delivery: &Delivery, ticket: Ticket) {
        self.board.counters.handled.add(1);
        if let Some(lane) = self.lane_mut(index) {
            lane.finish(ticket);
            lane.forget_attempts(delivery.lane_offset());
        }
    }

    /// The broker has answered for all that a handler returned.
    fn on_published(&mut self, id: TaskId, slot: Option<usize>, result: Result<(), PublishError>) {
        if let Some(doubt) = self.doubtful(&result) {
            // Whatever becomes of it counts for nothing.
            if let Some(slot) = slot {
                self.slots.give_back(slot);
            }
            return self.break_off(Cause::Trouble(doubt));
        }
        let Err(error) = result else {
            return self.done(id, slot);
        };
        // The handler did its work: running it again would do it twice, and help nothing.
        let said = text_of(&Failure::new(FailureKind::Permanent, error));
        self.note_failure(id, FailureKind::Permanent, &said);
        let verdict = Verdict::GiveUp("permanent");
        self.note_in_span(id, &verdict, &said);
        // Some of what it returned may be published.
        self.break_off(Cause::Handling);
        self.give_up(id, slot, verdict, &said);
    }
}
