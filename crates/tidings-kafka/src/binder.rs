//! One Kafka, opened: [`KafkaBinder`].

use crate::admin::KafkaAdmin;
use crate::background::Held;
use crate::error::KafkaError;
use crate::native::Consumer;
use crate::options::ClientOptions;
use crate::shared::Shared;
use crate::sink::{Transacting, Use};
use crate::source::inbox::{Inbox, News};
use crate::source::{KafkaSource, LEAVE_TIMEOUT, Plan, configure, leave};
use crate::transactions::{Transactor, transactional_id};
use crate::trimming::Trimming;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidings_core::{
    Binder, BinderError, BinderHealth, Capabilities, DestinationInfo, DestinationSpec, GroupInfo, Guarantee,
    PartitionPosition, Progress, RecordBatch, Sink, SourceError, SourceInput, SourceSpec, Timestamp,
};

/// One Kafka: where messages go, what reads for subscriptions, and what is asked of the cluster.
///
/// Each subscription has a client of its own, because librdkafka has one member of a group for each client.
#[derive(Debug)]
pub struct KafkaBinder {
    shared: Arc<Shared>,
    admin: KafkaAdmin,
    trimming: OnceLock<Trimming>,
}

impl KafkaBinder {
    /// Sets up the clients. They connect by themselves: a Kafka that is away is no error here.
    ///
    /// # Errors
    /// [`KafkaError::Client`] if librdkafka refuses the properties, [`KafkaError::Security`] if they do not go together.
    pub fn open(options: ClientOptions) -> Result<Self, KafkaError> {
        let shared = Shared::new(options)?;
        let admin = KafkaAdmin::with(
            shared.options.clone(),
            shared.state.clone(),
            shared.topics.clone(),
        )?;
        Ok(Self {
            shared: Arc::new(shared),
            admin,
            trimming: OnceLock::new(),
        })
    }

    /// What is asked of the cluster.
    pub fn admin(&self) -> &KafkaAdmin {
        &self.admin
    }

    /// The partitions of an input, whose retry topic must have as many.
    async fn check(&self, input: &SourceInput) -> Result<Vec<(String, u32)>, BinderError> {
        let count = self.admin.partitions(&input.destination).await?;
        if let Some(retry) = &input.retry {
            let of_retry = self.admin.partitions(retry).await?;
            if of_retry != count {
                return Err(BinderError::Failed {
                    doing: format!("reading \"{}\"", input.destination),
                    reason: format!(
                        "its retry topic \"{retry}\" has {of_retry} partitions in place of {count}: partition p of both must be read by one member; give it as many"
                    ),
                });
            }
        }
        let topic = input.destination.to_string();
        Ok((0..count).map(|partition| (topic.clone(), partition)).collect())
    }

    fn source(&self, spec: SourceSpec, places: Vec<(String, u32)>) -> Result<KafkaSource, BinderError> {
        let config = configure(self.shared.options.consumer(), &spec);
        let guarantee = spec.guarantee;
        let plan = Plan::new(spec, &config, self.shared.options.request_timeout());
        let consumer = Consumer::new(&config, Inbox::default(), &self.shared.state);
        let consumer = consumer.map_err(|error| {
            let doing = format!("making a consumer for \"{}\"", plan.subscription);
            not_made(doing, &error.to_string())
        })?;
        let consumer = Arc::new(consumer);
        self.shared.register(&consumer);
        let transactor = self.transactor(&plan, &consumer, guarantee)?;
        if let Some(group) = &plan.group {
            self.shared.retries.are_read(group, plan.retry_topics());
            self.trimming
                .get_or_init(|| Trimming::start(&self.shared, &self.admin));
        }
        match plan.group {
            // A pattern that matches nothing yet: topics come with `change_inputs`.
            Some(_) if plan.reads_nothing() => {}
            Some(_) => consumer
                .subscribe(plan.topics())
                .map_err(|fault| BinderError::Source(fault.unavailable()))?,
            None => consumer.inbox().tell(News::Grown(places)),
        }
        Ok(KafkaSource::new(self.shared.clone(), consumer, plan, transactor))
    }

    /// What commits outputs together with progress, where that is asked for.
    fn transactor(
        &self,
        plan: &Plan,
        consumer: &Arc<Consumer>,
        guarantee: Guarantee,
    ) -> Result<Option<Transactor>, BinderError> {
        if guarantee != Guarantee::ExactlyOnce {
            return Ok(None);
        }
        let group = plan.group.as_ref().ok_or(BinderError::Unsupported {
            broker: "kafka",
            feature: "exactly_once without a group",
            cure: "name the group: its position is what is committed with the outputs",
        })?;
        let shared = &self.shared;
        let id = transactional_id(group, &plan.subscription, shared.options.instance());
        let failed = |error: KafkaError| {
            let doing = format!(
                "making the transactional producer \"{id}\" for \"{}\"",
                plan.subscription
            );
            not_made(doing, &error.to_string())
        };
        let sink = Transacting::open(
            &shared.options,
            &id,
            shared.state.clone(),
            shared.topics.clone(),
            Use::Subscription,
        );
        let inbox = consumer.inbox().clone();
        let tell = move |ticket, outcome| inbox.tell(News::Transaction { ticket, outcome });
        let transactor = sink.and_then(|sink| Transactor::start(sink, tell));
        transactor.map(Some).map_err(failed)
    }
}

/// Why a client was not made. No broker was asked: its properties do not go together, and will not later either, unless
/// the system gives no more threads.
fn not_made(doing: String, reason: &str) -> BinderError {
    if reason.contains("thread") {
        let reason = reason.to_owned();
        return BinderError::Failed { doing, reason };
    }
    BinderError::Source(SourceError::Refused {
        reason: format!("{doing}: {reason}; correct the properties of the binder: [binder.…] kafka.\"…\""),
    })
}

impl Binder for KafkaBinder {
    type Source = KafkaSource;

    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::NONE;
        can.partitions = true;
        can.replay = true;
        can.stored_positions = true;
        can.durable = true;
        can.retry_lane = true;
        can.patterns = true;
        can.transactions = true;
        can
    }

    fn sink(&self) -> Arc<dyn Sink> {
        self.admin.sink()
    }

    async fn prepare(&self, destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        self.admin.prepare(destination).await
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<KafkaSource, BinderError> {
        let mut places = Vec::new();
        for input in &spec.inputs {
            places.extend(self.check(input).await?);
        }
        if self.shared.is_closed() {
            return Err(BinderError::Closed);
        }
        self.source(spec, places)
    }

    async fn positions(
        &self,
        destination: &str,
        group: Option<&str>,
    ) -> Result<Vec<PartitionPosition>, BinderError> {
        self.admin.positions(destination, group).await
    }

    async fn store_progress(
        &self,
        destination: &str,
        partition: u32,
        group: &str,
        progress: Progress,
    ) -> Result<(), BinderError> {
        self.admin
            .store_progress(destination, partition, group, progress)
            .await
    }

    async fn read(
        &self,
        destination: &str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<RecordBatch, BinderError> {
        self.admin.read(destination, partition, from, max_bytes).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        self.admin.destinations().await
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, BinderError> {
        self.admin.groups().await
    }

    async fn offset_at(
        &self,
        destination: &str,
        partition: u32,
        time: Timestamp,
    ) -> Result<u64, BinderError> {
        self.admin.offset_at(destination, partition, time).await
    }

    async fn delete_progress(&self, destination: &str, group: &str) -> Result<(), BinderError> {
        self.admin.delete_progress(destination, group).await
    }

    fn health(&self) -> BinderHealth {
        match self.admin.health() {
            BinderHealth::Up => match self.shared.trouble() {
                Some(trouble) => BinderHealth::Down(trouble),
                None => BinderHealth::Up,
            },
            down @ BinderHealth::Down(_) => down,
        }
    }

    async fn close(&self) -> Result<(), BinderError> {
        let mut left: Vec<_> = self.shared.close().into_iter().map(Held::new).collect();
        left.iter().for_each(|consumer| drop(leave(Arc::clone(consumer))));
        let closed = self.admin.close().await;
        // Members that left have given their partitions back; those that cannot reach the broker are not waited for.
        let until = tokio::time::Instant::now() + LEAVE_TIMEOUT;
        while tokio::time::Instant::now() < until {
            left.retain(|consumer| !consumer.is_closed());
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        closed
    }
}
