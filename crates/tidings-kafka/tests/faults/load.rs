//! Load with receipts, services that handle it, and the judge of what they did: [`Load`].

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidings::{App, Clock, Config, Delivery, DynBinder, Message, Running, on};
use tidings_core::{Binder, Outgoing, Sink};
use tidings_kafka::KafkaBinder;
use tokio::task::JoinHandle;

/// After the last fault nothing stands still for so long, however long all of it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A message: its key, and its number among the messages of the key.
type Id = (u32, u64);

/// A handling that succeeded.
#[derive(Debug, Clone)]
struct Handled {
    id: Id,
    at: Instant,
}

#[derive(Debug, Default)]
struct Notes {
    acked: BTreeSet<Id>,
    refused: Vec<String>,
    handled: Vec<Handled>,
    /// Who handles each key at the moment.
    running: HashMap<u32, u32>,
    overlaps: Vec<String>,
}

/// What is published and handled in a test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load(Arc<Mutex<Notes>>);

/// A key that is being handled; dropped when it no longer is, however that ends.
struct Busy(Load, u32);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.notes().running.remove(&self.1);
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) acked: usize,
    pub(crate) handled: usize,
    pub(crate) lost: Vec<Id>,
    pub(crate) reordered: Vec<String>,
    pub(crate) overlaps: Vec<String>,
    /// When what was handled twice was handled for the first time.
    pub(crate) duplicates: Vec<Instant>,
}

impl Load {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(self, member: u32, delivery: Delivery) {
        let id = id_of(delivery.payload().unwrap_or_default());
        let busy = {
            let mut notes = self.notes();
            if let Some(other) = notes.running.insert(id.0, member) {
                notes
                    .overlaps
                    .push(format!("{member} began {id:?} while {other} had its key"));
            }
            Busy(self.clone(), id.0)
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.notes().handled.push(Handled {
            id,
            at: Instant::now(),
        });
        drop(busy);
    }

    /// A service that handles the topic for the group.
    pub(crate) async fn member(
        &self,
        number: u32,
        binder: KafkaBinder,
        topic: &Arc<str>,
        group: &str,
    ) -> Service {
        let load = self.clone();
        let handler = move |delivery: Delivery| load.clone().handle(number, delivery);
        let destination = topic.to_string();
        let app = App::new("load")
            .channel("orders", |channel| channel.destination(destination))
            .add(on("orders", handler).group(group).name("load").concurrency(16));
        let binder: Arc<dyn DynBinder> = Arc::new(binder);
        let config = Config::from_toml("[app]\ndrain_timeout = \"5s\"", "load.toml").unwrap();
        let service = app.with_state(());
        let running = service
            .start_on(config, binder.clone(), Clock::System)
            .await
            .unwrap();
        Service { running, binder }
    }

    /// Publishes about a thousand messages a second until it is told to stop.
    pub(crate) fn publish(&self, binder: &KafkaBinder, topic: &Arc<str>, keys: u32) -> Publishing {
        let stop = Arc::new(AtomicBool::new(false));
        let (load, sink, topic, stopping) = (self.clone(), Binder::sink(binder), topic.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut receipts = Vec::new();
            let mut number = 0;
            while !stopping.load(Ordering::Relaxed) {
                for key in 0..keys {
                    receipts.push(load.send(&*sink, &topic, (key, number)));
                }
                number += 1;
                tokio::time::sleep(Duration::from_millis(u64::from(keys))).await;
            }
            for receipt in receipts {
                receipt.await.unwrap();
            }
        });
        Publishing { stop, task }
    }

    fn send(&self, sink: &dyn Sink, topic: &Arc<str>, id: Id) -> JoinHandle<()> {
        let message =
            Message::new(format!("{}:{}", id.0, id.1)).with_key(Bytes::from(format!("key {}", id.0)));
        // The order is that of the calls; answers may be awaited anywhere.
        let receipt = sink.publish(Outgoing::new(topic.clone(), message));
        let load = self.clone();
        tokio::spawn(async move {
            match receipt.await {
                Ok(_) => drop(load.notes().acked.insert(id)),
                Err(error) => load.notes().refused.push(error.to_string()),
            }
        })
    }

    pub(crate) fn handled(&self) -> usize {
        self.notes().handled.len()
    }

    pub(crate) fn acked(&self) -> usize {
        self.notes().acked.len()
    }

    /// Waits until more is handled than before.
    pub(crate) async fn goes_on(&self) {
        let (before, since) = (self.handled(), Instant::now());
        while self.handled() == before {
            assert!(since.elapsed() < PATIENCE, "nothing is handled any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn missing(&self) -> usize {
        let notes = self.notes();
        let handled: BTreeSet<_> = notes.handled.iter().map(|one| one.id).collect();
        notes.acked.difference(&handled).count()
    }

    /// Waits until everything that was acknowledged is handled, and judges.
    pub(crate) async fn judge(&self) -> Verdict {
        let (mut missing, mut since) = (self.missing(), Instant::now());
        while missing > 0 && since.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.missing();
            if now < missing {
                (missing, since) = (now, Instant::now());
            }
        }
        let notes = self.notes();
        let mut first: BTreeMap<Id, Instant> = BTreeMap::new();
        let mut last: HashMap<u32, u64> = HashMap::new();
        let (mut duplicates, mut reordered) = (Vec::new(), Vec::new());
        for one in &notes.handled {
            if let Some(at) = first.get(&one.id) {
                duplicates.push(*at);
                continue;
            }
            first.insert(one.id, one.at);
            let (key, number) = one.id;
            if let Some(before) = last.insert(key, number).filter(|before| *before > number) {
                reordered.push(format!("{number} of {key} after {before}"));
            }
        }
        Verdict {
            acked: notes.acked.len(),
            handled: notes.handled.len(),
            lost: notes
                .acked
                .iter()
                .filter(|id| !first.contains_key(id))
                .copied()
                .collect(),
            reordered,
            overlaps: notes.overlaps.clone(),
            duplicates,
        }
    }
}

impl Verdict {
    /// Fails unless nothing is lost and keys kept their order, and says what there was.
    #[allow(clippy::print_stdout, reason = "a campaign reports its figures")]
    pub(crate) fn is_good(&self, what: &str) {
        println!(
            "{what}: {} acknowledged, {} handled, {} twice, {} lost, {} reordered, {} overlaps",
            self.acked,
            self.handled,
            self.duplicates.len(),
            self.lost.len(),
            self.reordered.len(),
            self.overlaps.len()
        );
        assert!(self.acked > 0, "{what}: nothing was published");
        assert!(
            self.lost.is_empty(),
            "{what}: lost {} of {}, the first {:?}",
            self.lost.len(),
            self.acked,
            self.lost.first()
        );
        assert!(self.reordered.is_empty(), "{what}: {:?}", self.reordered);
        assert!(self.overlaps.is_empty(), "{what}: {:?}", self.overlaps);
    }
}

/// Messages under way.
pub(crate) struct Publishing {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// Ends it when everything was answered.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// A service that runs on a binder of its own, as in a process of its own.
pub(crate) struct Service {
    pub(crate) running: Running,
    pub(crate) binder: Arc<dyn DynBinder>,
}

impl Service {
    /// Waits until it has partitions.
    pub(crate) async fn has_lanes(&self) {
        self.until("partitions", |service| {
            let status = service.running.subscription("load").unwrap().status();
            !status.lanes.is_empty()
        })
        .await;
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what} does not come: {:?}",
                self.running.health()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Drains and closes.
    pub(crate) async fn stop(self) {
        self.running.drain().await;
        let _ = self.binder.close().await;
    }

    /// Dies: what runs is cut, nothing is stored.
    pub(crate) async fn die(self) {
        let handle = self.running.subscription("load").unwrap();
        handle.abort();
        handle.stopped().await;
    }
}

fn id_of(payload: &[u8]) -> Id {
    let text = std::str::from_utf8(payload).unwrap();
    let (key, number) = text.split_once(':').unwrap();
    (key.parse().unwrap(), number.parse().unwrap())
}
