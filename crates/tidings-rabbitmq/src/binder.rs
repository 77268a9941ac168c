//! The driver: [`RabbitBinder`].

use crate::background::Worker;
use crate::connection::{Link, PATIENCE};
use crate::error::RabbitError;
use crate::letters::{RabbitLetters, letters_exchange};
use crate::options::ClientOptions;
use crate::retry::{BinderSink, RetryQueues};
use crate::sink::RabbitSink;
use crate::source::{RabbitSource, Shared};
use crate::topology::{Binding, QueueSpec, Topology};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::{
    Binder, BinderError, BinderHealth, Capabilities, Create, DestinationInfo, DestinationRole,
    DestinationSpec, GroupInfo, HeldLetters, LettersOf, PartitionPosition, Progress, PublishError,
    RecordBatch, Sink, SourceSpec,
};

/// One RabbitMQ: exchanges are destinations, and each group has a queue `{destination}.{group}` for each of them.
///
/// Messages are published on one connection and received on another, so that a server that takes none still gives some.
/// Both are made anew for as long as it takes.
pub struct RabbitBinder {
    shared: Arc<Shared>,
    sink: Arc<RabbitSink>,
    retries: Arc<RetryQueues>,
    /// Whether each destination may be made.
    known: Mutex<HashMap<Arc<str>, Create>>,
    _worker: Worker,
}

impl RabbitBinder {
    /// Sets it up. It connects by itself: a RabbitMQ that is away is no error here.
    ///
    /// # Errors
    /// Options that do not go together, files that cannot be used, no thread.
    pub fn open(options: ClientOptions) -> Result<Self, RabbitError> {
        let sink = Arc::new(RabbitSink::open(options.clone())?);
        let worker = Worker::start()?;
        let options = Arc::new(options);
        let link = Arc::new(Link::start(worker.handle(), options.clone(), "consuming"));
        let topology = Arc::new(Topology::new(link.clone(), options.clone()));
        let retries = RetryQueues::new(sink.clone(), topology.clone());
        let shared = Shared {
            options,
            link,
            topology,
            closed: AtomicBool::new(false),
        };
        Ok(Self {
            shared: Arc::new(shared),
            sink,
            retries,
            known: Mutex::default(),
            _worker: worker,
        })
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// The server lets nobody in, or is silent.
    pub async fn connected(&self) -> Result<(), BinderError> {
        let link = &self.shared.link;
        let live = tokio::time::timeout(PATIENCE, link.live()).await;
        live.unwrap_or_else(|_| Err(link.silent()))?;
        Ok(())
    }

    fn created(&self, name: &str) -> Create {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).copied().unwrap_or_default()
    }

    fn check_open(&self) -> Result<(), BinderError> {
        match self.shared.closed.load(Ordering::Acquire) {
            true => Err(BinderError::Closed),
            false => Ok(()),
        }
    }

    /// The queue from which a group, or nobody in particular, reads a destination.
    fn queue(&self, destination: &Arc<str>, group: Option<&str>) -> QueueSpec {
        let (create, topology) = (self.created(destination), &self.shared.topology);
        let bound_to = Some(Binding::all_of(destination));
        let Some(group) = group else {
            let name = format!("{destination}.anonymous.{:016x}", fastrand::u64(..));
            return QueueSpec {
                arguments: lapin::types::FieldTable::default(),
                exclusive: true,
                bound_to,
                // It is nobody else's, so there is nothing to find.
                ..topology.lying(name, Create::IfMissing)
            };
        };
        let from = Binding::keyed(&letters_exchange(destination), group);
        let letters = || topology.letters(destination, group, &from.exchange, create);
        QueueSpec {
            arguments: topology.arguments(&from),
            bound_to,
            letters: (create == Create::IfMissing).then(|| Box::new(letters())),
            ..topology.lying(format!("{destination}.{group}"), create)
        }
    }

    async fn declare(&self, spec: &DestinationSpec) -> Result<(), BinderError> {
        let (name, topology) = (&spec.name, &self.shared.topology);
        match spec.role {
            // The source declares it beside the queue whose messages come back to it.
            DestinationRole::Retry => self.retries.is_retry_queue(name),
            DestinationRole::DeadLetters => {
                topology.exchange(name, spec.create).await?;
                self.retries.are_letters(name);
            }
            _ => topology.exchange(name, spec.create).await?,
        }
        Ok(())
    }
}

fn unsupported<T>(feature: &'static str, cure: &'static str) -> Result<T, BinderError> {
    Err(BinderError::Unsupported {
        broker: "rabbitmq",
        feature,
        cure,
    })
}

impl Binder for RabbitBinder {
    type Source = RabbitSource;

    fn kind(&self) -> &'static str {
        "rabbitmq"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::NONE;
        can.stored_positions = true;
        can.durable = true;
        can.retry_lane = true;
        can.longest_hold = Some(self.shared.options.consuming().longest_hold);
        can
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(BinderSink(self.retries.clone()))
    }

    async fn prepare(&self, spec: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        self.check_open()?;
        self.declare(&spec).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(spec.name.clone(), spec.create);
        drop(known);
        Ok(DestinationInfo {
            name: spec.name,
            partitions: 1,
        })
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<RabbitSource, BinderError> {
        self.check_open()?;
        let group = spec.group.clone();
        let queue_of = |destination: &Arc<str>| self.queue(destination, group.as_deref());
        Ok(RabbitSource::new(self.shared.clone(), spec, queue_of))
    }

    async fn positions(&self, _: &str, _: Option<&str>) -> Result<Vec<PartitionPosition>, BinderError> {
        unsupported(
            "positions: what was handled is gone from its queue",
            "look at the length of the queue on the server's pages, or take a broker with replay (Kafka, embedded)",
        )
    }

    async fn store_progress(&self, _: &str, _: u32, _: &str, _: Progress) -> Result<(), BinderError> {
        unsupported(
            "positions that can be set: what was handled is gone from its queue",
            "take a broker with replay (Kafka, embedded)",
        )
    }

    async fn read(&self, _: &str, _: u32, _: u64, _: usize) -> Result<RecordBatch, BinderError> {
        unsupported(
            "reading without taking",
            "subscribe to it, or take a broker with replay (Kafka, embedded)",
        )
    }

    async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        unsupported(
            "list of exchanges in its protocol",
            "look at the server's pages, or `rabbitmqctl list_exchanges`",
        )
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, BinderError> {
        unsupported(
            "list of groups in its protocol",
            "name one: `tidings groups show GROUP --topic CHANNEL`; or look at `rabbitmqctl list_queues`",
        )
    }

    fn hold_letters(&self, of: &LettersOf) -> Option<Box<dyn HeldLetters>> {
        Some(Box::new(RabbitLetters::new(self.shared.clone(), of)))
    }

    fn health(&self) -> BinderHealth {
        match (self.sink.health(), self.shared.link.state().borrow().trouble()) {
            (BinderHealth::Up, Some(trouble)) => {
                BinderHealth::Down(format!("{}: {trouble}", self.shared.options.shown()))
            }
            (health, _) => health,
        }
    }

    async fn close(&self) -> Result<(), BinderError> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (kept, ()) = tokio::join!(self.sink.close(), self.shared.link.close());
        kept.map_err(|error: PublishError| BinderError::Failed {
            doing: "closing the connections to RabbitMQ".to_owned(),
            reason: error.to_string(),
        })
    }
}

impl fmt::Debug for RabbitBinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitBinder")
            .field("servers", &self.shared.options.shown())
            .finish_non_exhaustive()
    }
}
