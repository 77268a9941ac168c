//! The broker as programs hold it: [`EmbeddedBroker`].

use crate::keeper::Concern;
use crate::lock::lock;
use crate::options::{EmbeddedOptions, Location};
use crate::partition::Partition;
use crate::progress::clip;
use crate::shared::Shared;
use crate::signal::Signal;
use crate::sink::{self, EmbeddedSink};
use crate::source::EmbeddedSource;
use crate::topics::{MAX_PARTITIONS, Topic};
use crate::{compaction, directory, lane, names, opening, operate, retention, subscribing};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tidings_core::{
    Binder, BinderError, BinderHealth, Capabilities, Create, DestinationInfo, DestinationSpec, Epoch,
    GroupInfo, LaneId, PartitionPosition, Progress, RecordBatch, Sink, SourceSpec, Timestamp,
};

/// The brokers in memory that have a name.
static NAMED: Mutex<BTreeMap<String, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// The broker behind `embedded:DIRECTORY`, `memory:` and `memory:NAME`, opened. Clones are the same handle.
///
/// It must be opened within a tokio runtime, which it uses for what goes on in the background.
#[derive(Clone)]
pub struct EmbeddedBroker {
    handle: Arc<Handle>,
}

/// One opening of a broker. A broker in memory that has a name can have several, and lives until all are closed.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    closed: AtomicBool,
    /// Who must hear of the end.
    readers: Mutex<Vec<Weak<Signal>>>,
}

impl Handle {
    fn new(shared: Arc<Shared>) -> Arc<Self> {
        shared.openers.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self {
            shared,
            closed: AtomicBool::new(false),
            readers: Mutex::default(),
        })
    }

    /// Whether this handle, or the broker, was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.shared.is_closed()
    }

    pub(crate) fn watch(&self, reader: &Arc<Signal>) {
        let mut readers = lock(&self.readers);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(reader));
    }

    /// Ends this handle; whether it was the last of its broker. None if it was ended before.
    fn end(&self) -> Option<bool> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return None;
        }
        for reader in lock(&self.readers)
            .drain(..)
            .filter_map(|reader| reader.upgrade())
        {
            reader.raise();
        }
        // Under this lock, so that nobody opens by name a broker that is about to end.
        let _named = lock(&NAMED);
        Some(self.shared.openers.fetch_sub(1, Ordering::AcqRel) == 1)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.end() == Some(true) {
            self.shared.abandon();
        }
    }
}

impl EmbeddedBroker {
    /// Opens a broker. What a crash left unfinished is repaired, what is damaged is refused with the place.
    ///
    /// A broker in memory that has a name is the same for all who open it; the options of the first count.
    ///
    /// # Errors
    /// [`BinderError::Open`]: the directory has another owner, was written by a newer version, cannot be read.
    pub fn open(options: EmbeddedOptions) -> Result<Self, BinderError> {
        let Location::Memory { name: Some(name) } = &options.location else {
            return Self::open_new(options);
        };
        let name = name.clone();
        let mut named = lock(&NAMED);
        named.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = named.get(&name).and_then(Weak::upgrade)
            && shared.openers.load(Ordering::Acquire) > 0
        {
            return Ok(Self {
                handle: Handle::new(shared),
            });
        }
        let opened = Self::open_new(options)?;
        named.insert(name, Arc::downgrade(&opened.handle.shared));
        Ok(opened)
    }

    fn open_new(options: EmbeddedOptions) -> Result<Self, BinderError> {
        let url = options.url();
        let shared = Arc::new(Shared::open(options)?);
        let handle = Handle::new(shared);
        let started = handle.shared.start();
        started.map_err(|reason| BinderError::Open { url, reason })?;
        Ok(Self { handle })
    }

    pub(crate) fn shared(&self) -> Result<&Arc<Shared>, BinderError> {
        if self.handle.is_closed() {
            return Err(BinderError::Closed);
        }
        Ok(&self.handle.shared)
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, BinderError> {
        self.shared()?
            .topic(name)
            .ok_or_else(|| BinderError::UnknownDestination {
                destination: name.into(),
            })
    }

    /// Deletes now what retention may delete, instead of at its next turn.
    ///
    /// # Errors
    /// [`BinderError::Failed`]: what could not be deleted; the rest was.
    pub async fn retain(&self) -> Result<(), BinderError> {
        let retained = self.shared()?.blocking(retention::retain_all).await;
        retained.map_err(failed("delete old segments"))
    }

    /// Compacts now what may be compacted, instead of at its next turn.
    ///
    /// # Errors
    /// [`BinderError::Failed`]: what could not be compacted; the rest was.
    pub async fn compact(&self) -> Result<(), BinderError> {
        let compacted = self
            .shared()?
            .blocking(|shared| compaction::compact_all(shared, 0))
            .await;
        compacted.map_err(failed("compact destinations"))
    }
}

pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(String) -> BinderError {
    let doing = doing.into();
    move |reason| BinderError::Failed { doing, reason }
}

fn info(topic: &Topic) -> DestinationInfo {
    DestinationInfo {
        name: topic.name.clone(),
        partitions: topic.count(),
    }
}

fn partition_of(topic: &Topic, index: u32) -> Result<Arc<Partition>, BinderError> {
    topic.partition(index).cloned().ok_or_else(|| {
        let reason = format!("there is no partition {index}, there are {}", topic.count());
        failed(format!("read \"{}\"", topic.name))(reason)
    })
}

/// Whether a process owns a broker's directory now: only that one can write, others can look. Nothing is changed.
///
/// # Errors
/// [`BinderError::Open`]: the lock file cannot be read.
pub fn is_owned(directory: impl AsRef<Path>) -> Result<bool, BinderError> {
    let directory = directory.as_ref();
    directory::is_owned(directory).map_err(|reason| BinderError::Open {
        url: format!("embedded:{}", directory.display()),
        reason,
    })
}

impl Binder for EmbeddedBroker {
    type Source = EmbeddedSource;

    fn kind(&self) -> &'static str {
        if self.handle.shared.is_in_memory() {
            "memory"
        } else {
            "embedded"
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.partitions = true;
        capabilities.replay = true;
        capabilities.stored_positions = !self.handle.shared.is_read_only();
        capabilities.durable = !self.handle.shared.is_in_memory();
        capabilities.delayed = !self.handle.shared.is_read_only();
        capabilities.retry_lane = !self.handle.shared.is_read_only();
        capabilities.patterns = !self.handle.shared.is_read_only();
        capabilities
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(EmbeddedSink {
            handle: self.handle.clone(),
        })
    }

    async fn prepare(&self, destination: DestinationSpec) -> Result<DestinationInfo, BinderError> {
        let shared = self.shared()?;
        names::check(&destination.name)?;
        if let Some(topic) = shared.topic(&destination.name) {
            topic.set_retention(&destination);
            retention::start_if_wanted(shared, &topic);
            compaction::start_if_wanted(shared, &topic);
            return Ok(info(&topic));
        }
        if destination.create == Create::Never || shared.is_read_only() {
            return Err(BinderError::UnknownDestination {
                destination: destination.name,
            });
        }
        let doing = format!("create the destination \"{}\"", destination.name);
        let partitions = match destination.partitions {
            0 => shared.options.partitions,
            partitions => partitions,
        };
        if partitions > MAX_PARTITIONS {
            return Err(failed(doing)(format!(
                "{partitions} partitions are too many: {MAX_PARTITIONS} at the most"
            )));
        }
        let name = destination.name.clone();
        let created = shared
            .blocking(move |shared| {
                shared
                    .topics
                    .create(&*shared.files, &shared.root, &name, partitions)
            })
            .await;
        let topic = created.map_err(failed(doing))?;
        topic.set_retention(&destination);
        retention::start_if_wanted(shared, &topic);
        compaction::start_if_wanted(shared, &topic);
        Ok(info(&topic))
    }

    async fn subscribe(&self, spec: SourceSpec) -> Result<EmbeddedSource, BinderError> {
        self.shared()?;
        subscribing::subscribe(&self.handle, spec).await
    }

    async fn positions(
        &self,
        destination: &str,
        group: Option<&str>,
    ) -> Result<Vec<PartitionPosition>, BinderError> {
        let topic = self.topic(destination)?;
        let group: Option<Arc<str>> = group.map(Into::into);
        if group.is_some() {
            operate::check_known(self.shared()?)?;
        }
        let doing = format!("look at \"{destination}\"");
        let found = self.shared()?.blocking(move |shared| {
            opening::open_all(shared, &topic.partitions);
            let mut positions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let log = partition.log(shared).map_err(|error| error.to_string())?;
                partition.refresh(shared);
                let stored = |group| {
                    shared
                        .progress
                        .find(&topic.name, group, partition.index)?
                        .stored()
                };
                positions.push(PartitionPosition {
                    partition: partition.index,
                    first: log.first_offset(),
                    end: partition.end(shared, log),
                    progress: group.as_ref().and_then(stored),
                });
            }
            Ok(positions)
        });
        found.await.map_err(failed(doing))
    }

    async fn store_progress(
        &self,
        destination: &str,
        partition: u32,
        group: &str,
        mut progress: Progress,
    ) -> Result<(), BinderError> {
        let topic = self.topic(destination)?;
        let shared = self.shared()?.clone();
        let doing = format!("store the position of the group \"{group}\" in {destination}/{partition}");
        operate::check_writable(&shared)?;
        let end = self
            .positions(destination, None)
            .await?
            .get(partition as usize)
            .map(|position| position.end);
        let Some(end) = end else {
            return Err(failed(doing)(format!("there are {} partitions", topic.count())));
        };
        if progress.watermark > end {
            return Err(failed(doing)(format!(
                "{} is beyond the end {end}",
                progress.watermark
            )));
        }
        clip(&mut progress, end);
        let entry = shared.progress.entry(&topic.name, &group.into(), partition);
        if entry.is_owned() {
            let reason = "a member of the group reads it: stop the group first";
            return Err(failed(doing)(reason.to_owned()));
        }
        shared.keeper.note(&entry, entry.set(progress));
        let concern = Concern::Entries(vec![entry]);
        shared
            .keeper
            .commit(&shared, concern)
            .await
            .map_err(failed(doing))
    }

    async fn read(
        &self,
        destination: &str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<RecordBatch, BinderError> {
        let topic = self.topic(destination)?;
        let partition = partition_of(&topic, partition)?;
        let read = self.shared()?.blocking(move |shared| {
            let unreadable = |error: &tidings_log::LogError| partition.unreadable(shared, error, from);
            let read = || {
                partition.refresh(shared);
                let log = partition.log(shared).map_err(|error| unreadable(&error))?;
                let from = from.max(log.first_offset());
                let end = partition.end(shared, log);
                if from >= end {
                    return Ok(RecordBatch::new(
                        LaneId(0),
                        Epoch(0),
                        Default::default(),
                        Vec::new(),
                        from,
                    ));
                }
                let chunk = log
                    .read(from, end, max_bytes)
                    .map_err(|error| unreadable(&error))?;
                Ok(lane::batch(LaneId(0), Epoch(0), from, chunk))
            };
            Ok(read().map_err(BinderError::Source))
        });
        read.await.map_err(failed(format!("read \"{destination}\"")))?
    }

    async fn destinations(&self) -> Result<Vec<DestinationInfo>, BinderError> {
        let shared = self.shared()?;
        if shared.is_read_only() {
            let looked = shared
                .blocking(|shared| shared.topics.load(&*shared.files, &shared.root))
                .await;
            looked.map_err(failed("list the destinations"))?;
        }
        Ok(shared.topics.all().iter().map(|topic| info(topic)).collect())
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, BinderError> {
        operate::groups(self.shared()?)
    }

    async fn offset_at(
        &self,
        destination: &str,
        partition: u32,
        time: Timestamp,
    ) -> Result<u64, BinderError> {
        let partition = partition_of(&*self.topic(destination)?, partition)?;
        let found = self.shared()?.blocking(move |shared| {
            partition.refresh(shared);
            let found = partition.log(shared).and_then(|log| {
                let offset = log.offset_for_time(time.as_millis())?;
                Ok(offset.min(partition.end(shared, log)))
            });
            Ok(found.map_err(|error| BinderError::Source(partition.unreadable(shared, &error, 0))))
        });
        found
            .await
            .map_err(failed(format!("look for a time in \"{destination}\"")))?
    }

    async fn delete_progress(&self, destination: &str, group: &str) -> Result<(), BinderError> {
        let topic = self.topic(destination)?;
        operate::delete_progress(self.shared()?, &topic.name, group).await
    }

    fn health(&self) -> BinderHealth {
        if self.handle.is_closed() {
            return BinderHealth::Down("the broker is closed".to_owned());
        }
        self.handle.shared.health.state()
    }

    async fn close(&self) -> Result<(), BinderError> {
        let Some(last) = self.handle.end() else {
            return Ok(());
        };
        let shared = &self.handle.shared;
        if last {
            shared.begin_to_close();
            shared.timer.settle().await;
        }
        let flushed = sink::flush(shared).await.map_err(|error| error.to_string());
        if !last {
            return flushed.map_err(failed("keep what was accepted"));
        }
        let kept = match shared.is_read_only() {
            true => Ok(()),
            false => shared.blocking(|shared| shared.sync_all()).await,
        };
        shared.let_go();
        flushed.and(kept).map_err(failed("keep what was accepted"))
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.handle.shared;
        f.debug_struct("EmbeddedBroker")
            .field("url", &shared.options.url())
            .field("access", &shared.options.access)
            .field("fsync", &shared.fsync)
            .field("closed", &self.handle.is_closed())
            .finish_non_exhaustive()
    }
}
