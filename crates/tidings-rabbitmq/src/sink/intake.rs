//! What the calls of publishing share: the order, the receipts, the bounds. [`Intake`].

use super::bell::Bell;
use super::entry::Entry;
use super::refusal;
use super::route::{Route, Routes, Target};
use crate::message::Written;
use crate::options::{Publishing, WhenFull};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tidings_core::headers::MAX_HEADER_BYTES;
use tidings_core::{Message, Outgoing, PublishError, RECEIPTS_PER_BLOCK, Receipt, ReceiptBlock, Timestamp};

/// The lock is given back after this many messages of one call: others publish too.
const TURN: usize = 256;
/// Room for more entries than that is not kept.
const LARGEST_SPARE: usize = 4_096;
/// What the properties of a message may take: the frame that holds them has no more on a server that nobody changed.
const MOST_PROPERTIES: usize = 131_072 - 64;

/// How much has no answer yet.
#[derive(Debug, Default)]
pub(super) struct Open {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Open {
    pub(super) fn add(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// When messages are accepted: asked once for all of a call.
#[derive(Debug, Clone, Copy)]
struct Moment {
    instant: Instant,
    time: Timestamp,
}

impl Moment {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            time: Timestamp::now(),
        }
    }
}

/// Takes messages from any thread, and hands them to the one that writes.
#[derive(Debug)]
pub(super) struct Intake {
    options: Publishing,
    routes: Routes,
    open: Arc<Open>,
    state: Mutex<State>,
    pub(super) bell: Arc<Bell>,
}

#[derive(Debug, Default)]
struct State {
    /// Accepted, and not taken by the writer yet.
    accepted: Vec<Entry>,
    /// Empty, for what is accepted after the next taking.
    spare: Vec<Entry>,
    /// The number of the next message.
    number: u64,
    targets: HashMap<Arc<str>, Arc<Target>, foldhash::fast::RandomState>,
    /// That of the message before: the next is mostly for the same.
    last: Option<Arc<Target>>,
    block: Option<Arc<ReceiptBlock>>,
    /// The next place in it.
    place: usize,
    /// Blocks that may have open receipts, oldest first.
    blocks: VecDeque<Arc<ReceiptBlock>>,
    refuses: bool,
}

impl Intake {
    pub(super) fn new(options: Publishing) -> Self {
        Self {
            options,
            routes: Routes::default(),
            open: Arc::default(),
            state: Mutex::default(),
            bell: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Where a panic could leave it half changed, nothing panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where a destination is, for what is published from now on.
    pub(super) fn route(&self, destination: Arc<str>, route: Route) {
        let mut state = self.state();
        state.targets.remove(&destination);
        state.last = None;
        self.routes.set(destination, route);
    }

    pub(super) fn publish(&self, outgoing: Outgoing) -> Receipt {
        let mut state = self.state();
        let target = self.target(&mut state, &outgoing.destination);
        self.publish_to(state, target, outgoing)
    }

    /// To the queue with the destination's name, whatever else has it. Nothing is remembered of it: each address for
    /// replies is used by one requester alone.
    pub(super) fn publish_to_queue(&self, outgoing: Outgoing) -> Receipt {
        let target = Arc::new(Target::queue(&outgoing.destination));
        self.publish_to(self.state(), target, outgoing)
    }

    /// By that exchange in place of the destination's own, which it leads to.
    pub(super) fn publish_through(&self, outgoing: Outgoing, exchange: Arc<str>) -> Receipt {
        let mut state = self.state();
        let target = self.target(&mut state, &outgoing.destination);
        self.publish_to(state, Arc::new(target.through(exchange)), outgoing)
    }

    fn publish_to(
        &self,
        mut state: MutexGuard<'_, State>,
        target: Arc<Target>,
        outgoing: Outgoing,
    ) -> Receipt {
        let was_empty = state.accepted.is_empty();
        let receipt = self.accept(&mut state, target, outgoing, Moment::now());
        if was_empty && !state.accepted.is_empty() {
            self.bell.ring();
        }
        receipt
    }

    pub(super) fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let mut receipts = Vec::with_capacity(outgoing.len());
        let mut outgoing = outgoing.into_iter().peekable();
        while outgoing.peek().is_some() {
            let mut state = self.state();
            let now = Moment::now();
            let some = outgoing.by_ref().take(TURN);
            receipts.extend(some.map(|one| {
                let target = self.target(&mut state, &one.destination);
                self.accept(&mut state, target, one, now)
            }));
            self.bell.ring();
        }
        receipts
    }

    /// Where a message goes that is published otherwise, after the same checks.
    pub(super) fn target_of(&self, outgoing: &Outgoing) -> Result<Arc<Target>, PublishError> {
        let mut state = self.state();
        let target = self.target(&mut state, &outgoing.destination);
        self.check(&state, &target, outgoing)?;
        Ok(target)
    }

    fn accept(&self, state: &mut State, target: Arc<Target>, outgoing: Outgoing, now: Moment) -> Receipt {
        let destination = outgoing.destination.clone();
        match self.checked(state, &target, outgoing, now.time) {
            Err(refused) => Receipt::failed(refused),
            Ok(message) => {
                let (block, place) = state.receipt();
                let receipt = block.receipt(place, destination);
                let number = state.number;
                state.number += 1;
                let receipt_at = (block, place);
                let entry = Entry::new(
                    number,
                    target,
                    message,
                    now.instant,
                    receipt_at,
                    self.open.clone(),
                );
                state.accepted.push(entry);
                receipt
            }
        }
    }

    fn checked(
        &self,
        state: &State,
        target: &Target,
        outgoing: Outgoing,
        now: Timestamp,
    ) -> Result<Message, PublishError> {
        self.check(state, target, &outgoing)?;
        self.room(&outgoing.destination, &outgoing.message)?;
        let message = outgoing.message;
        Ok(match message.timestamp() {
            Some(_) => message,
            None => message.with_timestamp(now),
        })
    }

    /// Whether a message can be published there at all.
    fn check(&self, state: &State, target: &Target, outgoing: &Outgoing) -> Result<(), PublishError> {
        let Outgoing {
            destination,
            partition,
            message,
            due,
        } = outgoing;
        let destination = || destination.clone();
        if state.refuses {
            return Err(PublishError::Closed);
        }
        if due.is_some_and(|due| due > Timestamp::now()) {
            return Err(refusal::no_delay());
        }
        if let Some(partition) = partition.filter(|partition| *partition > 0) {
            return Err(PublishError::UnknownPartition {
                destination: destination(),
                partition,
                partitions: 1,
            });
        }
        let (size, limit) = (
            message.size() - message.added_size(),
            self.options.max_message_bytes,
        );
        if size > limit {
            return Err(PublishError::TooLarge {
                destination: destination(),
                size,
                limit,
            });
        }
        let of_key = message.key().map_or(0, |key| key.len());
        if of_key + message.headers().size() > MAX_HEADER_BYTES / 2 {
            let size = Written::header_bytes(message);
            if size > MOST_PROPERTIES {
                return Err(refusal::properties_too_large(
                    destination(),
                    size,
                    MOST_PROPERTIES,
                ));
            }
        }
        target.check(message)
    }

    fn target(&self, state: &mut State, destination: &Arc<str>) -> Arc<Target> {
        let same = |target: &&Arc<Target>| Arc::ptr_eq(&target.destination, destination);
        if let Some(last) = state.last.as_ref().filter(same) {
            return last.clone();
        }
        let target = match state.targets.get(destination) {
            Some(target) => target.clone(),
            None => {
                let target = Arc::new(self.routes.target(destination));
                state.targets.insert(destination.clone(), target.clone());
                target
            }
        };
        state.last = Some(target.clone());
        target
    }

    fn room(&self, destination: &Arc<str>, message: &Message) -> Result<(), PublishError> {
        let open = self.open.bytes.load(Ordering::Relaxed);
        // A message that is larger than the bound goes alone.
        let bytes = if open == 0 {
            0
        } else {
            open + Entry::bytes_of(message)
        };
        let full = match self.options.when_full {
            WhenFull::Wait { max_bytes } => {
                bytes > self.options.max_in_flight_bytes.saturating_add(max_bytes)
            }
            WhenFull::Refuse => {
                let messages = self.open.messages.load(Ordering::Relaxed);
                messages >= self.options.max_in_flight || bytes > self.options.max_in_flight_bytes
            }
        };
        match full {
            true => Err(refusal::no_room(destination.clone())),
            false => Ok(()),
        }
    }

    /// What was accepted since the last call.
    pub(super) fn take(&self, into: &mut impl Extend<Entry>) {
        let mut state = self.state();
        if state.accepted.is_empty() {
            return;
        }
        let spare = std::mem::take(&mut state.spare);
        let mut accepted = std::mem::replace(&mut state.accepted, spare);
        drop(state);
        into.extend(accepted.drain(..));
        // Its memory is used again, but for that of a burst.
        if accepted.capacity() <= LARGEST_SPARE {
            self.state().spare = accepted;
        }
    }

    /// Takes nothing more.
    pub(super) fn refuse_more(&self) {
        self.state().refuses = true;
    }

    /// Ends the block that is being filled, and gives all that may have open receipts.
    pub(super) fn under_way(&self) -> Vec<Arc<ReceiptBlock>> {
        let mut state = self.state();
        if let Some(block) = state.block.take() {
            block.end_at(state.place);
            block.wake();
        }
        state.forget_whole();
        state.blocks.iter().cloned().collect()
    }
}

impl State {
    /// The place of the next message.
    fn receipt(&mut self) -> (Arc<ReceiptBlock>, usize) {
        if self.place >= RECEIPTS_PER_BLOCK {
            self.block = None;
        }
        let block = match &self.block {
            Some(block) => block.clone(),
            None => {
                self.forget_whole();
                let block = Arc::new(ReceiptBlock::new());
                self.blocks.push_back(block.clone());
                self.block = Some(block.clone());
                self.place = 0;
                block
            }
        };
        let place = self.place;
        self.place += 1;
        (block, place)
    }

    fn forget_whole(&mut self) {
        while self.blocks.front().is_some_and(|block| block.is_whole()) {
            self.blocks.pop_front();
        }
    }
}
