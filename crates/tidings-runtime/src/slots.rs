//! Where pending work waits to be polled: [`Slots`].
//!
//! A slot has a waker of its own. Work is polled with it from the first time on, so work that is ready at once costs no
//! more than its box, and only slots that were woken are polled again.

mod handling;

use crate::marking::Marking;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tidings_core::Mark;
use tokio::time::Instant;

/// The slots that were woken, and who polls them.
#[derive(Debug, Default)]
struct Woken {
    state: Mutex<WokenState>,
}

#[derive(Debug, Default)]
struct WokenState {
    slots: VecDeque<usize>,
    task: Option<Waker>,
    /// Somebody outside wants to be looked at.
    rung: bool,
}

#[derive(Debug)]
struct SlotWaker {
    slot: usize,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut state = self.woken.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.slots.push_back(self.slot);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Wakes the task although no slot was woken.
#[derive(Debug)]
struct Bell(Arc<Woken>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let task = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.rung = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Whether a handler has the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handler {
    /// None: what is there is the engine's own work.
    None,
    /// It executes when the slot is polled.
    Here,
    /// It waits, and executes when the slot is polled.
    Waiting,
    /// It executes on another thread, which marks that itself.
    Elsewhere,
}

#[derive(Debug)]
struct Slot<W> {
    work: Option<W>,
    taken: bool,
    /// When the work has taken too long.
    deadline: Option<Instant>,
    /// Whether a timer will look at the deadline.
    watched: bool,
    /// Since when it was seen with the same work, and how far that was.
    seen: Option<(Instant, usize)>,
    handler: Handler,
    /// The mark of the message that is handled. Kept for the next one.
    mark: Option<Mark>,
    /// Those of a batch's other messages.
    others: Vec<Mark>,
    handle: Arc<SlotWaker>,
    waker: Waker,
}

impl<W> Slot<W> {
    /// The handler waits.
    fn begin_to_wait(&mut self) {
        self.handler = Handler::Waiting;
        self.marks().for_each(Mark::wait);
    }

    /// The handler executes again.
    fn go_on(&mut self) {
        self.handler = Handler::Here;
        self.marks().for_each(Mark::go_on);
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.mark.iter().chain(&self.others)
    }
}

/// Slots for work; a new one is made when none is free, and used again later.
#[derive(Debug)]
pub(crate) struct Slots<W> {
    slots: Vec<Slot<W>>,
    free: Vec<usize>,
    woken: Arc<Woken>,
    /// Those that were woken and taken from there, all at once.
    ready: VecDeque<usize>,
    marking: Marking,
    handling: usize,
}

impl<W> Default for Slots<W> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            woken: Arc::default(),
            ready: VecDeque::new(),
            marking: Marking::default(),
            handling: 0,
        }
    }
}

impl<W> Slots<W> {
    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a slot.
    pub(crate) fn take(&mut self) -> usize {
        if let Some(slot) = self.free.pop() {
            self.slots[slot].taken = true;
            return slot;
        }
        let slot = self.slots.len();
        let handle = Arc::new(SlotWaker {
            slot,
            queued: AtomicBool::new(false),
            woken: self.woken.clone(),
        });
        let waker = Waker::from(handle.clone());
        self.slots.push(Slot {
            work: None,
            taken: true,
            deadline: None,
            watched: false,
            seen: None,
            handler: Handler::None,
            mark: None,
            others: Vec::new(),
            handle,
            waker,
        });
        slot
    }

    /// Polls something with the slot's waker.
    #[inline]
    pub(crate) fn poll<T>(&mut self, slot: usize, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let state = &mut self.slots[slot];
        if state.handler == Handler::Waiting {
            state.go_on();
        }
        let polled = poll(&mut Context::from_waker(&state.waker));
        if polled.is_pending() && state.handler == Handler::Here {
            state.begin_to_wait();
        }
        polled
    }

    /// Wakes the task from outside.
    pub(crate) fn bell(&self) -> Waker {
        Arc::new(Bell(self.woken.clone())).into()
    }

    /// Leaves pending work in a slot that was taken.
    pub(crate) fn put(&mut self, slot: usize, work: W) {
        debug_assert!(self.slots[slot].taken && self.slots[slot].work.is_none());
        self.slots[slot].work = Some(work);
    }

    /// The work in a slot is polled again although nobody else wakes it.
    pub(crate) fn wake(&self, slot: usize) {
        self.slots[slot].waker.wake_by_ref();
    }

    /// Gives a slot back; work in it is dropped.
    #[inline]
    pub(crate) fn give_back(&mut self, slot: usize) {
        self.end(slot);
        let state = &mut self.slots[slot];
        debug_assert!(state.taken);
        state.taken = false;
        state.deadline = None;
        state.seen = None;
        state.work = None;
        self.free.push(slot);
    }

    /// Sets or clears the slot's deadline. True if a timer must be set to look at it.
    pub(crate) fn set_deadline(&mut self, slot: usize, deadline: Option<Instant>) -> bool {
        let state = &mut self.slots[slot];
        state.deadline = deadline;
        match deadline {
            Some(_) => !std::mem::replace(&mut state.watched, true),
            None => false,
        }
    }

    /// Whether the slot has a deadline.
    pub(crate) fn has_deadline(&self, slot: usize) -> bool {
        self.slots[slot].deadline.is_some()
    }

    /// A timer looks at the slot's deadline: the work if it has taken too long, or when to look again.
    pub(crate) fn look_at_deadline(&mut self, slot: usize, now: Instant) -> Result<Option<W>, Instant> {
        let state = &mut self.slots[slot];
        match state.deadline {
            Some(deadline) if deadline > now => Err(deadline),
            Some(_) => {
                state.watched = false;
                state.deadline = None;
                Ok(state.work.take())
            }
            None => {
                state.watched = false;
                Ok(None)
            }
        }
    }

    /// Looks at all pending work: the slot whose work was seen first and has not gone on since, and how long ago that
    /// was. Who asks once in a while spares every message a look at the clock.
    pub(crate) fn longest_seen(
        &mut self,
        now: Instant,
        progress: impl Fn(&W) -> usize,
    ) -> Option<(usize, Duration)> {
        let mut longest = None;
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(work) = &slot.work else { continue };
            let reached = progress(work);
            let since = match slot.seen {
                Some((since, before)) if before == reached => since,
                _ => now,
            };
            slot.seen = Some((since, reached));
            if longest.is_none_or(|(_, first)| since < first) {
                longest = Some((number, since));
            }
        }
        longest.map(|(slot, since)| (slot, now - since))
    }

    /// Whether the slot has the work that was seen last, no further than it was.
    pub(crate) fn is_as_seen(&self, slot: usize, progress: impl Fn(&W) -> usize) -> bool {
        let Some(slot) = self.slots.get(slot) else {
            return false;
        };
        let seen = slot.seen.map(|(_, before)| before);
        seen.is_some() && slot.work.as_ref().map(progress) == seen
    }

    /// Takes work out of each slot whose work is picked, together with the slot. The slots stay taken.
    pub(crate) fn take_where(&mut self, mut pick: impl FnMut(&W) -> bool) -> Vec<(usize, W)> {
        let mut taken = Vec::new();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if slot.work.as_ref().is_some_and(&mut pick) {
                taken.extend(slot.work.take().map(|work| (number, work)));
            }
        }
        taken
    }

    /// The work in a slot.
    pub(crate) fn work_mut(&mut self, slot: usize) -> Option<&mut W> {
        self.slots.get_mut(slot)?.work.as_mut()
    }

    /// How many slots were woken by now.
    pub(crate) fn woken(&mut self) -> usize {
        let mut woken = self.woken.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ready.is_empty() {
            std::mem::swap(&mut woken.slots, &mut self.ready);
        } else {
            self.ready.append(&mut woken.slots);
        }
        self.ready.len()
    }

    /// The next slot that was woken, and its work.
    pub(crate) fn next_woken(&mut self) -> Option<(usize, W)> {
        loop {
            if self.ready.is_empty() {
                let mut woken = self.woken.state.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut woken.slots, &mut self.ready);
            }
            let slot = self.ready.pop_front()?;
            let state = &mut self.slots[slot];
            // Reset before polling: a wake during the poll must count. A plain store could still be on its way while the
            // poll already reads; a swap cannot.
            state.handle.queued.swap(false, Ordering::AcqRel);
            if let Some(work) = state.work.take() {
                return Some((slot, work));
            }
        }
    }

    /// Ready when a slot was woken.
    pub(crate) fn poll_woken(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.woken.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.rung) || !state.slots.is_empty() || !self.ready.is_empty() {
            return Poll::Ready(());
        }
        state.task = Some(context.waker().clone());
        Poll::Pending
    }
}
