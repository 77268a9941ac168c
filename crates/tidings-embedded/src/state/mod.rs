//! The small state beside the logs, in one redb file: progress of groups and delayed messages.

use crate::deaths;
use crate::delayed::{Due, Row};
use crate::progress::{self, Entry};
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tidings_core::{Deaths, Progress, Timestamp};

/// (destination, group, partition) → encoded progress.
const PROGRESS: TableDefinition<(&str, &str, u32), &[u8]> = TableDefinition::new("progress");
/// (due in milliseconds, sequence) → encoded row.
const DELAYED: TableDefinition<(i64, u64), &[u8]> = TableDefinition::new("delayed");
/// (destination, group, partition) → encoded deaths of messages.
const DEATHS: TableDefinition<(&str, &str, u32), &[u8]> = TableDefinition::new("deaths");
/// Counters by name.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// The counter that keeps delayed messages of one due time in order and apart.
const SEQUENCE: &str = "delayed";
/// The counter that says which generation of marks was counted last.
const MARKS: &str = "marks";

/// The pages that redb keeps in memory; its own default is a gigabyte.
const CACHE_BYTES: usize = 4 << 20;
/// With more rows than this, recovery after a crash must not walk the file.
const LARGE: u64 = 10_000;

/// The open state. Every call blocks.
#[derive(Debug)]
pub(crate) struct State {
    database: Database,
    sequence: AtomicU64,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    pub(crate) progress: Vec<(&'a str, &'a str, u32, &'a Progress)>,
    pub(crate) puts: Vec<(Timestamp, &'a [u8])>,
    pub(crate) removed: Vec<Due>,
    /// Rows without bytes are removed.
    pub(crate) deaths: Vec<(&'a str, &'a str, u32, Vec<u8>)>,
    pub(crate) counted_marks: Option<u64>,
}

/// A row of deaths.
pub(crate) fn row(entry: &Entry, deaths: Vec<u8>) -> (&str, &str, u32, Vec<u8>) {
    (&entry.destination, &entry.group, entry.partition, deaths)
}

/// A stored progress: destination, group, partition.
pub(crate) type Stored = (String, String, u32, Progress);
/// Stored deaths: destination, group, partition.
pub(crate) type StoredDeaths = (String, String, u32, Vec<Deaths>);

impl State {
    /// Opens or creates the file.
    pub(crate) fn on_disk(path: &Path) -> Result<Self, String> {
        let opened = Builder::new().set_cache_size(CACHE_BYTES).create(path);
        let database = opened.map_err(|error| {
            format!("{}: {error}: restore this file from a copy, or move it away to begin without stored positions", path.display())
        })?;
        Self::new(database).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The same in memory.
    pub(crate) fn in_memory() -> Result<Self, String> {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| error.to_string())?;
        Self::new(database).map_err(|error| error.to_string())
    }

    fn new(database: Database) -> Result<Self, redb::Error> {
        let has_tables = {
            let reading = database.begin_read()?;
            reading.list_tables()?.count() == 4
        };
        if !has_tables {
            let writing = database.begin_write()?;
            writing.open_table(PROGRESS)?;
            writing.open_table(DELAYED)?;
            writing.open_table(DEATHS)?;
            writing.open_table(COUNTERS)?;
            writing.commit()?;
        }
        let reading = database.begin_read()?;
        let sequence = reading
            .open_table(COUNTERS)?
            .get(SEQUENCE)?
            .map_or(0, |value| value.value());
        drop(reading);
        Ok(Self {
            database,
            sequence: AtomicU64::new(sequence),
        })
    }

    /// Every stored progress.
    pub(crate) fn progress(&self) -> Result<Vec<Stored>, String> {
        self.read_progress()
            .map_err(|error| error.to_string())?
            .into_iter()
            .collect()
    }

    fn read_progress(&self) -> Result<Vec<Result<Stored, String>>, redb::Error> {
        let table = self.database.begin_read()?.open_table(PROGRESS)?;
        let mut all = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let (destination, group, partition) = key.value();
            all.push(match progress::decode(value.value()) {
                Some(progress) => Ok((destination.to_owned(), group.to_owned(), partition, progress)),
                None => Err(format!(
                    "the progress of {group} in {destination}/{partition} cannot be read: it was written by a newer version, or it is damaged"
                )),
            });
        }
        Ok(all)
    }

    /// The deaths of messages. A row that cannot be read is left out: it only says what to be careful with.
    pub(crate) fn deaths(&self) -> Result<Vec<StoredDeaths>, String> {
        self.read_deaths().map_err(|error| error.to_string())
    }

    fn read_deaths(&self) -> Result<Vec<StoredDeaths>, redb::Error> {
        let table = self.database.begin_read()?.open_table(DEATHS)?;
        let mut all = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let (destination, group, partition) = key.value();
            match deaths::decode(value.value()) {
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
    }

    /// Which generation of marks was counted last.
    pub(crate) fn counted_marks(&self) -> Result<u64, String> {
        let counted = || -> Result<u64, redb::Error> {
            let table = self.database.begin_read()?.open_table(COUNTERS)?;
            Ok(table.get(MARKS)?.map_or(0, |value| value.value()))
        };
        counted().map_err(|error| error.to_string())
    }

    /// When the first delayed message is due.
    pub(crate) fn first_due(&self) -> Result<Option<Timestamp>, String> {
        let first = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(DELAYED)?;
            let first = table
                .first()?
                .map(|(key, _)| Timestamp::from_millis(key.value().0));
            Ok(first)
        };
        first().map_err(|error| error.to_string())
    }

    /// The delayed messages that are due at `now` and come after the row `after`, in order: `rows` at the most, and not
    /// many more than `bytes`.
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
        let read = || -> Result<Vec<Row>, redb::Error> {
            let table = self.database.begin_read()?.open_table(DELAYED)?;
            let mut found = Vec::new();
            let mut size = 0;
            let range = table.range::<(i64, u64)>((first, Bound::Included(last)))?;
            for row in range.take(rows) {
                let (key, value) = row?;
                size += value.value().len();
                let (due, sequence) = key.value();
                found.push(Row {
                    due: Due { due, sequence },
                    bytes: value.value().to_vec().into(),
                });
                if size >= bytes {
                    break;
                }
            }
            Ok(found)
        };
        read().map_err(|error| error.to_string())
    }

    /// Stores everything in one transaction; when it returns it is durable.
    pub(crate) fn store(&self, changes: &Changes<'_>) -> Result<(), String> {
        self.write(changes).map_err(|error| error.to_string())
    }

    fn write(&self, changes: &Changes<'_>) -> Result<(), redb::Error> {
        let mut writing = self.database.begin_write()?;
        {
            let mut table = writing.open_table(PROGRESS)?;
            for (destination, group, partition, progress) in &changes.progress {
                table.insert(
                    (*destination, *group, *partition),
                    progress::encode(progress).as_slice(),
                )?;
            }
        }
        if !changes.deaths.is_empty() {
            let mut table = writing.open_table(DEATHS)?;
            for (destination, group, partition, deaths) in &changes.deaths {
                let key = (*destination, *group, *partition);
                if deaths.is_empty() {
                    table.remove(key)?;
                } else {
                    table.insert(key, deaths.as_slice())?;
                }
            }
        }
        if let Some(generation) = changes.counted_marks {
            writing.open_table(COUNTERS)?.insert(MARKS, generation)?;
        }
        if !changes.puts.is_empty() || !changes.removed.is_empty() {
            let rows = self.write_delayed(&writing, changes)?;
            writing.set_quick_repair(rows > LARGE);
        }
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
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            table.insert((due.as_millis(), sequence), *bytes)?;
        }
        let next = self.sequence.load(Ordering::Relaxed);
        writing.open_table(COUNTERS)?.insert(SEQUENCE, next)?;
        Ok(table.len()?)
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of ranges is meant")]
mod tests {
    use super::*;

    #[test]
    fn progress_and_delayed_messages_survive_reopening() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.redb");
        let progress = Progress {
            watermark: 7,
            finished: vec![9..11],
            attempts: vec![(12, 2)],
        };
        let state = State::on_disk(&path).unwrap();
        let at = Timestamp::from_millis;
        state
            .store(&Changes {
                progress: vec![("orders", "billing", 3, &progress)],
                puts: vec![(at(20), b"later"), (at(10), b"first"), (at(10), b"second")],
                ..Changes::default()
            })
            .unwrap();
        drop(state);

        let state = State::on_disk(&path).unwrap();
        assert_eq!(
            state.progress().unwrap(),
            [("orders".to_owned(), "billing".to_owned(), 3, progress)]
        );
        assert_eq!(state.first_due().unwrap(), Some(at(10)));
        let due = state.due(None, at(10), 10, 1 << 20).unwrap();
        let texts: Vec<_> = due.iter().map(|row| row.bytes.as_ref()).collect();
        assert_eq!(texts, [b"first".as_slice(), b"second"]);
        let second = state.due(Some(due[0].due), at(10), 10, 1 << 20).unwrap();
        assert_eq!(second.len(), 1);
        assert_eq!(second[0].due, due[1].due);
        let removed = due.iter().map(|row| row.due).collect();
        state
            .store(&Changes {
                removed,
                puts: vec![(at(20), b"last")],
                ..Changes::default()
            })
            .unwrap();
        let due = state.due(None, at(99), 10, 1 << 20).unwrap();
        let texts: Vec<_> = due.iter().map(|row| row.bytes.as_ref()).collect();
        assert_eq!(texts, [b"later".as_slice(), b"last"]);
    }

    #[test]
    fn a_file_that_is_no_state_is_refused_with_the_cure() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.redb");
        std::fs::write(
            &path,
            b"this is something else, and longer than a header would be",
        )
        .unwrap();
        let refused = State::on_disk(&path).unwrap_err();
        assert!(
            refused.contains("state.redb") && refused.contains("restore"),
            "{refused}"
        );
    }
}
