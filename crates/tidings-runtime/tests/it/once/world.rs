//! Handlers that do as they are told, and what is to be seen of them.

use super::broker::TxBroker;
use crate::world::{How, id_of, spec_of};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::Instant;

/// What a handler does with one message.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) takes: Duration,
    /// So many deliveries fail before one succeeds.
    pub(crate) fails: u32,
    pub(crate) how: How,
    /// How many outputs it returns, and how many it publishes by itself.
    pub(crate) returns: usize,
    pub(crate) publishes: usize,
    /// It publishes before it fails, too.
    pub(crate) even_if_it_fails: bool,
    /// It waits for what it publishes.
    pub(crate) waits: bool,
    /// It leaves a task behind that publishes after that time.
    pub(crate) leaves: Option<Duration>,
}

impl Default for Deed {
    fn default() -> Self {
        Self {
            takes: Duration::ZERO,
            fails: 0,
            how: How::Transient,
            returns: 1,
            publishes: 0,
            even_if_it_fails: false,
            waits: true,
            leaves: None,
        }
    }
}

#[derive(Debug, Default)]
struct Notes {
    deeds: HashMap<u64, Deed>,
    deliveries: HashMap<u64, u32>,
    refused: usize,
    running: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    notes: Arc<Mutex<Notes>>,
}

struct Running(World);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.notes.lock().unwrap().running -= 1;
    }
}

fn output(id: u64, key: Option<&[u8]>) -> Message {
    Message::new(id.to_string().into_bytes()).with_optional_key(key.map(|key| key.to_vec().into()))
}

impl World {
    pub(crate) fn plan(&self, id: u64, deed: Deed) {
        self.notes.lock().unwrap().deeds.insert(id, deed);
    }

    /// How often a message was delivered.
    pub(crate) fn deliveries(&self, id: u64) -> u32 {
        let notes = self.notes.lock().unwrap();
        notes.deliveries.get(&id).copied().unwrap_or(0)
    }

    /// How many publishes were refused because their handling was over.
    pub(crate) fn refused(&self) -> usize {
        self.notes.lock().unwrap().refused
    }

    pub(crate) fn running(&self) -> usize {
        self.notes.lock().unwrap().running
    }

    fn begin(&self, id: u64) -> (Deed, u32, Running) {
        let mut notes = self.notes.lock().unwrap();
        notes.running += 1;
        let count = notes.deliveries.entry(id).or_default();
        *count += 1;
        let count = *count;
        let deed = notes.deeds.get(&id).cloned().unwrap_or_default();
        (deed, count, Running(self.clone()))
    }

    /// Publishes after the handling is over.
    fn leave_behind(&self, publisher: Publisher, wait: Duration, key: Option<Vec<u8>>) {
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let late = Message::new("late").with_optional_key(key.map(Into::into));
            let refused = publisher.send("outputs", late).await;
            if matches!(refused, Err(PublishError::NoTransaction { .. })) {
                world.notes.lock().unwrap().refused += 1;
            }
        });
    }

    async fn handle(
        self,
        payload: Vec<u8>,
        key: Option<Vec<u8>>,
        publisher: Option<Publisher>,
    ) -> Result<Outputs, Failure> {
        let id = id_of(&payload);
        let (deed, count, _running) = self.begin(id);
        if !deed.takes.is_zero() {
            tokio::time::sleep(deed.takes).await;
        }
        let fails = count <= deed.fails;
        if let Some(publisher) = &publisher {
            if !fails || deed.even_if_it_fails {
                for _ in 0..deed.publishes {
                    let receipt = publisher.send("outputs", output(id, key.as_deref()));
                    if deed.waits {
                        receipt.await?;
                    } else {
                        drop(receipt);
                    }
                }
            }
            if let Some(wait) = deed.leaves {
                self.leave_behind(publisher.clone(), wait, key.clone());
            }
        }
        if fails {
            return Err(match deed.how {
                How::Permanent => Failure::permanent("as the test says"),
                How::Panic => panic!("as the test says"),
                How::Later(wait) => Failure::later(wait),
                How::Stuck => {
                    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
                    Failure::transient("never reached")
                }
                _ => Failure::transient("as the test says"),
            });
        }
        let mut outputs = Outputs::none();
        for _ in 0..deed.returns {
            outputs = outputs.and(Output::message(output(id, key.as_deref())));
        }
        Ok(outputs)
    }

    /// Returns what it has to say.
    pub(crate) fn returning(&self) -> Subscription<()> {
        let world = self.clone();
        on("orders", move |Raw(payload): Raw, key: Option<Key>| {
            let key = key.map(|Key(key)| key.as_ref().to_vec());
            world.clone().handle(payload.to_vec(), key, None)
        })
        .to("outputs")
        .exactly_once()
    }

    /// Publishes by itself, too.
    pub(crate) fn publishing(&self) -> Subscription<()> {
        let world = self.clone();
        on(
            "orders",
            move |Raw(payload): Raw, key: Option<Key>, publisher: Publisher| {
                let key = key.map(|Key(key)| key.as_ref().to_vec());
                world.clone().handle(payload.to_vec(), key, Some(publisher))
            },
        )
        .to("outputs")
        .exactly_once()
    }

    /// Several at once.
    pub(crate) fn batches(&self) -> Subscription<()> {
        let world = self.clone();
        on("orders", move |batch: Batch<Raw>, publisher: Publisher| {
            let world = world.clone();
            async move {
                let (mut outcome, mut all) = (BatchOutcome::all_handled(), Outputs::none());
                for (index, Raw(payload)) in batch.into_iter().enumerate() {
                    let key = Some(vec![payload[payload.len() - 1]]);
                    match world
                        .clone()
                        .handle(payload.to_vec(), key, Some(publisher.clone()))
                        .await
                    {
                        Ok(outputs) => all = outputs.into_iter().fold(all, Outputs::and),
                        Err(failure) => outcome = outcome.failed(index, failure),
                    }
                }
                outcome.with_outputs(all)
            }
        })
        .to("outputs")
        .exactly_once()
    }
}

/// How often each message is among them.
pub(crate) fn counts(messages: &[Message]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for message in messages {
        let text = String::from_utf8_lossy(message.payload().expect("each has one")).into_owned();
        *counts.entry(text).or_default() += 1;
    }
    counts
}

pub(crate) fn spec(broker: &TxBroker, subscription: Subscription<()>) -> SubscriptionSpec {
    spec_of(broker, subscription, &["outputs"], broker.partitions)
}

/// Waits until the group has finished and committed everything.
pub(crate) async fn finished(broker: &TxBroker, handle: &SubscriptionHandle) {
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
