//! The conformance suite on the embedded broker and on its twin in memory.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_conformance::{Feature, Features, Harness, Opening, StorageFault, suite};
use tidings_core::{BinderError, BoxFuture, Capabilities, Clock, DynBinder};
use tidings_embedded::{Access, EmbeddedBroker, EmbeddedOptions, Fsync, Location};
use tidings_log::faults::{EIO, ENOSPC, Fault, FaultyFiles, Operation};
use tidings_log::{DiskFiles, Files, MemoryFiles};

type Opened<'a> = BoxFuture<'a, Result<Arc<dyn DynBinder>, BinderError>>;

fn features() -> Features {
    let mut can = Capabilities::NONE;
    can.partitions = true;
    can.replay = true;
    can.stored_positions = true;
    can.delayed = true;
    can.retry_lane = true;
    can.patterns = true;
    features_of(can)
}

fn features_of(can: Capabilities) -> Features {
    Features::of(can)
        .with(Feature::VirtualTime)
        .with(Feature::SizeLimit)
        .with(Feature::Retention)
        .with(Feature::StorageFaults)
}

/// Options as a case wants them.
fn options(location: Location, opening: &Opening, files: &FaultyFiles) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(location).clock(opening.clock);
    if let Some(bytes) = opening.max_message_bytes {
        options = options.max_message_bytes(bytes);
    }
    if opening.small_segments {
        options = options
            .segment_bytes(4_096)
            .retention_interval(Duration::from_secs(1));
    }
    if opening.breakable {
        options = options
            .files(Arc::new(files.clone()))
            .fsync(Fsync::Interval(Duration::from_millis(10)));
    }
    options
}

fn break_files(files: &FaultyFiles, fault: Option<StorageFault>) {
    match fault {
        None => files.heal(),
        Some(StorageFault::SyncFails) => files.inject(Fault::fail(Operation::Sync, EIO).forever()),
        Some(_) => files.inject(Fault::fail(Operation::Write, ENOSPC).forever()),
    }
}

fn faulty(files: impl Files) -> FaultyFiles {
    FaultyFiles::new(Arc::new(files))
}

fn open(options: EmbeddedOptions) -> Opened<'static> {
    Box::pin(async move { Ok(Arc::new(EmbeddedBroker::open(options)?) as Arc<dyn DynBinder>) })
}

/// A private broker in memory.
struct Memory(FaultyFiles);

impl Harness for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn features(&self) -> Features {
        features()
    }

    fn open(&self, opening: Opening) -> Opened<'_> {
        open(options(Location::Memory { name: None }, &opening, &self.0))
    }

    fn break_storage(&self, fault: Option<StorageFault>) {
        break_files(&self.0, fault);
    }
}

/// A broker in a directory of its own.
struct Disk {
    root: tempfile::TempDir,
    /// Each crash goes on in a copy, as it was at that moment.
    lives: Mutex<u32>,
    files: FaultyFiles,
}

impl Disk {
    fn fresh() -> Self {
        // Never a name of before: what a broker that has just died still writes must not meet the next one. The suite
        // seeds random numbers, so those alone would be the same for each case.
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let prefix = format!(
            "conformance-{}-{}-",
            std::process::id(),
            PLACES.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            root: tempfile::Builder::new().prefix(&prefix).tempdir().unwrap(),
            lives: Mutex::new(0),
            files: faulty(DiskFiles),
        }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join(self.lives.lock().unwrap().to_string())
    }
}

impl Harness for Disk {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn features(&self) -> Features {
        let mut can = features().capabilities();
        can.durable = true;
        features_of(can).with(Feature::ReadOnly).with(Feature::Marks)
    }

    fn open(&self, opening: Opening) -> Opened<'_> {
        open(options(
            Location::Directory(self.directory()),
            &opening,
            &self.files,
        ))
    }

    fn crash(&self, broker: Arc<dyn DynBinder>) -> BoxFuture<'_, ()> {
        let dead = self.directory();
        *self.lives.lock().unwrap() += 1;
        copy(&dead, &self.directory());
        drop(broker);
        Box::pin(async {})
    }

    fn open_read_only(&self, clock: Clock) -> Opened<'_> {
        let location = Location::Directory(self.directory());
        open(
            EmbeddedOptions::new(location)
                .clock(clock)
                .access(Access::ReadOnly),
        )
    }

    fn break_storage(&self, fault: Option<StorageFault>) {
        break_files(&self.files, fault);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

suite!(memory, || Memory(faulty(MemoryFiles::new())));
suite!(embedded, Disk::fresh);
