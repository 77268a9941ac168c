//! Topics on the embedded broker and on the one in memory, filled with the bytes that every arm reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidings_core::{
    Clock, DestinationSpec, DynBinder, Message, Outgoing, Publisher, Route, Routes, Sink, names,
};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync, Location};
use tokio::runtime::{Builder, Runtime};

use crate::arms::raw::Record;
use crate::error::BenchError;

/// The destination of every arm; also the name of its channel.
pub(crate) const ORDERS: &str = "orders";
/// How many messages are published at a time while a topic is filled.
const FILL_BATCH: u64 = 500;

/// A runtime on this thread: one thread handles, so processor time is the arm's.
pub(crate) fn runtime() -> Result<Runtime, BenchError> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::system("starting a runtime"))
}

/// An embedded broker on the disk with an empty topic of one partition.
#[derive(Debug)]
pub(crate) struct Disk {
    broker: EmbeddedBroker,
}

impl Disk {
    /// Opens it in that directory.
    pub(crate) fn open(runtime: &Runtime, directory: &Path, fsync: Fsync) -> Result<Self, BenchError> {
        let options = EmbeddedOptions::new(Location::Directory(directory.to_owned())).fsync(fsync);
        let broker = runtime.block_on(open(options))?;
        Ok(Self { broker })
    }

    /// Where it takes messages.
    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        DynBinder::sink(&self.broker)
    }

    /// Lets go of the directory.
    pub(crate) fn close(self, runtime: &Runtime) -> Result<(), BenchError> {
        runtime
            .block_on(DynBinder::close(&self.broker))
            .map_err(BenchError::part("closing the broker"))
    }
}

async fn open(options: EmbeddedOptions) -> Result<EmbeddedBroker, BenchError> {
    let broker = EmbeddedBroker::open(options).map_err(BenchError::part("opening the broker"))?;
    let spec = DestinationSpec::new(ORDERS, 1);
    DynBinder::prepare(&broker, spec)
        .await
        .map_err(BenchError::part("creating the topic"))?;
    Ok(broker)
}

/// The records as messages for the topic.
pub(crate) fn outgoing(records: &[Record]) -> Vec<Outgoing> {
    let destination: Arc<str> = ORDERS.into();
    let message = |record: &Record| Message::new(record.payload.clone()).with_key(record.key.clone());
    records
        .iter()
        .map(|record| Outgoing::new(destination.clone(), message(record)))
        .collect()
}

/// Publishes the messages and waits for every receipt.
pub(crate) async fn publish_batch(sink: &Arc<dyn Sink>, outgoing: Vec<Outgoing>) -> Result<(), BenchError> {
    for receipt in sink.publish_all(outgoing) {
        receipt.await.map_err(BenchError::part("publishing"))?;
    }
    Ok(())
}

/// Where a topic lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Embedded,
}

impl Place {
    /// Both, in the order of the table.
    pub(crate) const ALL: [Place; 2] = [Place::Memory, Place::Embedded];

    /// The binder's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Place::Memory => "memory",
            Place::Embedded => "embedded",
        }
    }
}

/// A topic with messages in it, which apps open by its URL.
#[derive(Debug)]
pub(crate) struct Topic {
    url: String,
    location: Location,
    /// What is in memory lives as long as somebody holds it. A directory must be let go of, so that apps can have it.
    held: Option<EmbeddedBroker>,
}

impl Topic {
    /// Makes a topic of one partition and publishes `count` messages to it, stamped as an app would.
    pub(crate) async fn filled(
        place: Place,
        directory: &Path,
        count: u64,
        message: impl Fn(u64) -> (Bytes, Bytes),
    ) -> Result<Self, BenchError> {
        let (url, location) = address(place, directory);
        let broker = open(EmbeddedOptions::new(location.clone())).await?;
        fill(&broker, count, message).await?;
        let held = match place {
            Place::Memory => Some(broker),
            Place::Embedded => {
                DynBinder::close(&broker)
                    .await
                    .map_err(BenchError::part("closing the broker"))?;
                None
            }
        };
        Ok(Self { url, location, held })
    }

    /// One in memory with nothing in it.
    pub(crate) async fn empty_in_memory() -> Result<Self, BenchError> {
        Self::filled(Place::Memory, Path::new(""), 0, |_| (Bytes::new(), Bytes::new())).await
    }

    /// What an app's configuration says.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Opens the broker without an app.
    pub(crate) async fn broker(&self) -> Result<EmbeddedBroker, BenchError> {
        open(EmbeddedOptions::new(self.location.clone())).await
    }
}

/// A group that no run has used: every run reads the whole topic.
pub(crate) fn fresh_group() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    // Children get groups as well, and their topics outlive none of them; the number alone is unique.
    format!("group-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Lets go of a broker that was opened beside a topic, where it is not the topic's own.
pub(crate) async fn close(broker: &EmbeddedBroker, topic: &Topic) -> Result<(), BenchError> {
    match topic.held {
        Some(_) => Ok(()),
        None => DynBinder::close(broker)
            .await
            .map_err(BenchError::part("closing the broker")),
    }
}

fn address(place: Place, directory: &Path) -> (String, Location) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    match place {
        Place::Memory => {
            let name = format!("bench-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let location = Location::Memory {
                name: Some(name.clone()),
            };
            (format!("memory:{name}"), location)
        }
        Place::Embedded => {
            let path: PathBuf = directory.to_owned();
            (format!("embedded:{}", path.display()), Location::Directory(path))
        }
    }
}

/// Publishes through a publisher, so that every message carries id, type, correlation and trace as in a real topic.
async fn fill(
    broker: &EmbeddedBroker,
    count: u64,
    message: impl Fn(u64) -> (Bytes, Bytes),
) -> Result<(), BenchError> {
    let mut routes = Routes::default();
    let route = Route {
        sink: DynBinder::sink(broker),
        destination: ORDERS.into(),
    };
    routes.insert(ORDERS, route);
    let publisher = Publisher::new(Arc::new(routes), Clock::System);
    let mut number = 0;
    while number < count {
        let end = (number + FILL_BATCH).min(count);
        let batch = (number..end).map(|number| typed(message(number)));
        let batch = batch.collect::<Result<Vec<_>, _>>()?;
        publisher
            .send_all(ORDERS, batch)
            .await
            .map_err(BenchError::part("filling the topic"))?;
        number = end;
    }
    Ok(())
}

fn typed((key, payload): (Bytes, Bytes)) -> Result<Message, BenchError> {
    Message::new(payload)
        .with_key(key)
        .with_header(names::TYPE, "order.placed")
        .and_then(|message| message.with_header(names::CONTENT_TYPE, "application/json"))
        .map_err(BenchError::part("writing headers"))
}
