//! A binder whose names have a prefix on the broker, so that cases that use the same names do not meet: [`Apart`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tidings_core::{
    Assignment, Binder, BinderError, BinderHealth, BoxFuture, Capabilities, DestinationInfo, DestinationSpec,
    Epoch, GroupInfo, LaneId, Outgoing, PartitionPosition, Position, Progress, PublishError, Receipt,
    RecordBatch, Sink, Source, SourceError, SourceEvent, SourceInput, SourceSpec, Timestamp,
};
use tidings_kafka::{KafkaBinder, KafkaSource};

/// A binder whose names have a prefix on the broker.
#[derive(Debug)]
pub(crate) struct Apart {
    inner: KafkaBinder,
    prefix: Arc<str>,
    topics: Arc<Mutex<BTreeSet<String>>>,
}

impl Apart {
    pub(crate) fn new(inner: KafkaBinder, prefix: Arc<str>, topics: Arc<Mutex<BTreeSet<String>>>) -> Self {
        Self {
            inner,
            prefix,
            topics,
        }
    }

    fn there(&self, name: &str) -> Arc<str> {
        there(&self.prefix, name)
    }

    fn here(&self, name: &Arc<str>) -> Arc<str> {
        here(&self.prefix, name)
    }

    fn error(&self, error: BinderError) -> BinderError {
        match error {
            BinderError::UnknownDestination { destination } => BinderError::UnknownDestination {
                destination: self.here(&destination),
            },
            other => other,
        }
    }
}

fn there(prefix: &str, name: &str) -> Arc<str> {
    if name.is_empty() {
        return name.into();
    }
    format!("{prefix}{name}").into()
}

fn here(prefix: &str, name: &Arc<str>) -> Arc<str> {
    name.strip_prefix(prefix).map_or_else(|| name.clone(), Into::into)
}

fn publish_error(prefix: &str, mut error: PublishError) -> PublishError {
    use PublishError as E;
    if let E::UnknownDestination { destination }
    | E::UnknownPartition { destination, .. }
    | E::TooLarge { destination, .. }
    | E::Unauthorized { destination, .. }
    | E::Unavailable { destination, .. }
    | E::Timeout { destination, .. } = &mut error
    {
        *destination = here(prefix, destination);
    }
    error
}

#[derive(Debug)]
struct ApartSink {
    inner: Arc<dyn Sink>,
    prefix: Arc<str>,
}

impl ApartSink {
    fn map(&self, receipt: Receipt) -> Receipt {
        let prefix = self.prefix.clone();
        Receipt::boxed(async move {
            let position = receipt.await.map_err(|error| publish_error(&prefix, error))?;
            let name = here(&prefix, &position.destination().into());
            Ok(Position::new(name, position.partition(), position.offset()))
        })
    }

    fn outgoing(&self, mut outgoing: Outgoing) -> Outgoing {
        outgoing.destination = there(&self.prefix, &outgoing.destination);
        outgoing
    }
}

impl Sink for ApartSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        self.map(self.inner.publish(self.outgoing(outgoing)))
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let outgoing = outgoing.into_iter().map(|one| self.outgoing(one)).collect();
        self.inner
            .publish_all(outgoing)
            .into_iter()
            .map(|receipt| self.map(receipt))
            .collect()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}

/// A source whose assignments have the names of the case.
#[derive(Debug)]
pub(crate) struct ApartSource {
    inner: KafkaSource,
    prefix: Arc<str>,
}

impl Source for ApartSource {
    async fn next(&mut self) -> Result<SourceEvent, SourceError> {
        let mut event = self.inner.next().await?;
        if let SourceEvent::Assigned(lanes) = &mut event {
            lanes
                .iter_mut()
                .for_each(|lane: &mut Assignment| lane.destination = here(&self.prefix, &lane.destination));
        }
        Ok(event)
    }

    fn progress(&mut self, lane: LaneId, epoch: Epoch, progress: Progress) {
        self.inner.progress(lane, epoch, progress);
    }

    fn pause(&mut self, lanes: &[LaneId]) {
        self.inner.pause(lanes);
    }

    fn resume(&mut self, lanes: &[LaneId]) {
        self.inner.resume(lanes);
    }

    fn seek(&mut self, lane: LaneId, offset: u64) {
        self.inner.seek(lane, offset);
    }

    fn change_inputs(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        let inputs = inputs.iter().map(|input| SourceInput {
            destination: there(&self.prefix, &input.destination),
            retry: input.retry.as_ref().map(|retry| there(&self.prefix, retry)),
        });
        self.inner.change_inputs(&inputs.collect::<Vec<_>>())
    }

    async fn commit(&mut self) -> Result<(), SourceError> {
        self.inner.commit().await
    }

    fn release(&mut self, lanes: &[LaneId]) {
        self.inner.release(lanes);
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        self.inner.close().await
    }
}

impl Binder for Apart {
    type Source = ApartSource;

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(ApartSink {
            inner: self.inner.sink(),
            prefix: self.prefix.clone(),
        })
    }

    async fn prepare(&self, mut destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        destination.name = self.there(&destination.name);
        self.topics.lock().unwrap().insert(destination.name.to_string());
        let mut info = self
            .inner
            .prepare(destination)
            .await
            .map_err(|error| self.error(error))?;
        info.name = self.here(&info.name);
        Ok(info)
    }

    async fn subscribe(&self, mut spec: SourceSpec) -> Result<ApartSource, BinderError> {
        spec.group = spec.group.map(|group| self.there(&group));
        for input in &mut spec.inputs {
            input.destination = self.there(&input.destination);
            input.retry = input.retry.as_ref().map(|retry| self.there(retry));
        }
        let inner = self
            .inner
            .subscribe(spec)
            .await
            .map_err(|error| self.error(error))?;
        Ok(ApartSource {
            inner,
            prefix: self.prefix.clone(),
        })
    }

    async fn positions(
        &self,
        destination: &str,
        group: Option<&str>,
    ) -> Result<Vec<PartitionPosition>, BinderError> {
        let group = group.map(|group| self.there(group));
        let found = self
            .inner
            .positions(&self.there(destination), group.as_deref())
            .await;
        found.map_err(|error| self.error(error))
    }

    async fn store_progress(
        &self,
        destination: &str,
        partition: u32,
        group: &str,
        progress: Progress,
    ) -> Result<(), BinderError> {
        let (destination, group) = (self.there(destination), self.there(group));
        let stored = self
            .inner
            .store_progress(&destination, partition, &group, progress)
            .await;
        stored.map_err(|error| self.error(error))
    }

    async fn read(
        &self,
        destination: &str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<RecordBatch, BinderError> {
        let read = self
            .inner
            .read(&self.there(destination), partition, from, max_bytes)
            .await;
        read.map_err(|error| self.error(error))
    }

    async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        let mut all = self.inner.destinations().await?;
        all.retain(|info| info.name.starts_with(&*self.prefix));
        all.iter_mut().for_each(|info| info.name = self.here(&info.name));
        Ok(all)
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, BinderError> {
        let mut all = self.inner.groups().await?;
        all.retain(|group| group.name.starts_with(&*self.prefix));
        for group in &mut all {
            group.name = self.here(&group.name);
            group
                .positions
                .iter_mut()
                .for_each(|at| at.destination = self.here(&at.destination));
        }
        Ok(all)
    }

    async fn offset_at(
        &self,
        destination: &str,
        partition: u32,
        time: Timestamp,
    ) -> Result<u64, BinderError> {
        let found = self
            .inner
            .offset_at(&self.there(destination), partition, time)
            .await;
        found.map_err(|error| self.error(error))
    }

    async fn delete_progress(&self, destination: &str, group: &str) -> Result<(), BinderError> {
        let deleted = self
            .inner
            .delete_progress(&self.there(destination), &self.there(group))
            .await;
        deleted.map_err(|error| self.error(error))
    }

    fn health(&self) -> BinderHealth {
        self.inner.health()
    }

    async fn close(&self) -> Result<(), BinderError> {
        self.inner.close().await
    }
}
