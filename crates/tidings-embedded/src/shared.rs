//! What all handles of one broker share: [`Shared`].

use crate::compaction::Compactor;
use crate::delayed::Delayed;
use crate::directory;
use crate::directory::DirectoryLock;
use crate::frames::Frames;
use crate::group::Groups;
use crate::health::Health;
use crate::keeper::Keeper;
use crate::lock::lock;
use crate::marks::Marks;
use crate::options::{Access, EmbeddedOptions, Fsync, Location};
use crate::partition::Partition;
use crate::progress::ProgressTable;
use crate::queue::Queue;
use crate::state::State;
use crate::syncer::Syncer;
use crate::timer::DelayedTimer;
use crate::topics::{self, Topic, Topics};
use crate::writing::{self, Committers};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tidings_core::headers::{CONTROL_HEADER_RESERVE, MAX_HEADER_BYTES};
use tidings_core::{BinderError, Clock, Epoch, Message, PublishError, Receipt};
use tidings_log::{DiskFiles, Files, LogOptions, MemoryFiles, PooledFiles};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// What a message takes in memory beside its contents, roughly.
const WAITING_BYTES: usize = 128;
/// What a frame has beside its largest message: headers, lengths, checksums.
const FRAME_RESERVE: usize = MAX_HEADER_BYTES + CONTROL_HEADER_RESERVE + 1024;

/// Whether so many bytes may wait.
#[derive(Debug, Clone, Copy)]
enum Room {
    Taken,
    None,
}

/// Whether what is larger than the limit may wait.
#[derive(Debug, Clone, Copy)]
enum Oversized {
    /// If nothing else does: a message must get through however large it is.
    Alone,
    Never,
}

/// One open broker.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: EmbeddedOptions,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) root: PathBuf,
    /// What is really done: files in memory are never synced.
    pub(crate) fsync: Fsync,
    pub(crate) topics: Topics,
    pub(crate) progress: ProgressTable,
    pub(crate) groups: Groups,
    pub(crate) keeper: Keeper,
    /// Where it is marked what is being handled; nowhere in memory, which does not survive anyway.
    pub(crate) marks: OnceLock<Marks>,
    pub(crate) timer: DelayedTimer,
    pub(crate) committers: Committers,
    pub(crate) syncer: Syncer,
    pub(crate) health: Health,
    /// Empty ones, for whoever packs messages.
    pub(crate) frames: Frames,
    /// Bytes that wait to be written.
    pub(crate) pending_bytes: AtomicUsize,
    /// How many have opened it and not closed it; more than one for a broker in memory that has a name.
    pub(crate) openers: AtomicUsize,
    /// Whether the positions of groups are known: not to a reader beside the owner.
    knows_groups: AtomicBool,
    /// Whether retention looks from time to time.
    pub(crate) retaining: AtomicBool,
    pub(crate) compactor: Compactor,
    runtime: Handle,
    epochs: AtomicU64,
    /// The last handle is about to end.
    closing: AtomicBool,
    closed: AtomicBool,
    directory: Mutex<Option<DirectoryLock>>,
}

impl Shared {
    /// Opens what is there, or makes it.
    pub(crate) fn open(options: EmbeddedOptions) -> Result<Self, BinderError> {
        let url = options.url();
        let refused = |reason: String| BinderError::Open {
            url: url.clone(),
            reason,
        };
        let runtime = Handle::try_current()
            .map_err(|_| refused("there is no tokio runtime here: open the broker within one".to_owned()))?;
        let writes = options.access == Access::ReadWrite;
        let (root, in_memory) = match &options.location {
            Location::Directory(path) => (path.clone(), false),
            Location::Memory { .. } => (PathBuf::from("/memory"), true),
        };
        let lock = match (in_memory, writes) {
            (true, true) => None,
            (true, false) => {
                return Err(refused(
                    "a broker in memory cannot be opened read-only".to_owned(),
                ));
            }
            (false, true) => Some(own(&root).map_err(&refused)?),
            (false, false) => {
                look(&root).map_err(&refused)?;
                None
            }
        };
        let fsync = if in_memory && options.files.is_none() {
            Fsync::Os
        } else {
            options.fsync
        };
        let files = options.files.clone().unwrap_or_else(|| match in_memory {
            true => Arc::new(MemoryFiles::new()),
            false => Arc::new(PooledFiles::new(Arc::new(DiskFiles), options.open_files())),
        });
        let state = open_state(&files, &root, (in_memory, writes)).map_err(&refused)?;
        if in_memory {
            let made = files
                .create_dir_all(&root)
                .and_then(|()| files.sync_dir(Path::new("/")));
            made.map_err(|error| refused(error.to_string()))?;
        }
        let shared = Self {
            files,
            root,
            fsync,
            topics: Topics::default(),
            progress: ProgressTable::default(),
            groups: Groups::default(),
            keeper: Keeper::new(state),
            marks: OnceLock::new(),
            timer: DelayedTimer::default(),
            committers: Committers::default(),
            syncer: Syncer::default(),
            health: Health::default(),
            frames: Frames::new(options.segment_bytes),
            pending_bytes: AtomicUsize::new(0),
            openers: AtomicUsize::new(0),
            knows_groups: AtomicBool::new(false),
            retaining: AtomicBool::new(false),
            compactor: Compactor::default(),
            runtime,
            epochs: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            directory: Mutex::new(lock),
            options,
        };
        shared.load().map_err(refused)?;
        Ok(shared)
    }

    fn load(&self) -> Result<(), String> {
        self.topics.load(&*self.files, &self.root)?;
        let stored = match self.is_read_only() {
            true => self.look_at_progress()?,
            false => Some(self.keeper.state()?.progress()?),
        };
        let Some(stored) = stored else { return Ok(()) };
        self.knows_groups.store(true, Ordering::Release);
        for (destination, group, partition, progress) in stored {
            self.progress
                .load(&destination.into(), &group.into(), partition, progress);
        }
        if !self.is_in_memory() && !self.is_read_only() {
            self.load_marks()?;
        }
        Ok(())
    }

    /// What is known of messages that processes died of, the last one included.
    fn load_marks(&self) -> Result<(), String> {
        let state = self.keeper.state()?;
        for (destination, group, partition, deaths) in state.deaths()? {
            self.progress
                .entry(&destination.into(), &group.into(), partition)
                .set_deaths(deaths);
        }
        self.marks
            .get_or_init(|| Marks::open(&self.root, self.options.max_marks, &state, &self.progress));
        Ok(())
    }

    /// The positions as they are stored, for who may only look; none while a process owns the directory, because it
    /// may be writing them.
    fn look_at_progress(&self) -> Result<Option<Vec<crate::state::Stored>>, String> {
        let path = self.root.join("state.redb");
        if directory::is_owned(&self.root)? {
            return Ok(None);
        }
        if !path.exists() {
            return Ok(Some(Vec::new()));
        }
        let read = State::copy_of(&path).and_then(|state| state.progress());
        // An owner that came in the meantime may have been writing what was read.
        match directory::is_owned(&self.root)? {
            true => Ok(None),
            false => read.map(Some),
        }
    }

    /// Whether the positions of groups are known.
    pub(crate) fn knows_groups(&self) -> bool {
        self.knows_groups.load(Ordering::Acquire)
    }

    /// Starts what goes on in the background.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), String> {
        if self.is_read_only() {
            return Ok(());
        }
        if let Some(due) = self.keeper.state()?.first_due()? {
            self.timer.stored(self, due);
        }
        if self.options.retention_time.is_some() || self.options.retention_bytes.is_some() {
            crate::retention::start(self);
        }
        Ok(())
    }

    /// The broker's clock.
    pub(crate) fn clock(&self) -> Clock {
        self.options.clock
    }

    /// Whether nothing may be written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.options.access == Access::ReadOnly
    }

    /// Whether it is files in memory, which never block.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.options.location, Location::Memory { .. })
    }

    /// Whether nothing of it is ever anywhere but in this process's own memory.
    pub(crate) fn is_volatile(&self) -> bool {
        self.is_in_memory() && self.options.files.is_none()
    }

    /// Whether readers see a message only after its fsync.
    pub(crate) fn is_synced_first(&self) -> bool {
        self.fsync == Fsync::Always
    }

    /// Whether messages are acknowledged before they are on the disk.
    pub(crate) fn syncs_later(&self) -> bool {
        !self.is_synced_first() && !self.is_volatile()
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing new may begin in the background.
    pub(crate) fn begin_to_close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Whether it is about to be closed, or was.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The number of the next assignment.
    pub(crate) fn next_epoch(&self) -> Epoch {
        Epoch(self.epochs.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How logs are opened.
    pub(crate) fn log_options(&self) -> LogOptions {
        let largest = self.options.max_message_bytes.saturating_add(FRAME_RESERVE);
        let defaults = LogOptions::default();
        LogOptions {
            segment_bytes: self.options.segment_bytes,
            max_frame_bytes: defaults
                .max_frame_bytes
                .max(u32::try_from(largest).unwrap_or(u32::MAX)),
            access: match self.options.access {
                Access::ReadWrite => tidings_log::Access::ReadWrite,
                Access::ReadOnly => tidings_log::Access::ReadOnly,
            },
            ..defaults
        }
    }

    /// Where a partition's segments are.
    pub(crate) fn partition_directory(&self, topic: &str, index: u32) -> PathBuf {
        crate::partition::directory(&topics::directory(&self.root, topic), index)
    }

    /// The destination of that name. One that its owner made after this read-only broker was opened is found too.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        match self.topics.get(name) {
            None if self.is_read_only() => self.topics.load_one(&*self.files, &self.root, name),
            found => found,
        }
    }

    /// Leaves a message in a queue: within the limit, or beyond it at its receipt's expense.
    pub(crate) fn enqueue(
        &self,
        queue: &mut Queue,
        partition: &Arc<Partition>,
        timestamp_ms: i64,
        message: Message,
    ) -> Receipt {
        let bytes = message.size() + WAITING_BYTES;
        match self.take_room(bytes, Oversized::Alone) {
            Room::Taken => queue.push(partition, &self.frames, (timestamp_ms, &message), bytes),
            Room::None => queue.push_beyond(partition, message, timestamp_ms),
        }
    }

    /// The same for several. `done` gets each one's place among them, and its receipt.
    pub(crate) fn enqueue_all(
        &self,
        queue: &mut Queue,
        partition: &Arc<Partition>,
        messages: &[(i64, Message)],
        mut done: impl FnMut(usize, Receipt),
    ) {
        let bytes = |message: &Message| message.size() + WAITING_BYTES;
        let all = messages.iter().map(|(_, message)| bytes(message)).sum();
        let room = self.take_room(all, Oversized::Never);
        for (place, (timestamp_ms, message)) in messages.iter().enumerate() {
            let receipt = match room {
                Room::Taken => queue.push(partition, &self.frames, (*timestamp_ms, message), bytes(message)),
                // One by one as far as they go.
                Room::None => self.enqueue(queue, partition, *timestamp_ms, message.clone()),
            };
            done(place, receipt);
        }
    }

    fn take_room(&self, bytes: usize, oversized: Oversized) -> Room {
        let before = self.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
        let is_alone = before == 0 && matches!(oversized, Oversized::Alone);
        if !is_alone && before.saturating_add(bytes) > self.options.max_pending_bytes {
            self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Room::None;
        }
        Room::Taken
    }

    /// Appends a delayed message that is due.
    pub(crate) fn publish_delayed(self: &Arc<Self>, delayed: Delayed) -> Receipt {
        let topic = self.topics.get(&delayed.destination);
        let Some(partition) = topic
            .as_ref()
            .and_then(|topic| topic.partition(delayed.partition))
        else {
            return Receipt::failed(PublishError::UnknownDestination {
                destination: delayed.destination,
            });
        };
        let timestamp = delayed.message.timestamp().unwrap_or_else(|| self.clock().now());
        writing::publish(self, partition, delayed.message, timestamp.as_millis())
    }

    /// Makes sure that everything below an offset is on the disk.
    pub(crate) fn sync_below(&self, destination: &str, partition: u32, offset: u64) -> Result<(), String> {
        let topic = self.topics.get(destination);
        let Some(partition) = topic.as_ref().and_then(|topic| topic.partition(partition)) else {
            return Ok(());
        };
        match partition.opened() {
            Some(log) if log.synced_offset() < offset => partition
                .sync(self)
                .map_err(|error| format!("{}: {error}", partition.place())),
            _ => Ok(()),
        }
    }

    /// Syncs every log that has something unsynced.
    pub(crate) fn sync_all(&self) -> Result<(), String> {
        let mut refused = None;
        for topic in self.topics.all() {
            for partition in &topic.partitions {
                if let Err(error) = partition.sync(self) {
                    refused = Some(format!("{}: {error}", partition.place()));
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn runtime(&self) -> Handle {
        Handle::try_current().unwrap_or_else(|_| self.runtime.clone())
    }

    /// Starts a task, on the caller's runtime, or the one the broker was opened in.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime().spawn(task));
    }

    /// Runs something that blocks on a thread for it.
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime().spawn_blocking(work)
    }

    /// Runs something that blocks on the disk and waits for it; in memory nothing blocks.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        if self.is_volatile() {
            return work(self);
        }
        let shared = self.clone();
        let done = self.spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|_| Err("the broker's runtime was shut down".to_owned()))
    }

    /// No more is taken or given; the directory is free for another owner.
    pub(crate) fn let_go(&self) {
        self.begin_to_close();
        // Nobody else may own the directory while a segment is replaced.
        self.compactor.settle();
        self.closed.store(true, Ordering::Release);
        self.keeper.close();
        if let Some(marks) = self.marks.get() {
            marks.clear();
        }
        // What a log notes beside itself when it is dropped, it notes now: somebody else may own the directory then.
        if !self.is_read_only() {
            for topic in self.topics.all() {
                let opened = topic.partitions.iter().filter_map(|partition| partition.opened());
                opened.for_each(|log| drop(log.checkpoint()));
            }
        }
        drop(lock(&self.directory).take());
    }

    /// Keeps what can be kept without waiting for anybody, for handles that were dropped and not closed.
    pub(crate) fn abandon(self: &Arc<Self>) {
        if self.is_closed() || self.is_read_only() {
            return;
        }
        self.begin_to_close();
        if let Err(reason) = self.sync_all() {
            tracing::error!(
                reason,
                "not everything could be synced when the broker was dropped"
            );
        }
        self.keeper.finish(self);
        self.let_go();
    }
}

/// What stores positions and messages for later; nobody may where nothing is written.
fn open_state(
    files: &Arc<dyn Files>,
    root: &Path,
    (in_memory, writes): (bool, bool),
) -> Result<Option<State>, String> {
    match (in_memory, writes) {
        (true, _) => State::in_memory().map(Some),
        (false, true) => State::on_disk(files.clone(), &root.join("state.redb")).map(Some),
        (false, false) => Ok(None),
    }
}

/// Takes a directory for this process.
fn own(root: &Path) -> Result<DirectoryLock, String> {
    directory::create(root)?;
    let lock = DirectoryLock::take(root)?;
    directory::prepare(root)?;
    Ok(lock)
}

/// Checks that there is a broker's directory.
fn look(root: &Path) -> Result<(), String> {
    match directory::check(root)? {
        true => Ok(()),
        false => Err(format!(
            "{} holds no broker: open it for writing to make one",
            root.display()
        )),
    }
}
