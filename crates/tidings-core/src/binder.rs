//! The driver for one broker: [`Binder`].

use crate::BoxFuture;
use crate::group_queue::GroupQueue;
use crate::held::{HeldLetters, LettersOf};
use crate::message::Timestamp;
use crate::records::RecordBatch;
use crate::requests::ReplyPath;
use crate::sink::Sink;
use crate::source::{DynSource, Progress, Source, SourceError, SourceSpec};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a broker can do. A part of an app that needs what is lacking is refused at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Destinations have partitions, and a key decides which.
    pub partitions: bool,
    /// Messages stay after they were handled and can be read again from an offset or a time.
    pub replay: bool,
    /// A group's position outlives the process.
    pub stored_positions: bool,
    /// Messages outlive the process.
    pub durable: bool,
    /// A message may be published for later.
    pub delayed: bool,
    /// Long waits outlive the process (a retry lane).
    pub retry_lane: bool,
    /// How long a message may be held without being finished before the broker takes it back. None: for ever, so that a
    /// message of the retry lane waits in its place and later ones of its key stay behind it. With a limit, what must
    /// wait longer leaves its queue, comes back to the end of the retry lane when it is due, and is overtaken meanwhile.
    pub longest_hold: Option<Duration>,
    /// Outputs and progress can be one transaction.
    pub transactions: bool,
    /// Messages may have priorities.
    pub priorities: bool,
    /// What a subscription reads may change while it runs, see [`Source::change_inputs`](crate::Source::change_inputs):
    /// patterns of destinations need it.
    pub patterns: bool,
}

impl Capabilities {
    /// A broker that can do nothing of it; set what it can.
    pub const NONE: Self = Self {
        partitions: false,
        replay: false,
        stored_positions: false,
        durable: false,
        delayed: false,
        retry_lane: false,
        longest_hold: None,
        transactions: false,
        priorities: false,
        patterns: false,
    };
}

/// How a destination should be.
#[derive(Debug, Clone)]
pub struct DestinationSpec {
    /// Its name.
    pub name: Arc<str>,
    /// What it is for.
    pub role: DestinationRole,
    /// How many partitions it gets if it is created.
    pub partitions: u32,
    /// Whether it may be created.
    pub create: Create,
    /// Messages older than this may be deleted; none uses the binder's setting.
    pub retention_time: Option<Duration>,
    /// The oldest messages may be deleted beyond this many bytes; none uses the binder's setting.
    pub retention_bytes: Option<u64>,
    /// What goes besides what is too old or too much; none leaves it as it is, which is [`Cleanup::Delete`] at first.
    pub cleanup: Option<Cleanup>,
}

impl DestinationSpec {
    /// A destination for messages that is created if it is missing, and keeps what the binder's settings say.
    pub fn new(name: impl Into<Arc<str>>, partitions: u32) -> Self {
        Self {
            name: name.into(),
            role: DestinationRole::Messages,
            partitions,
            create: Create::IfMissing,
            retention_time: None,
            retention_bytes: None,
            cleanup: None,
        }
    }

    /// With another choice of whether it may be created.
    #[must_use]
    pub fn create(self, create: Create) -> Self {
        Self { create, ..self }
    }

    /// For something else than messages.
    #[must_use]
    pub fn role(self, role: DestinationRole) -> Self {
        Self { role, ..self }
    }
}

/// What a destination is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DestinationRole {
    /// What services publish. It is history: it may go when it is old.
    #[default]
    Messages,
    /// A group's messages that wait for their next attempt. They are nowhere else: none goes before the group has
    /// finished it, however long it waits, and it may go at once then.
    Retry,
    /// What was given up. It is nowhere else, and stays until somebody says otherwise.
    DeadLetters,
}

/// What goes from a destination as time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cleanup {
    /// Only what is older or more than it keeps.
    #[default]
    Delete,
    /// Messages that a later one with the same key supersedes, also if a group has not read them yet. The last one of
    /// each key stays; the binder's age and size don't count, those of the destination itself do.
    Compact {
        /// How long a message with a key and no payload stays, which says that the key is deleted; none uses the
        /// binder's setting.
        tombstone_retention: Option<Duration>,
    },
}

/// Whether a destination may be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Create {
    /// If it is missing. It is never changed.
    #[default]
    IfMissing,
    /// Never: a missing one is an error.
    Never,
}

/// How a destination is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationInfo {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partitions: u32,
}

/// What a partition holds, and how far a group is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPosition {
    /// The partition.
    pub partition: u32,
    /// The oldest offset that is kept.
    pub first: u64,
    /// The offset that the next message gets.
    pub end: u64,
    /// The group's progress; none if it has none stored.
    pub progress: Option<Progress>,
}

/// A group as the broker knows it: it has stored progress, or members of this process read for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands, sorted by destination and partition.
    pub positions: Vec<GroupPosition>,
}

/// Where a group stands in one partition. How much is left is the partition's end without what is finished, see
/// [`PartitionPosition::end`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPosition {
    /// The destination.
    pub destination: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// What is stored; none if a member reads and nothing was stored yet.
    pub progress: Option<Progress>,
    /// The subscription whose member reads the partition now; none if nobody does.
    pub member: Option<Arc<str>>,
}

/// Why a broker could not do something.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BinderError {
    /// The broker cannot be reached or opened.
    #[error("cannot open {url}: {reason}")]
    Open {
        /// The broker's URL without credentials.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The destination does not exist and may not be created.
    #[error(
        "no destination \"{destination}\": create it, or allow it with [channel.…] create = \"if-missing\""
    )]
    UnknownDestination {
        /// The destination.
        destination: Arc<str>,
    },
    /// The destination's name is not possible on this broker.
    #[error("\"{name}\" cannot be the name of a destination: {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The broker cannot do it.
    #[error("{broker} has no {feature}: {cure}")]
    Unsupported {
        /// The broker.
        broker: &'static str,
        /// What it lacks.
        feature: &'static str,
        /// What to do instead.
        cure: &'static str,
    },
    /// Something failed that may work later.
    #[error("{doing}: {reason}")]
    Failed {
        /// What was being done.
        doing: String,
        /// Why it failed.
        reason: String,
    },
    /// Reading failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The broker was closed.
    #[error("the broker is closed")]
    Closed,
}

/// Whether a broker works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinderHealth {
    /// It takes and gives messages.
    Up,
    /// It does not, or not all: why.
    Down(String),
}

/// The driver for one broker, opened.
pub trait Binder: Send + Sync + fmt::Debug + 'static {
    /// What reads for one subscription.
    type Source: Source + 'static;

    /// The kind of broker: `embedded`, `memory`, `kafka`, `rabbitmq`.
    fn kind(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Where it takes messages.
    fn sink(&self) -> Arc<dyn Sink>;

    /// Makes sure that a destination exists; it is never changed.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], [`BinderError::InvalidName`], or that it cannot be created.
    fn prepare(
        &self,
        destination: DestinationSpec,
    ) -> impl Future<Output = Result<DestinationInfo, BinderError>> + Send;

    /// Joins a group, or reads without one.
    ///
    /// # Errors
    /// What is missing or refused.
    fn subscribe(&self, spec: SourceSpec) -> impl Future<Output = Result<Self::Source, BinderError>> + Send;

    /// What each partition holds, and how far the group is. A group's progress is what is stored, also for one whose
    /// members are running.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], [`BinderError::Unsupported`].
    fn positions(
        &self,
        destination: &str,
        group: Option<&str>,
    ) -> impl Future<Output = Result<Vec<PartitionPosition>, BinderError>> + Send;

    /// Stores a group's progress in one partition. Refused while a member of the group reads that partition.
    ///
    /// # Errors
    /// Why it could not be stored.
    fn store_progress(
        &self,
        destination: &str,
        partition: u32,
        group: &str,
        progress: Progress,
    ) -> impl Future<Output = Result<(), BinderError>> + Send;

    /// Reads without a group: records from an offset on; an empty batch at the end.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], [`BinderError::Unsupported`], what is damaged.
    fn read(
        &self,
        destination: &str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> impl Future<Output = Result<RecordBatch, BinderError>> + Send;

    /// The destinations that there are, sorted by name.
    ///
    /// # Errors
    /// Why they cannot be listed.
    fn destinations(&self) -> impl Future<Output = Result<Vec<DestinationInfo>, BinderError>> + Send;

    /// The groups that there are, sorted by name.
    ///
    /// # Errors
    /// [`BinderError::Unsupported`] where the broker keeps no list of them, which is the default.
    fn groups(&self) -> impl Future<Output = Result<Vec<GroupInfo>, BinderError>> + Send {
        std::future::ready(Err(no_groups(self.kind())))
    }

    /// The queues of a group that reads a destination, the one that it reads first. None where groups have positions in
    /// what all of them read, which is the default: [`positions`](Self::positions).
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`] with the name of the queue if the group has none there.
    fn group_queues(
        &self,
        destination: &str,
        group: &str,
    ) -> impl Future<Output = Result<Option<Vec<GroupQueue>>, BinderError>> + Send {
        let _ = (destination, group);
        std::future::ready(Ok(None))
    }

    /// The first offset in a partition with a message of that time or a later one; the end if there is none.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`]; [`BinderError::Unsupported`] where the broker has no index of times, which
    /// is the default.
    fn offset_at(
        &self,
        destination: &str,
        partition: u32,
        time: Timestamp,
    ) -> impl Future<Output = Result<u64, BinderError>> + Send {
        let _ = (destination, partition, time);
        std::future::ready(Err(no_times(self.kind())))
    }

    /// Forgets how far a group is in a destination, in all partitions; it begins there as a new group does. Refused
    /// while a member of the group reads it. A group that has none there is no error.
    ///
    /// # Errors
    /// [`BinderError::UnknownDestination`], why it could not be forgotten; [`BinderError::Unsupported`] where
    /// positions cannot be deleted, which is the default.
    fn delete_progress(
        &self,
        destination: &str,
        group: &str,
    ) -> impl Future<Output = Result<(), BinderError>> + Send {
        let _ = (destination, group);
        std::future::ready(Err(no_deleting(self.kind())))
    }

    /// Its own way for requests and replies; none, which is the default, has the engine read a destination for replies.
    fn reply_path(&self) -> Option<Arc<dyn ReplyPath>> {
        None
    }

    /// The dead letters of a group, to be gone through. None where they lie still and are read by their positions, which
    /// is the default: [`read`](Self::read), [`store_progress`](Self::store_progress).
    fn hold_letters(&self, of: &LettersOf) -> Option<Box<dyn HeldLetters>> {
        let _ = of;
        None
    }

    /// Whether it works.
    fn health(&self) -> BinderHealth;

    /// Keeps everything that was accepted and lets go of the broker.
    ///
    /// # Errors
    /// What could not be kept.
    fn close(&self) -> impl Future<Output = Result<(), BinderError>> + Send;
}

/// A [`Binder`] behind a pointer.
pub trait DynBinder: Send + Sync + fmt::Debug {
    /// See [`Binder::kind`].
    fn kind(&self) -> &'static str;
    /// See [`Binder::capabilities`].
    fn capabilities(&self) -> Capabilities;
    /// See [`Binder::sink`].
    fn sink(&self) -> Arc<dyn Sink>;
    /// See [`Binder::prepare`].
    fn prepare(&self, destination: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>>;
    /// See [`Binder::subscribe`].
    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>>;
    /// See [`Binder::positions`].
    fn positions<'a>(
        &'a self,
        destination: &'a str,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>>;
    /// See [`Binder::store_progress`].
    fn store_progress<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        group: &'a str,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), BinderError>>;
    /// See [`Binder::read`].
    fn read<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>>;
    /// See [`Binder::destinations`].
    fn destinations(&self) -> BoxFuture<'_, Result<Vec<DestinationInfo>, BinderError>>;
    /// See [`Binder::groups`].
    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>, BinderError>> {
        Box::pin(std::future::ready(Err(no_groups(self.kind()))))
    }
    /// See [`Binder::group_queues`].
    fn group_queues<'a>(
        &'a self,
        _destination: &'a str,
        _group: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<GroupQueue>>, BinderError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// See [`Binder::offset_at`].
    fn offset_at<'a>(
        &'a self,
        _destination: &'a str,
        _partition: u32,
        _time: Timestamp,
    ) -> BoxFuture<'a, Result<u64, BinderError>> {
        Box::pin(std::future::ready(Err(no_times(self.kind()))))
    }
    /// See [`Binder::delete_progress`].
    fn delete_progress<'a>(
        &'a self,
        _destination: &'a str,
        _group: &'a str,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        Box::pin(std::future::ready(Err(no_deleting(self.kind()))))
    }
    /// See [`Binder::reply_path`].
    fn reply_path(&self) -> Option<Arc<dyn ReplyPath>> {
        None
    }
    /// See [`Binder::hold_letters`].
    fn hold_letters(&self, _of: &LettersOf) -> Option<Box<dyn HeldLetters>> {
        None
    }
    /// See [`Binder::health`].
    fn health(&self) -> BinderHealth;
    /// See [`Binder::close`].
    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>>;
}

impl<T: Binder> DynBinder for T {
    fn kind(&self) -> &'static str {
        Binder::kind(self)
    }

    fn capabilities(&self) -> Capabilities {
        Binder::capabilities(self)
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Binder::sink(self)
    }

    fn prepare(&self, destination: DestinationSpec) -> BoxFuture<'_, Result<DestinationInfo, BinderError>> {
        Box::pin(Binder::prepare(self, destination))
    }

    fn subscribe(&self, spec: SourceSpec) -> BoxFuture<'_, Result<Box<dyn DynSource>, BinderError>> {
        Box::pin(async move {
            let source = Binder::subscribe(self, spec).await?;
            Ok(Box::new(source) as Box<dyn DynSource>)
        })
    }

    fn positions<'a>(
        &'a self,
        destination: &'a str,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<PartitionPosition>, BinderError>> {
        Box::pin(Binder::positions(self, destination, group))
    }

    fn store_progress<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        group: &'a str,
        progress: Progress,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        Box::pin(Binder::store_progress(
            self,
            destination,
            partition,
            group,
            progress,
        ))
    }

    fn read<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RecordBatch, BinderError>> {
        Box::pin(Binder::read(self, destination, partition, from, max_bytes))
    }

    fn destinations(&self) -> BoxFuture<'_, Result<Vec<DestinationInfo>, BinderError>> {
        Box::pin(Binder::destinations(self))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupInfo>, BinderError>> {
        Box::pin(Binder::groups(self))
    }

    fn group_queues<'a>(
        &'a self,
        destination: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<GroupQueue>>, BinderError>> {
        Box::pin(Binder::group_queues(self, destination, group))
    }

    fn offset_at<'a>(
        &'a self,
        destination: &'a str,
        partition: u32,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<u64, BinderError>> {
        Box::pin(Binder::offset_at(self, destination, partition, time))
    }

    fn delete_progress<'a>(
        &'a self,
        destination: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<(), BinderError>> {
        Box::pin(Binder::delete_progress(self, destination, group))
    }

    fn reply_path(&self) -> Option<Arc<dyn ReplyPath>> {
        Binder::reply_path(self)
    }

    fn hold_letters(&self, of: &LettersOf) -> Option<Box<dyn HeldLetters>> {
        Binder::hold_letters(self, of)
    }

    fn health(&self) -> BinderHealth {
        Binder::health(self)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BinderError>> {
        Box::pin(Binder::close(self))
    }
}

fn no_groups(broker: &'static str) -> BinderError {
    BinderError::Unsupported {
        broker,
        feature: "list of groups",
        cure: "ask for the positions of a group by its name",
    }
}

fn no_times(broker: &'static str) -> BinderError {
    BinderError::Unsupported {
        broker,
        feature: "index of times",
        cure: "begin at earliest, at latest or at an offset",
    }
}

fn no_deleting(broker: &'static str) -> BinderError {
    BinderError::Unsupported {
        broker,
        feature: "deleting of positions",
        cure: "set the group's position to where it should begin",
    }
}
