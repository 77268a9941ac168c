//! The small state beside the logs, in one redb file: progress of groups and delayed messages.
//!
//! redb refuses everything from the first failed call on, until its file is opened again. A full disk is no reason to
//! restart a service, so the file is opened again here, before the next use. What a failed transaction had begun is
//! rolled back by that; what a failed sync leaves open is written again.

mod backend;
pub(crate) mod rows;
mod sealed;

use crate::delayed::{Due, Row};
use crate::lock::{read, write};
use crate::overlay::Overlay;
use crate::progress::{self, Entry};
use crate::state_copy::StateView;
use crate::trouble;
use backend::Backend;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use tidings_core::{Deaths, Progress, Timestamp};
use tidings_log::Files;

/// (destination, group, partition) → encoded progress, sealed.
pub(crate) const PROGRESS: TableDefinition<(&str, &str, u32), &[u8]> = TableDefinition::new("progress");
/// (due in milliseconds, sequence) → encoded row, sealed.
pub(crate) const DELAYED: TableDefinition<(i64, u64), &[u8]> = TableDefinition::new("delayed");
/// (destination, group, partition) → encoded deaths of messages, sealed.
pub(crate) const DEATHS: TableDefinition<(&str, &str, u32), &[u8]> = TableDefinition::new("deaths");
/// Counters by name.
pub(crate) const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// The counter that keeps delayed messages of one due time in order and apart.
const SEQUENCE: &str = "delayed";
/// The counter that says which generation of marks was counted last.
const MARKS: &str = "marks";

/// The pages that redb keeps in memory; its own default is a gigabyte.
const CACHE_BYTES: usize = 4 << 20;
/// With more rows than this, recovery after a crash must not walk the file.
const LARGE: u64 = 10_000;
/// A file up to this size is verified page by page when it is opened, which takes some 20 ms. Of a larger one only the
/// rows are, as they are read.
const VERIFIED_BYTES: u64 = 16 << 20;
/// What to do about a damaged file.
pub(crate) const CURE: &str = "restore this file from a copy, or move it away to begin without stored positions and without the \
                    messages for later";

/// The open state. Every call blocks.
#[derive(Debug)]
pub(crate) struct State {
    /// None for one in memory, which never fails.
    place: Option<Place>,
    /// None while the file cannot be opened.
    database: RwLock<Option<Database>>,
    /// A call has failed: the file is opened again before the next.
    failed: AtomicBool,
    sequence: AtomicU64,
}

/// Where the file is.
#[derive(Debug)]
struct Place {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// A sync has failed, and the file was not written again since.
    doubtful: Arc<AtomicBool>,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    pub(crate) progress: Vec<(&'a str, &'a str, u32, &'a Progress)>,
    pub(crate) puts: Vec<(Timestamp, &'a [u8])>,
    pub(crate) removed: Vec<Due>,
    /// Progress that is forgotten: destination, group, partition.
    pub(crate) forgotten: Vec<(&'a str, &'a str, u32)>,
    /// Rows without bytes are removed.
    pub(crate) deaths: Vec<(&'a str, &'a str, u32, Vec<u8>)>,
    pub(crate) counted_marks: Option<u64>,
}

impl Changes<'_> {
    /// Whether there is nothing to store.
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.is_empty()
            && self.puts.is_empty()
            && self.removed.is_empty()
            && self.forgotten.is_empty()
            && self.deaths.is_empty()
    }
}

/// A row of deaths.
pub(crate) fn row(entry: &Entry, deaths: Vec<u8>) -> (&str, &str, u32, Vec<u8>) {
    (&entry.destination, &entry.group, entry.partition, deaths)
}

/// A stored progress: destination, group, partition.
pub(crate) type Stored = (String, String, u32, Progress);
/// Stored deaths: destination, group, partition.
pub(crate) type StoredDeaths = (String, String, u32, Vec<Deaths>);

impl Place {
    /// Makes the file if there is none. It gets its name when it is complete: one that a crash left half made is no
    /// database, and would keep the broker from ever starting again.
    fn make(&self) -> Result<(), String> {
        let at =
            |error: std::io::Error| format!("{}: {error}: {}", self.path.display(), trouble::cure(&error));
        if self.files.exists(&self.path).map_err(at)? {
            return Ok(());
        }
        let draft = Self {
            files: self.files.clone(),
            path: self.path.with_extension("redb.new"),
            doubtful: Arc::default(),
        };
        match self.files.remove_file(&draft.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        drop(draft.open()?);
        self.files.rename(&draft.path, &self.path).map_err(at)?;
        let directory = self.path.parent().unwrap_or(Path::new(""));
        self.files.sync_dir(directory).map_err(at)
    }

    fn open(&self) -> Result<Database, String> {
        let at = |error: String| format!("{}: {error}", self.path.display());
        let opened = guarded(|| {
            let backend = Backend::open(&*self.files, &self.path, &self.doubtful)?;
            let small = redb::StorageBackend::len(&backend)? <= VERIFIED_BYTES;
            let mut database = Builder::new()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(backend)?;
            // False says that it had to repair something, and has.
            if small {
                database.check_integrity()?;
            }
            Ok(database)
        });
        opened.map_err(|error| at(explain(&error)))
    }
}

/// What redb did not do.
#[derive(Debug)]
enum Refused {
    Said(redb::Error),
    /// It met what it took for impossible: the file is damaged.
    Panicked,
}

impl<E: Into<redb::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Said(error.into())
    }
}

/// redb checks what it reads with assertions here and there, and a damaged file must not end the process.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Refused> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Refused::Said),
        Err(_) => Err(Refused::Panicked),
    }
}

fn explain(refused: &Refused) -> String {
    match refused {
        Refused::Said(redb::Error::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
            format!("{error}: {}", trouble::cure(error))
        }
        Refused::Said(redb::Error::PreviousIo) => {
            "an earlier call failed: it is opened again with the next".to_owned()
        }
        Refused::Said(redb::Error::DatabaseAlreadyOpen) => {
            "another process has it open: stop that process, or open the directory read-only".to_owned()
        }
        Refused::Said(error) => format!("{error}: {CURE}"),
        Refused::Panicked => format!("it is damaged: {CURE}"),
    }
}

impl State {
    /// Opens or creates the file.
    pub(crate) fn on_disk(files: Arc<dyn Files>, path: &Path) -> Result<Self, String> {
        let place = Place {
            files,
            path: path.to_owned(),
            doubtful: Arc::default(),
        };
        place.make()?;
        let database = place.open()?;
        Self::new(Some(place), database)
    }

    /// The same in memory.
    pub(crate) fn in_memory() -> Result<Self, String> {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| error.to_string())?;
        Self::new(None, database)
    }

    /// A copy of the file in memory, for who may only look: what a crash left unfinished is repaired in the copy.
    /// Only right while nobody owns the file.
    pub(crate) fn copy_of(path: &Path) -> Result<Self, String> {
        let opened = guarded(|| {
            let overlay = Overlay::open(path)?;
            Ok(Builder::new()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(overlay)?)
        });
        let database = opened.map_err(|refused| format!("{}: {}", path.display(), explain(&refused)))?;
        Self::new(None, database).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn new(place: Option<Place>, database: Database) -> Result<Self, String> {
        let state = Self {
            place,
            database: RwLock::new(Some(database)),
            failed: AtomicBool::new(false),
            sequence: AtomicU64::new(0),
        };
        let sequence = state.with(|database| {
            let has_tables = database.begin_read()?.list_tables()?.count() == 4;
            if !has_tables {
                let writing = database.begin_write()?;
                writing.open_table(PROGRESS)?;
                writing.open_table(DELAYED)?;
                writing.open_table(DEATHS)?;
                writing.open_table(COUNTERS)?;
                writing.commit()?;
            }
            let counters = database.begin_read()?.open_table(COUNTERS)?;
            Ok(counters.get(SEQUENCE)?.map_or(0, |value| value.value()))
        })?;
        state.sequence.store(sequence, Ordering::Relaxed);
        Ok(state)
    }

    /// Works on the database, which is opened again first if the last call failed.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, String> {
        if self.failed.load(Ordering::Acquire) {
            self.open_again()?;
        }
        let opened = read(&self.database);
        let Some(database) = &*opened else {
            return Err(self.at("it could not be opened again"));
        };
        guarded(|| work(database)).map_err(|refused| {
            // In memory there is nothing to open again, and nothing that fails.
            self.failed.store(self.place.is_some(), Ordering::Release);
            self.at(&explain(&refused))
        })
    }

    fn open_again(&self) -> Result<(), String> {
        let Some(place) = &self.place else { return Ok(()) };
        let mut opened = write(&self.database);
        if self.failed.load(Ordering::Acquire) {
            // Two openings of one file would not see each other's pages.
            *opened = None;
            *opened = Some(place.open()?);
            self.failed.store(false, Ordering::Release);
            tracing::info!(file = %place.path.display(), "opened again after a failure");
        }
        Ok(())
    }

    fn at(&self, reason: &str) -> String {
        match &self.place {
            Some(place) => format!("{}: {reason}", place.path.display()),
            None => reason.to_owned(),
        }
    }

    /// The state as it is now, for a copy.
    pub(crate) fn view(&self) -> Result<StateView, String> {
        self.with(|database| Ok(StateView(database.begin_read()?)))
    }

    /// Every stored progress.
    pub(crate) fn progress(&self) -> Result<Vec<Stored>, String> {
        let rows = self.with(|database| {
            let table = database.begin_read()?.open_table(PROGRESS)?;
            let mut all = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                all.push(rows::read_progress(key.value(), value.value()));
            }
            // A row that cannot be reached is a position that is lost.
            let expected = table.len()?;
            if expected != all.len() as u64 {
                let found = all.len();
                all.push(Err(format!(
                    "{found} of {expected} positions are there: it is damaged: {CURE}"
                )));
            }
            Ok(all)
        })?;
        rows.into_iter()
            .collect::<Result<_, _>>()
            .map_err(|reason| self.at(&reason))
    }

    /// The deaths of messages. A row that cannot be read is left out: it only says what to be careful with.
    pub(crate) fn deaths(&self) -> Result<Vec<StoredDeaths>, String> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(DEATHS)?;
            let mut all = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                let (destination, group, partition) = key.value();
                match rows::read_deaths(key.value(), value.value()) {
                    Some(deaths) => all.push((destination.to_owned(), group.to_owned(), partition, deaths)),
                    None => tracing::warn!(
                        destination,
                        group,
                        partition,
                        "the deaths of messages cannot be read, and count anew: they were written by a newer version, or are damaged"
                    ),
                }
            }
            Ok(all)
        })
    }

    /// Which generation of marks was counted last.
    pub(crate) fn counted_marks(&self) -> Result<u64, String> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(COUNTERS)?;
            Ok(table.get(MARKS)?.map_or(0, |value| value.value()))
        })
    }

    /// When the first delayed message is due.
    pub(crate) fn first_due(&self) -> Result<Option<Timestamp>, String> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(DELAYED)?;
            let first = table
                .first()?
                .map(|(key, _)| Timestamp::from_millis(key.value().0));
            Ok(first)
        })
    }

    /// The delayed messages that are due at `now` and come after the row `after`, in order: `rows` at the most, and not
    /// many more than `bytes`. A row that is not as it was written is empty.
    pub(crate) fn due(
        &self,
        after: Option<Due>,
        now: Timestamp,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<Row>, String> {
        let first = after.map_or(Bound::Unbounded, |Due { due, sequence }| {
            Bound::Excluded((due, sequence))
        });
        let last = (now.as_millis(), u64::MAX);
        if after.is_some_and(|Due { due, sequence }| (due, sequence) >= last) {
            return Ok(Vec::new());
        }
        self.with(|database| {
            let table = database.begin_read()?.open_table(DELAYED)?;
            let mut found = Vec::new();
            let mut size = 0;
            let range = table.range::<(i64, u64)>((first, Bound::Included(last)))?;
            for row in range.take(rows) {
                let (key, value) = row?;
                size += value.value().len();
                let (due, sequence) = key.value();
                let due = Due { due, sequence };
                let whole = rows::read_delayed(due, value.value());
                found.push(Row {
                    due,
                    bytes: whole.unwrap_or_default().to_vec().into(),
                });
                if size >= bytes {
                    break;
                }
            }
            Ok(found)
        })
    }

    /// Stores everything in one transaction; when it returns it is durable. Without changes it finds out whether
    /// anything can be stored.
    pub(crate) fn store(&self, changes: &Changes<'_>) -> Result<(), String> {
        self.with(|database| self.write(database, changes))
    }

    fn write(&self, database: &Database, changes: &Changes<'_>) -> Result<(), redb::Error> {
        let mut writing = database.begin_write()?;
        {
            let mut table = writing.open_table(PROGRESS)?;
            for (destination, group, partition, progress) in &changes.progress {
                let key = (*destination, *group, *partition);
                let sealed = rows::seal_group(key, progress::encode(progress));
                table.insert(key, sealed.as_slice())?;
            }
            for key in &changes.forgotten {
                table.remove(key)?;
            }
        }
        if !changes.deaths.is_empty() || !changes.forgotten.is_empty() {
            let mut table = writing.open_table(DEATHS)?;
            for key in &changes.forgotten {
                table.remove(key)?;
            }
            for (destination, group, partition, deaths) in &changes.deaths {
                let key = (*destination, *group, *partition);
                if deaths.is_empty() {
                    table.remove(key)?;
                } else {
                    table.insert(key, rows::seal_group(key, deaths.clone()).as_slice())?;
                }
            }
        }
        if let Some(generation) = changes.counted_marks {
            writing.open_table(COUNTERS)?.insert(MARKS, generation)?;
        }
        let rows = if !changes.puts.is_empty() || !changes.removed.is_empty() || changes.progress.is_empty() {
            self.write_delayed(&writing, changes)?
        } else {
            writing.open_table(DELAYED)?.len()?
        };
        // Of every transaction: the last one before a crash decides.
        writing.set_quick_repair(rows > LARGE);
        writing.commit()?;
        Ok(())
    }

    fn write_delayed(
        &self,
        writing: &redb::WriteTransaction,
        changes: &Changes<'_>,
    ) -> Result<u64, redb::Error> {
        let mut table = writing.open_table(DELAYED)?;
        for Due { due, sequence } in &changes.removed {
            table.remove((*due, *sequence))?;
        }
        // Only one thread writes. A number that a failed transaction took is never used again, which harms nobody.
        for (due, bytes) in &changes.puts {
            let due = Due {
                due: due.as_millis(),
                sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            };
            let sealed = rows::seal_delayed(due, bytes.to_vec());
            table.insert((due.due, due.sequence), sealed.as_slice())?;
        }
        let next = self.sequence.load(Ordering::Relaxed);
        writing.open_table(COUNTERS)?.insert(SEQUENCE, next)?;
        Ok(table.len()?)
    }
}

#[cfg(test)]
mod tests;
