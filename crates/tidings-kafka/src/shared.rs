//! What the binder and its sources share: [`Shared`].

use crate::client::{ClientState, Topics};
use crate::error::KafkaError;
use crate::lock::lock;
use crate::native::Consumer;
use crate::options::ClientOptions;
use crate::retry_topics::RetryTopics;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// A source that was not asked for so long stands still: the engine asks all the time.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A member whose group has not answered for so long is told: a coordinator that hangs, a group that never settles.
const WAITS_AFTER: Duration = Duration::from_secs(30);
/// The group has answered.
const NOT_WAITING: u64 = u64::MAX;

/// That a source is asked for events, and that its group answers.
#[derive(Debug)]
pub(crate) struct Pulse {
    subscription: Arc<str>,
    since: Instant,
    /// Milliseconds from `since` to the last time.
    last: AtomicU64,
    /// Milliseconds from `since` to when the wait for the group began.
    waits: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(subscription: Arc<str>) -> Self {
        Self {
            subscription,
            since: Instant::now(),
            last: AtomicU64::new(0),
            waits: AtomicU64::new(NOT_WAITING),
        }
    }

    pub(crate) fn beat(&self) {
        self.last.store(self.passed(), Ordering::Relaxed);
    }

    /// The member waits for its group to give it partitions, or none.
    pub(crate) fn waits(&self) {
        self.waits.store(self.passed(), Ordering::Relaxed);
    }

    /// The group has given it partitions, or none.
    pub(crate) fn answered(&self) {
        self.waits.store(NOT_WAITING, Ordering::Relaxed);
    }

    fn passed(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }

    fn waited(&self) -> Duration {
        match self.waits.load(Ordering::Relaxed) {
            NOT_WAITING => Duration::ZERO,
            began => Duration::from_millis(self.passed().saturating_sub(began)),
        }
    }

    fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(last)
    }

    fn trouble(&self, stuck_after: Duration, waits_after: Duration) -> Option<String> {
        let (age, waited) = (self.age(), self.waited());
        if age > stuck_after {
            return Some(format!(
                "\"{}\" has not asked for messages for {} s: something blocks its thread, a handler that does not yield",
                self.subscription,
                age.as_secs()
            ));
        }
        (waited > waits_after).then(|| {
            format!(
                "\"{}\" has waited for partitions for {} s: its group does not answer, or one of its members does not give any back",
                self.subscription,
                waited.as_secs()
            )
        })
    }
}

/// What the binder and its sources share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ClientOptions,
    pub(crate) state: Arc<ClientState>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) retries: RetryTopics,
    closed: AtomicBool,
    names: AtomicU64,
    /// What is wrong with a source, by its name.
    troubles: Mutex<BTreeMap<u64, String>>,
    pulses: Mutex<Vec<Weak<Pulse>>>,
    consumers: Mutex<Vec<Weak<Consumer>>>,
}

impl Shared {
    pub(crate) fn new(options: ClientOptions) -> Result<Self, KafkaError> {
        Ok(Self {
            state: Arc::new(ClientState::open(&options)?),
            topics: Arc::default(),
            retries: RetryTopics::default(),
            options,
            closed: AtomicBool::new(false),
            names: AtomicU64::new(0),
            troubles: Mutex::default(),
            pulses: Mutex::default(),
            consumers: Mutex::default(),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn new_name(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn set_trouble(&self, name: u64, trouble: Option<String>) {
        let mut troubles = lock(&self.troubles);
        match trouble {
            Some(trouble) => troubles.insert(name, trouble),
            None => troubles.remove(&name),
        };
    }

    /// What is wrong with sources.
    pub(crate) fn trouble(&self) -> Option<String> {
        let told = lock(&self.troubles).values().next().cloned();
        told.or_else(|| {
            let pulses = lock(&self.pulses);
            let mut alive = pulses.iter().filter_map(Weak::upgrade);
            alive.find_map(|pulse| pulse.trouble(STUCK_AFTER, WAITS_AFTER))
        })
    }

    /// Watches over a source as long as it keeps its pulse.
    pub(crate) fn watch(&self, pulse: &Arc<Pulse>) {
        let mut pulses = lock(&self.pulses);
        pulses.retain(|one| one.strong_count() > 0);
        pulses.push(Arc::downgrade(pulse));
    }

    pub(crate) fn register(&self, consumer: &Arc<Consumer>) {
        let mut consumers = lock(&self.consumers);
        consumers.retain(|one| one.strong_count() > 0);
        consumers.push(Arc::downgrade(consumer));
    }

    /// Lets nothing more be read; the consumers that there are. Empty if it was closed before.
    pub(crate) fn close(&self) -> Vec<Arc<Consumer>> {
        self.closed.store(true, Ordering::Release);
        let consumers = std::mem::take(&mut *lock(&self.consumers));
        let left: Vec<_> = consumers.iter().filter_map(Weak::upgrade).collect();
        left.iter().for_each(|consumer| consumer.inbox().wake());
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_not_asked_any_more_is_in_trouble_by_name_until_it_is() {
        let options = ClientOptions::from_url("kafka://h1").unwrap();
        let shared = Shared::new(options).unwrap();
        let pulse = Arc::new(Pulse::new("charge".into()));
        shared.watch(&pulse);
        assert_eq!(shared.trouble(), None);
        std::thread::sleep(Duration::from_millis(5));
        let stuck = pulse.trouble(Duration::from_millis(1), WAITS_AFTER).unwrap();
        assert!(stuck.contains("charge"), "{stuck}");
        pulse.beat();
        assert_eq!(pulse.trouble(STUCK_AFTER, Duration::ZERO), None);
        pulse.waits();
        std::thread::sleep(Duration::from_millis(5));
        let waits = pulse.trouble(STUCK_AFTER, Duration::from_millis(1)).unwrap();
        assert!(waits.contains("charge") && waits.contains("group"), "{waits}");
        pulse.answered();
        assert_eq!(pulse.trouble(STUCK_AFTER, Duration::ZERO), None);
        shared.set_trouble(7, Some("the broker is away".to_owned()));
        assert_eq!(shared.trouble().as_deref(), Some("the broker is away"));
        shared.set_trouble(7, None);
        assert_eq!(shared.trouble(), None);
    }
}
