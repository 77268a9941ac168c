//! What became of messages that were written to a channel: [`Confirms`].
//!
//! A message that no queue wants comes back before its confirmation. lapin hands it out with *whichever* confirmation it
//! resolves next: of those that one acknowledgement covers it takes them in the order of a hash map, and a return may
//! even go with the confirmation of a message that was acknowledged earlier. So a return is known by the number that it
//! carries, and a confirmation without a return says nothing yet about its own message.
//!
//! What it does say: when lapin resolves a confirmation, every return that came before it has been handed out with that
//! one or one resolved before. The return of a message comes before its acknowledgement. So a message was kept if it is not
//! among the returns of all confirmations that were resolved up to its own. These are found without asking each that is
//! open: a confirmation that was asked once puts itself on a list when it is resolved, in that order; and one that was not
//! asked yet is still within its publish, which lapin completes when the frames are written, before it can read an answer to
//! them. So each turn looks at the list and then at the publishes. What it finds on the list is certain at the end of the
//! turn; what was resolved when it was first asked is certain one turn later.

use super::bell::Bell;
use crate::message::Mark;
use lapin::message::BasicReturnMessage;
use lapin::{Confirmation, PublisherConfirm};
use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A publish that lapin has not written yet. Its memory is used again for another one: such a future is large, and an
/// allocation of that size costs more than the rest of what is done here for a message.
struct Writing<F> {
    number: u64,
    future: Pin<Box<Option<F>>>,
    /// What it came to, found before its turn.
    written: Option<lapin::Result<PublisherConfirm>>,
}

impl<F: Future<Output = lapin::Result<PublisherConfirm>>> Writing<F> {
    fn ask(&mut self, context: &mut Context<'_>) -> Poll<lapin::Result<PublisherConfirm>> {
        if let Some(written) = self.written.take() {
            return Poll::Ready(written);
        }
        match self.future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            None => Poll::Pending,
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Kept,
    /// No queue wants it.
    Returned,
    /// The server did not keep it.
    Refused,
}

/// The messages that are in flight on one channel.
pub(super) struct Confirms<F> {
    slots: Vec<Slot>,
    /// Which of them are free. The last one that became free is used first, while the processor has it at hand.
    free: Vec<usize>,
    resolved: Arc<Resolved>,
    /// Rings when a publish is written.
    written: Waker,
    writing: VecDeque<Writing<F>>,
    spare: Vec<Writing<F>>,
    /// Confirmed when they were first asked, in the turn before.
    uncertain: Vec<(u64, bool)>,
    /// Numbers of messages that came back and were not decided yet.
    returned: HashSet<u64, foldhash::fast::RandomState>,
    /// Used by each turn.
    list: Vec<usize>,
    found: Vec<(u64, bool)>,
}

/// The place of a message that waits for its confirmation.
struct Slot {
    confirm: Option<(u64, PublisherConfirm)>,
    waker: Waker,
}

/// Slots whose confirmations were resolved, in that order.
#[derive(Debug)]
struct Resolved {
    list: Mutex<Vec<usize>>,
    bell: Arc<Bell>,
}

struct SlotWaker {
    slot: usize,
    resolved: Arc<Resolved>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let resolved = &self.resolved;
        let mut list = resolved.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(self.slot);
        let first = list.len() == 1;
        drop(list);
        if first {
            resolved.bell.ring();
        }
    }
}

impl<F: Future<Output = lapin::Result<PublisherConfirm>>> Confirms<F> {
    pub(super) fn new(bell: &Arc<Bell>) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            resolved: Arc::new(Resolved {
                list: Mutex::default(),
                bell: bell.clone(),
            }),
            written: bell.waker(),
            writing: VecDeque::new(),
            spare: Vec::new(),
            uncertain: Vec::new(),
            returned: HashSet::default(),
            list: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Hands lapin the frames of a message.
    pub(super) fn write(&mut self, number: u64, publish: F) {
        let mut writing = self.spare.pop().unwrap_or_else(|| Writing {
            number,
            future: Box::pin(None),
            written: None,
        });
        writing.number = number;
        writing.future.set(Some(publish));
        self.writing.push_back(writing);
        self.ask_last(Waker::noop());
    }

    /// Has the bell ring when everything is written that was handed over so far. One ring for a run of messages.
    pub(super) fn end_run(&mut self) {
        let waker = self.written.clone();
        self.ask_last(&waker);
    }

    fn ask_last(&mut self, waker: &Waker) {
        let Some(writing) = self.writing.back_mut() else {
            return;
        };
        if let Poll::Ready(written) = writing.ask(&mut Context::from_waker(waker)) {
            // Found by the turn that comes, in its order.
            writing.written = Some(written);
            self.written.wake_by_ref();
        }
    }

    /// How many publishes lapin has not written.
    pub(super) fn unwritten(&self) -> usize {
        self.writing.len()
    }

    /// Looks at what was resolved, and tells what is certain. True if there is more to be certain of: another turn finds it.
    ///
    /// # Errors
    /// The channel is no more; nothing more will be certain.
    pub(super) fn turn(&mut self, mut tell: impl FnMut(u64, Outcome)) -> lapin::Result<bool> {
        let mut found = std::mem::take(&mut self.found);
        found.append(&mut self.uncertain);
        // Both, also when the channel has ended: what was kept before shall not be published again.
        let resolved = self.ask_resolved(&mut found);
        let written = self.ask_written();
        for (number, kept) in found.drain(..) {
            let returned = !self.returned.is_empty() && self.returned.remove(&number);
            tell(
                number,
                match (kept, returned) {
                    (_, true) => Outcome::Returned,
                    (true, false) => Outcome::Kept,
                    (false, false) => Outcome::Refused,
                },
            );
        }
        self.found = found;
        resolved.and(written).map(|()| !self.uncertain.is_empty())
    }

    /// Asks the confirmations on the list.
    fn ask_resolved(&mut self, found: &mut Vec<(u64, bool)>) -> lapin::Result<()> {
        let mut list = std::mem::take(&mut self.list);
        std::mem::swap(
            &mut list,
            &mut *self.resolved.list.lock().unwrap_or_else(PoisonError::into_inner),
        );
        let mut ended = Ok(());
        for index in list.drain(..) {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            match slot.ask() {
                None => {}
                Some((number, Ok(confirmation))) => {
                    let kept = confirmation.is_ack();
                    note(&mut self.returned, confirmation);
                    found.push((number, kept));
                    self.free.push(index);
                }
                Some((_, Err(error))) => ended = Err(error),
            }
        }
        self.list = list;
        ended
    }

    /// Asks the publishes, oldest first, and the confirmations of those that are written.
    fn ask_written(&mut self) -> lapin::Result<()> {
        let mut ended = Ok(());
        while let Some(writing) = self.writing.front_mut() {
            // To ask the last one of a run with another waker would silence the bell; which that is does not matter when
            // the bell is rung for whoever is at the front.
            let Poll::Ready(written) = writing.ask(&mut Context::from_waker(&self.written)) else {
                break;
            };
            let number = writing.number;
            if let Some(mut spare) = self.writing.pop_front() {
                spare.future.set(None);
                self.spare.push(spare);
            }
            let begun = written.and_then(|confirm| self.begin(number, confirm));
            ended = ended.and(begun);
        }
        ended
    }

    /// Asks a confirmation for the first time.
    fn begin(&mut self, number: u64, confirm: PublisherConfirm) -> lapin::Result<()> {
        let index = self.free.pop().unwrap_or_else(|| self.add_slot());
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(());
        };
        slot.confirm = Some((number, confirm));
        if let Some((number, confirmation)) = slot.ask() {
            self.free.push(index);
            let confirmation = confirmation?;
            let kept = confirmation.is_ack();
            note(&mut self.returned, confirmation);
            self.uncertain.push((number, kept));
        }
        Ok(())
    }

    fn add_slot(&mut self) -> usize {
        let slot = self.slots.len();
        self.slots.push(Slot {
            confirm: None,
            waker: Waker::from(Arc::new(SlotWaker {
                slot,
                resolved: self.resolved.clone(),
            })),
        });
        slot
    }
}

impl Slot {
    fn ask(&mut self) -> Option<(u64, lapin::Result<Confirmation>)> {
        let (number, confirm) = self.confirm.as_mut()?;
        let number = *number;
        match Pin::new(confirm).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => None,
            Poll::Ready(confirmation) => {
                self.confirm = None;
                Some((number, confirmation))
            }
        }
    }
}

/// Remembers the message that came with a confirmation, by its own number.
fn note(returned: &mut HashSet<u64, foldhash::fast::RandomState>, confirmation: Confirmation) {
    if let Some(number) = confirmation.take_message().as_ref().and_then(number_of) {
        returned.insert(number);
    }
}

fn number_of(message: &BasicReturnMessage) -> Option<u64> {
    Mark::of(&message.properties)?.publish
}
