//! Which keys are in flight, and what waits behind them: [`Keys`].

use crate::tasks::TaskId;
use foldhash::quality::RandomState;
use std::collections::hash_map::{Entry, OccupiedEntry};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};

/// A key of one pair of lanes, as a keyed 64-bit hash.
///
/// Keys come from outside, so the hash is keyed, by a seed of this process. Two keys of one hash share a queue: that
/// costs them a little concurrency and never their order, so the keys themselves need not be compared or kept. A hash
/// that resists less than SipHash will do: whoever found keys of one hash, without ever being told a hash, would have
/// found messages that wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(u64);

/// A hasher for values that are hashes already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        // A `KeyId` hashes as one u64.
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl BuildHasher for Hashed {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

/// A message that went to the retry lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parked {
    /// Where it is there; none if it was received there already.
    pub(crate) offset: Option<u64>,
    /// It was moved behind a parked one, and never held its key.
    pub(crate) moved: bool,
}

/// A key in flight.
#[derive(Debug)]
struct InFlight {
    /// The pair of lanes that it belongs to.
    pair: usize,
    /// How many deliveries hold it: one, or several items of one batch call, or none while a message of it is known to
    /// be in the retry lane and was not received yet.
    holders: usize,
    /// Which batch its holders are in; 0 is none.
    batch: u64,
    /// Messages of the retry lane, in its order: they go before those of the main lane.
    retry: VecDeque<TaskId>,
    /// Messages of the main lane, in its order.
    main: VecDeque<TaskId>,
    /// The highest offset of the retry lane at which a message of this key was parked and which was not received yet.
    parked_at: Option<u64>,
    /// The holder came by the retry lane.
    in_retry: bool,
    /// A message of the main lane is being moved behind a parked one.
    moving: bool,
}

impl InFlight {
    fn new(pair: usize) -> Self {
        Self {
            pair,
            holders: 0,
            batch: 0,
            retry: VecDeque::new(),
            main: VecDeque::new(),
            parked_at: None,
            in_retry: false,
            moving: false,
        }
    }

    /// Whether messages of the main lane must stay behind one in the retry lane.
    fn is_parked(&self) -> bool {
        self.parked_at.is_some() || self.in_retry || self.moving || !self.retry.is_empty()
    }
}

/// The keys in flight.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    hashing: RandomState,
    in_flight: HashMap<KeyId, InFlight, Hashed>,
}

impl Keys {
    /// The identity of a key in a pair of lanes.
    pub(crate) fn id(&self, pair: usize, key: &[u8]) -> KeyId {
        let mut hasher = self.hashing.build_hasher();
        hasher.write_usize(pair);
        hasher.write(key);
        KeyId(hasher.finish())
    }

    /// Whether no key is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether the key is in flight.
    pub(crate) fn is_busy(&self, key: KeyId) -> bool {
        self.in_flight.contains_key(&key)
    }

    fn entry(&mut self, key: KeyId, pair: usize) -> &mut InFlight {
        match self.in_flight.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(InFlight::new(pair)),
        }
    }

    /// A delivery of the main lane takes a key that nobody holds.
    pub(crate) fn hold(&mut self, key: KeyId, pair: usize) {
        self.entry(key, pair).holders += 1;
    }

    /// A delivery of the main lane joins a batch if its key is idle or all that hold it are in the same batch.
    pub(crate) fn join(&mut self, key: KeyId, pair: usize, batch: u64) -> bool {
        let state = self.entry(key, pair);
        let idle = state.holders == 0 && !state.is_parked() && state.main.is_empty();
        let together =
            state.holders > 0 && state.batch == batch && state.main.is_empty() && !state.is_parked();
        if idle || together {
            state.holders += 1;
            state.batch = batch;
        }
        idle || together
    }

    /// A message of the main lane waits for its key.
    pub(crate) fn queue(&mut self, key: KeyId, pair: usize, task: TaskId) {
        self.entry(key, pair).main.push_back(task);
    }

    /// Messages that had the key go back, before the others of the main lane. Returns who holds the key next if they
    /// were the last that held it.
    pub(crate) fn requeue(&mut self, key: KeyId, tasks: &[TaskId]) -> Option<TaskId> {
        let state = self.in_flight.get_mut(&key)?;
        for task in tasks.iter().rev() {
            state.main.push_front(*task);
        }
        state.holders = state.holders.saturating_sub(tasks.len());
        if state.holders == 0 {
            self.next_holder(key)
        } else {
            None
        }
    }

    /// A message of the retry lane was received. It holds the key at once (true), or waits for it.
    pub(crate) fn receive_parked(&mut self, key: KeyId, pair: usize, offset: u64, task: TaskId) -> bool {
        let state = self.entry(key, pair);
        if state.parked_at.is_some_and(|parked| parked <= offset) {
            state.parked_at = None;
        }
        if state.holders > 0 || !state.retry.is_empty() {
            state.retry.push_back(task);
            return false;
        }
        state.holders = 1;
        state.in_retry = true;
        true
    }

    /// A message that overtakes (relaxed order) takes its key when it is due (true), or waits for it.
    pub(crate) fn take_or_queue(&mut self, key: KeyId, pair: usize, task: TaskId) -> bool {
        let state = self.entry(key, pair);
        if state.holders > 0 {
            state.main.push_back(task);
            return false;
        }
        state.holders = 1;
        true
    }

    /// A message of the key was parked at that offset of the retry lane; none if it was received there already.
    /// Returns who holds the key next if nobody does: it may have been received and handled already.
    pub(crate) fn parked(&mut self, key: KeyId, pair: usize, parked: Parked) -> Option<TaskId> {
        let state = self.entry(key, pair);
        state.parked_at = state.parked_at.max(parked.offset);
        if parked.moved {
            state.moving = false;
        }
        if state.holders == 0 {
            self.next_holder(key)
        } else {
            None
        }
    }

    /// A holder is done with the key. Returns who holds it next.
    pub(crate) fn release(&mut self, key: KeyId) -> Option<TaskId> {
        let Entry::Occupied(mut entry) = self.in_flight.entry(key) else {
            return None;
        };
        let state = entry.get_mut();
        state.holders = state.holders.saturating_sub(1);
        if state.holders > 0 {
            return None;
        }
        state.batch = 0;
        state.in_retry = false;
        Self::next_in(entry)
    }

    /// Who holds a key next that nobody holds: a message of the retry lane, or else one of the main lane unless one in
    /// the retry lane is still to be received. Forgets the key if nobody will.
    fn next_holder(&mut self, key: KeyId) -> Option<TaskId> {
        match self.in_flight.entry(key) {
            Entry::Occupied(entry) => Self::next_in(entry),
            Entry::Vacant(_) => None,
        }
    }

    fn next_in(mut entry: OccupiedEntry<'_, KeyId, InFlight>) -> Option<TaskId> {
        let state = entry.get_mut();
        let next = if let Some(task) = state.retry.pop_front() {
            state.in_retry = true;
            Some(task)
        } else if state.parked_at.is_some() || state.moving {
            return None;
        } else {
            state.main.pop_front()
        };
        match next {
            Some(_) => state.holders = 1,
            None => {
                entry.remove();
            }
        }
        next
    }

    /// The next message of the main lane that may join the batch that the holders of its key are in.
    pub(crate) fn next_in_batch(
        &mut self,
        key: KeyId,
        batch: u64,
        may_join: impl FnOnce(TaskId) -> bool,
    ) -> Option<TaskId> {
        let state = self.in_flight.get_mut(&key)?;
        if state.is_parked() {
            return None;
        }
        let task = state.main.front().copied().filter(|task| may_join(*task))?;
        state.main.pop_front();
        state.batch = batch;
        state.holders += 1;
        Some(task)
    }

    /// Says which batch the holder of a key is in.
    pub(crate) fn set_batch(&mut self, key: KeyId, batch: u64) {
        if let Some(state) = self.in_flight.get_mut(&key) {
            state.batch = batch;
        }
    }

    /// Messages of the main lane that wait behind the retry lane, one per key, to be moved there; at most `limit`.
    pub(crate) fn take_moves(&mut self, pair: usize, limit: usize) -> Vec<TaskId> {
        let mut found = Vec::new();
        for state in self.in_flight.values_mut().filter(|state| state.pair == pair) {
            if found.len() == limit {
                break;
            }
            // The holder in the main lane may yet be parked itself: then they must come behind it.
            let holder_is_before = state.holders == 0 || state.in_retry;
            if !state.moving
                && holder_is_before
                && state.is_parked()
                && let Some(task) = state.main.pop_front()
            {
                state.moving = true;
                found.push(task);
            }
        }
        found
    }

    /// A message that was to be moved could not be: it stays the next of the main lane. Returns who holds the key
    /// now if nobody did.
    pub(crate) fn not_moved(&mut self, key: KeyId, task: TaskId) -> Option<TaskId> {
        let state = self.in_flight.get_mut(&key)?;
        state.moving = false;
        state.main.push_front(task);
        if state.holders == 0 {
            self.next_holder(key)
        } else {
            None
        }
    }

    /// Forgets the keys of a pair of lanes that belongs to somebody else now.
    pub(crate) fn forget_pair(&mut self, pair: usize) {
        self.in_flight.retain(|_, state| state.pair != pair);
    }

    /// Forgets everything that waits behind the keys of a pair, and the keys that nobody holds any more.
    /// `still_held` counts the holders that go on.
    pub(crate) fn abandon_queues(&mut self, pair: usize, still_held: impl Fn(KeyId) -> usize) {
        self.in_flight.retain(|key, state| {
            if state.pair != pair {
                return true;
            }
            state.retry.clear();
            state.main.clear();
            state.parked_at = None;
            state.moving = false;
            state.holders = still_held(*key);
            state.holders > 0
        });
    }
}
