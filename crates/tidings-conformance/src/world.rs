//! A handler that does as it is told, and notes of what happened: [`World`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidings::{
    Batch, BatchOutcome, Delivery, Failure, FailureKind, LaneRole, Message, Position, Subscription, on,
};
use tokio::time::Instant;

/// What a handler does with one message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Script {
    pub(crate) takes: Duration,
    /// So many deliveries fail before one succeeds.
    pub(crate) fails: u32,
    /// How they fail.
    pub(crate) how: How,
}

impl Script {
    pub(crate) fn takes(takes: Duration) -> Self {
        Self {
            takes,
            ..Self::default()
        }
    }

    pub(crate) fn fails(fails: u32, how: How) -> Self {
        Self {
            fails,
            how,
            ..Self::default()
        }
    }

    pub(crate) fn always(how: How) -> Self {
        Self::fails(u32::MAX, how)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum How {
    #[default]
    Transient,
    Permanent,
    Panic,
    Later(Duration),
    RetryAfter(Duration),
    /// It never ends.
    Stuck,
}

/// One handling of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Handling {
    pub(crate) id: u64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) attempt: u32,
    pub(crate) position: Position,
    pub(crate) role: LaneRole,
    pub(crate) began: Instant,
    pub(crate) ended: Option<Instant>,
    pub(crate) ok: bool,
}

#[derive(Debug, Default)]
struct Notes {
    scripts: HashMap<u64, Script>,
    handlings: Vec<Handling>,
    failures: HashMap<u64, u32>,
    running: usize,
    most_running: usize,
}

/// What all handlers of a case share.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<Mutex<Notes>>);

/// Notes the end of a handling, also when it is dropped.
struct Ending(World, usize);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut notes = self.0.notes();
        notes.running -= 1;
        if let Some(handling) = notes.handlings.get_mut(self.1) {
            handling.ended.get_or_insert_with(Instant::now);
        }
    }
}

/// A message with that number.
pub(crate) fn message(id: u64, key: Option<&str>) -> Message {
    Message::new(id.to_string()).with_optional_key(key.map(|key| key.as_bytes().to_vec().into()))
}

pub(crate) fn id_of(payload: &[u8]) -> u64 {
    let text = std::str::from_utf8(payload).expect("a case sends numbers");
    text.trim_end().parse().expect("a case sends numbers")
}

impl World {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn script(&self, id: u64, script: Script) {
        self.notes().scripts.insert(id, script);
    }

    pub(crate) fn handlings(&self) -> Vec<Handling> {
        self.notes().handlings.clone()
    }

    /// The handlings of one message.
    pub(crate) fn of(&self, id: u64) -> Vec<Handling> {
        self.handlings()
            .into_iter()
            .filter(|handling| handling.id == id)
            .collect()
    }

    /// The attempts of one message, as its handler was told.
    pub(crate) fn attempts(&self, id: u64) -> Vec<u32> {
        self.of(id).iter().map(|handling| handling.attempt).collect()
    }

    /// How long after `begun` each delivery of a message began.
    pub(crate) fn times(&self, id: u64, begun: Instant) -> Vec<Duration> {
        self.of(id)
            .iter()
            .map(|handling| handling.began - begun)
            .collect()
    }

    /// The most handlings at once until now.
    pub(crate) fn most_running(&self) -> usize {
        self.notes().most_running
    }

    pub(crate) fn running(&self) -> usize {
        self.notes().running
    }

    /// Ids in the order in which they were handled with success for the first time.
    pub(crate) fn succeeded(&self) -> Vec<u64> {
        let mut all: Vec<_> = self
            .handlings()
            .into_iter()
            .filter(|handling| handling.ok)
            .collect();
        all.sort_by_key(|handling| handling.ended);
        let mut seen = BTreeSet::new();
        all.into_iter()
            .map(|handling| handling.id)
            .filter(|id| seen.insert(*id))
            .collect()
    }

    /// The same, by key.
    pub(crate) fn succeeded_by_key(&self) -> BTreeMap<Option<Vec<u8>>, Vec<u64>> {
        let keys: HashMap<_, _> = self
            .handlings()
            .into_iter()
            .map(|one| (one.id, one.key))
            .collect();
        let mut by_key: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for id in self.succeeded() {
            by_key
                .entry(keys.get(&id).cloned().flatten())
                .or_default()
                .push(id);
        }
        by_key
    }

    /// Fails unless handlings of one key were never at the same time and its successes are in order.
    pub(crate) fn keys_kept_their_order(&self) {
        for (key, ids) in self.succeeded_by_key() {
            assert!(
                key.is_none() || ids.is_sorted(),
                "key {key:?} was handled in the order {ids:?}"
            );
        }
        self.keys_never_overlapped();
    }

    /// Fails if two handlings of one key were at the same time.
    pub(crate) fn keys_never_overlapped(&self) {
        let mut ends: HashMap<Vec<u8>, Instant> = HashMap::new();
        for handling in self.handlings() {
            let Some(key) = handling.key.clone() else { continue };
            if let Some(end) = ends.get(&key) {
                assert!(handling.began >= *end, "handlings of a key overlap: {handling:?}");
            }
            // One that still runs overlaps with whatever comes.
            let end = handling
                .ended
                .unwrap_or(handling.began + Duration::from_secs(1 << 30));
            ends.insert(key, end);
        }
    }

    fn begin(&self, delivery: &Delivery) -> (Script, Ending, u32) {
        let id = id_of(delivery.payload().unwrap_or_default());
        let mut notes = self.notes();
        notes.handlings.push(Handling {
            id,
            key: delivery.key().map(<[u8]>::to_vec),
            attempt: delivery.attempt(),
            position: delivery.position(),
            role: delivery.lane().role,
            began: Instant::now(),
            ended: None,
            ok: false,
        });
        notes.running += 1;
        notes.most_running = notes.most_running.max(notes.running);
        let count = notes.failures.entry(id).or_default();
        *count += 1;
        let count = *count;
        let script = notes.scripts.get(&id).copied().unwrap_or_default();
        (script, Ending(self.clone(), notes.handlings.len() - 1), count)
    }

    pub(crate) async fn handle(self, delivery: Delivery) -> Result<(), Failure> {
        let (script, ending, count) = self.begin(&delivery);
        if !script.takes.is_zero() {
            tokio::time::sleep(script.takes).await;
        }
        if count <= script.fails {
            return Err(match script.how {
                How::Transient => Failure::transient("as the script says"),
                How::Permanent => Failure::permanent("as the script says"),
                How::Panic => panic!("as the script says"),
                How::Later(wait) => Failure::later(wait),
                How::RetryAfter(wait) => {
                    Failure::transient("as the script says").with_kind(FailureKind::RetryAfter(wait))
                }
                How::Stuck => std::future::pending().await,
            });
        }
        let mut notes = self.notes();
        if let Some(handling) = notes.handlings.get_mut(ending.1) {
            handling.ok = true;
            handling.ended = Some(Instant::now());
        }
        drop(notes);
        Ok(())
    }

    /// A subscription of `orders` by the group `billing` that does as the scripts say.
    pub(crate) fn subscription(&self) -> Subscription<()> {
        let world = self.clone();
        on("orders", move |delivery: Delivery| world.clone().handle(delivery)).group("billing")
    }

    /// The same with a batch handler, which handles its items in turn.
    pub(crate) fn batches(&self) -> Subscription<()> {
        let world = self.clone();
        let handler = move |batch: Batch<Delivery>| {
            let world = world.clone();
            async move {
                let mut outcome = BatchOutcome::all_handled();
                for (index, delivery) in batch.into_iter().enumerate() {
                    if let Err(failure) = world.clone().handle(delivery).await {
                        outcome = outcome.failed(index, failure);
                    }
                }
                outcome
            }
        };
        on("orders", handler).group("billing")
    }
}
