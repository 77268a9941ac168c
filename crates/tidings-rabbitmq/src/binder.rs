//! The driver: [`RabbitBinder`].

use crate::background::Worker;
use crate::binder_sink::BinderSink;
use crate::connection::{Link, PATIENCE};
use crate::delays::Delays;
use crate::destinations::{Destination, Destinations};
use crate::error::RabbitError;
use crate::group_queues;
use crate::layout::Layout;
use crate::letters::{RabbitLetters, letters_exchange};
use crate::options::{ClientOptions, DestinationOptions};
use crate::requests::RabbitReplies;
use crate::retry::RetryQueues;
use crate::sink::{RabbitSink, Route};
use crate::source::{RabbitSource, Shared};
use crate::topology::{ExchangeSpec, QueueSpec, Topology};
use crate::waits::Waits;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidings_core::{
    Binder, BinderError, BinderHealth, Capabilities, Create, DestinationInfo, DestinationRole,
    DestinationSpec, GroupInfo, GroupQueue, HeldLetters, LettersOf, PartitionPosition, Progress,
    PublishError, RecordBatch, ReplyPath, Sink, SourceSpec,
};
use tokio::runtime::Handle;

/// One RabbitMQ: exchanges are destinations, and each group has a queue `{destination}.{group}` for each of them.
///
/// Messages are published on one connection and received on another, so that a server that takes none still gives some.
/// Both are made anew for as long as it takes.
pub struct RabbitBinder {
    shared: Arc<Shared>,
    sink: Arc<RabbitSink>,
    retries: Arc<RetryQueues>,
    replies: Arc<RabbitReplies>,
    delays: Arc<Delays>,
    destinations: Arc<Destinations>,
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
        // Messages are handled on the program's runtime: what comes of waking another thread for each packet is lost.
        let program = Handle::try_current().ok();
        let link = Arc::new(Link::start(
            worker.handle(),
            program,
            options.clone(),
            "consuming",
        ));
        let topology = Arc::new(Topology::new(link.clone(), options.clone()));
        let retries = RetryQueues::new(sink.clone(), topology.clone());
        let delays = Delays::new(sink.clone(), topology.clone(), worker.handle().clone());
        let replies = RabbitReplies {
            options: options.clone(),
            runtime: worker.handle().clone(),
            asking: Arc::new(Link::start(worker.handle(), None, options.clone(), "asking")),
            answering: link.clone(),
            sink: sink.clone(),
        };
        let shared = Shared {
            options,
            link,
            topology,
            closed: AtomicBool::new(false),
            epochs: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
            sink,
            retries,
            replies: Arc::new(replies),
            delays,
            destinations: Arc::default(),
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

    fn check_open(&self) -> Result<(), BinderError> {
        match self.shared.closed.load(Ordering::Acquire) {
            true => Err(BinderError::Closed),
            false => Ok(()),
        }
    }

    /// The queue from which a group reads. Where its dead letters' queue may not be made, it must be there before the first.
    fn queue(&self, destination: &Arc<str>, group: Option<&str>) -> QueueSpec {
        let topology = &self.shared.topology;
        let queue = self.destinations.layout(destination).queue(group, topology);
        let exchange = letters_exchange(destination);
        let (Some(group), Destination::Letters(letters)) = (group, self.destinations.of(&exchange)) else {
            return queue;
        };
        if letters.create != Create::Never {
            return queue;
        }
        QueueSpec {
            letters: Some(Box::new(topology.letters(
                destination,
                group,
                &exchange,
                Create::Never,
            ))),
            ..queue
        }
    }

    async fn declare(&self, spec: &DestinationSpec) -> Result<(), BinderError> {
        let (name, topology) = (&spec.name, &self.shared.topology);
        match spec.role {
            // The source declares it beside the queue whose messages come back to it.
            DestinationRole::Retry => {
                let waits = match spec.create {
                    Create::IfMissing => Some(Waits::Made),
                    Create::Never => Waits::there(topology, name).await?,
                };
                self.sink.route(name.clone(), Route::Queue);
                let retry = waits.map_or(Destination::Lacking, Destination::Retry);
                self.destinations.remember(name, retry);
            }
            DestinationRole::DeadLetters => {
                topology.exchange(&ExchangeSpec::topic(name, spec.create)).await?;
                self.sink.route(name.clone(), Route::Letters);
                let layout = Arc::new(Layout::new(spec, DestinationOptions::default()));
                self.destinations.remember(name, Destination::Letters(layout));
            }
            _ => {
                let options = self.shared.options.destination(name).cloned().unwrap_or_default();
                let layout = Layout::new(spec, options);
                if let Some(exchange) = layout.exchange() {
                    topology.exchange(&exchange).await?;
                }
                if layout.is_stream() {
                    topology.queue(&layout.stream(topology)).await?;
                }
                self.sink.route(name.clone(), layout.route());
                self.destinations
                    .remember(name, Destination::Named(Arc::new(layout)));
            }
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
        can.delayed = true;
        can.priorities = true;
        can.retry_lane = true;
        can.longest_hold = Some(self.shared.options.consuming().longest_hold);
        can
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(BinderSink {
            retries: self.retries.clone(),
            delays: self.delays.clone(),
            destinations: self.destinations.clone(),
            sink: self.sink.clone(),
        })
    }

    async fn prepare(&self, spec: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        self.check_open()?;
        self.declare(&spec).await?;
        Ok(DestinationInfo {
            name: spec.name,
            partitions: 1,
        })
    }

    async fn subscribe(&self, mut spec: SourceSpec) -> Result<RabbitSource, BinderError> {
        self.check_open()?;
        let group = spec.group.clone();
        let is_lacking = |retry: &mut Arc<str>| matches!(self.destinations.of(retry), Destination::Lacking);
        for input in &mut spec.inputs {
            input.retry.take_if(is_lacking);
        }
        let queue_of = |destination: &Arc<str>| self.queue(destination, group.as_deref());
        let mut source = RabbitSource::new(self.shared.clone(), spec, queue_of);
        source.declare().await;
        Ok(source)
    }

    async fn positions(&self, _: &str, _: Option<&str>) -> Result<Vec<PartitionPosition>, BinderError> {
        unsupported(
            "positions: what was handled is gone from its queue",
            "`tidings groups show GROUP --topic CHANNEL` says what waits in its queues; or take a broker with replay (Kafka, embedded)",
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

    fn reply_path(&self) -> Option<Arc<dyn ReplyPath>> {
        Some(self.replies.clone())
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, BinderError> {
        unsupported(
            "list of groups in its protocol",
            "name one: `tidings groups show GROUP --topic CHANNEL`; or look at `rabbitmqctl list_queues`",
        )
    }

    async fn group_queues(
        &self,
        destination: &str,
        group: &str,
    ) -> Result<Option<Vec<GroupQueue>>, BinderError> {
        self.check_open()?;
        let layout = self.destinations.layout(&destination.into());
        let queues = group_queues::count(&self.shared.topology, &layout, group);
        queues.await.map(Some)
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
        let (kept, (), ()) = tokio::join!(
            self.sink.close(),
            self.shared.link.close(),
            self.replies.asking.close()
        );
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
