//! What a test needs around a subscription: a handler that does as it is told, and notes of what happened.

use crate::broker::Broker;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::Instant;

/// What a handler does with one message.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) takes: Duration,
    /// So many deliveries fail before one succeeds.
    pub(crate) fails: u32,
    /// How they fail.
    pub(crate) how: How,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} then {} x {:?}", self.takes, self.fails, self.how)
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
    Stuck,
}

/// One handling of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Handling {
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    pub(crate) began: Instant,
    pub(crate) ended: Option<Instant>,
    pub(crate) ok: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) scripts: HashMap<u64, Script>,
    pub(crate) handlings: Vec<Handling>,
    failures: HashMap<u64, u32>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) notes: Arc<Mutex<Notes>>,
}

/// Notes the end of a handling, also when it is dropped.
struct Ending(World, usize);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.notes.lock().unwrap().handlings[self.1]
            .ended
            .get_or_insert(Instant::now());
    }
}

pub(crate) fn id_of(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

pub(crate) fn message(id: u64, key: Option<&str>) -> Message {
    let message = Message::new(id.to_string().into_bytes());
    message
        .with_optional_key(key.map(|key| key.as_bytes().to_vec().into()))
        .with_header(names::MESSAGE_ID, format!("m-{id}"))
        .unwrap()
}

impl World {
    pub(crate) fn script(&self, id: u64, script: Script) {
        self.notes.lock().unwrap().scripts.insert(id, script);
    }

    pub(crate) fn handlings(&self) -> Vec<Handling> {
        self.notes.lock().unwrap().handlings.clone()
    }

    /// Ids in the order in which they were handled with success for the first time.
    pub(crate) fn succeeded(&self) -> Vec<u64> {
        let mut handlings: Vec<_> = self
            .handlings()
            .into_iter()
            .filter(|handling| handling.ok)
            .collect();
        handlings.sort_by_key(|handling| handling.ended);
        let mut seen = Vec::new();
        for handling in handlings {
            if !seen.contains(&handling.id) {
                seen.push(handling.id);
            }
        }
        seen
    }

    pub(crate) async fn handle(self, payload: Vec<u8>, attempt: u32) -> Result<(), Failure> {
        let id = id_of(&payload);
        let (script, ending, failed) = {
            let mut notes = self.notes.lock().unwrap();
            let script = notes.scripts.get(&id).cloned().unwrap_or_default();
            notes.handlings.push(Handling {
                id,
                attempt,
                began: Instant::now(),
                ended: None,
                ok: false,
            });
            let failed = notes.failures.entry(id).or_default();
            *failed += 1;
            let failed = *failed;
            (script, Ending(self.clone(), notes.handlings.len() - 1), failed)
        };
        if !script.takes.is_zero() {
            tokio::time::sleep(script.takes).await;
        }
        if failed <= script.fails {
            return Err(match script.how {
                How::Transient => Failure::transient("as the script says"),
                How::Permanent => Failure::permanent("as the script says"),
                How::Panic => panic!("as the script says"),
                How::Later(wait) => Failure::later(wait),
                How::RetryAfter(wait) => Failure::transient("wait").with_kind(FailureKind::RetryAfter(wait)),
                How::Stuck => {
                    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
                    Failure::transient("never reached")
                }
            });
        }
        let mut notes = self.notes.lock().unwrap();
        notes.handlings[ending.1].ok = true;
        notes.handlings[ending.1].ended = Some(Instant::now());
        Ok(())
    }

    /// A subscription of `orders` by group `g` that does as the scripts say.
    pub(crate) fn subscription(&self) -> Subscription<()> {
        let world = self.clone();
        on("orders", move |Raw(payload): Raw, Attempt(attempt): Attempt| {
            world.clone().handle(payload.to_vec(), attempt)
        })
    }

    pub(crate) fn batch_subscription(&self) -> Subscription<()> {
        let world = self.clone();
        on("orders", move |batch: Batch<Raw>| {
            let world = world.clone();
            async move {
                let items: Vec<_> = batch.into_iter().collect();
                let handling = items.iter().map(|Raw(payload)| {
                    let world = world.clone();
                    let payload = payload.to_vec();
                    async move { world.handle(payload, 1).await }
                });
                let mut outcome = BatchOutcome::all_handled();
                for (index, item) in handling.enumerate() {
                    if let Err(failure) = item.await {
                        outcome = outcome.failed(index, failure);
                    }
                }
                outcome
            }
        })
    }
}

/// A running subscription of a fake broker.
pub(crate) fn spec(broker: &Broker, subscription: Subscription<()>, partitions: u32) -> SubscriptionSpec {
    spec_of(broker, subscription, &["orders", "outputs"], partitions)
}

/// The same of any fake broker, with the channels that it may publish to.
pub(crate) fn spec_of<B: Binder + Clone>(
    broker: &B,
    subscription: Subscription<()>,
    channels: &[&str],
    partitions: u32,
) -> SubscriptionSpec {
    let parts = subscription.into_parts();
    let mut policy = Policy::default();
    parts.changes.apply(&mut policy);
    let mut routes = Routes::default();
    for channel in channels {
        routes.insert(
            *channel,
            Route {
                sink: Binder::sink(broker),
                destination: (*channel).into(),
            },
        );
    }
    let clock = Clock::virtual_from_now();
    let context = HandlerContext {
        app: "test".into(),
        subscription: "s".into(),
        group: Some("g".into()),
        publisher: Publisher::new(Arc::new(routes), clock),
        clock,
    };
    SubscriptionSpec {
        context: Arc::new(context),
        handler: parts.bind(Arc::new(()), &[]),
        policy,
        filter: parts.filter.clone(),
        output: parts.output.clone(),
        binder: Arc::new(broker.clone()),
        discovery: tidings_runtime::Discovery::default(),
        inputs: vec![Input {
            destination: "orders".into(),
            retry: Some("orders.g.retry".into()),
            dead_letter: Some(DeadLetterTarget {
                destination: "orders.DLT".into(),
                partitions,
            }),
        }],
        revoke_timeout: Duration::from_secs(10),
        publish_timeout: Duration::from_secs(30),
    }
}

/// Waits until the group has finished everything.
pub(crate) async fn finished(broker: &Broker, handle: &SubscriptionHandle) {
    let deadline = Instant::now() + Duration::from_secs(20_000);
    while !(broker.is_finished("orders") && broker.is_finished("orders.g.retry")) {
        assert!(
            Instant::now() < deadline,
            "the subscription does not finish: {:#?}",
            handle.status()
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

pub(crate) fn quiet_retry(attempts: u32, wait: Duration) -> Retry {
    Retry::fixed(attempts, wait).budget(1_000_000.0, 1_000_000.0)
}
