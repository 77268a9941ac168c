//! Reading a state that nobody vouches for.

use crate::delayed::{self, Due};
use crate::overlay::Overlay;
use crate::state::{COUNTERS, DELAYED, PROGRESS, Stored, rows};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableError};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The pages that are kept in memory.
const CACHE_BYTES: usize = 4 << 20;

/// What a state holds.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) positions: Vec<Stored>,
    pub(crate) delayed: u64,
    pub(crate) unreadable: Vec<Unreadable>,
}

/// A row that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) row: RowKey,
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
}

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowKey {
    Position(String, String, u32),
    Delayed(i64, u64),
}

/// Checks every page and reads every row. The file is not changed.
pub(crate) fn read(file: Overlay) -> Result<Read, String> {
    // A hostile file must not end the program that looks at it, whatever the library makes of it.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(file)
            .map_err(|error| error.to_string())?;
        match database.check_integrity() {
            Ok(_) => read_rows(&database).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }));
    read.unwrap_or_else(|_| Err("it is damaged in a way that its reader did not expect".to_owned()))
}

fn read_rows(database: &Database) -> Result<Read, redb::Error> {
    let mut found = Read::default();
    let reading = database.begin_read()?;
    match reading.open_table(PROGRESS) {
        Err(TableError::TableDoesNotExist(_)) => {}
        table => {
            for row in table?.iter()? {
                let (key, value) = row?;
                let (destination, group, partition) = key.value();
                let (destination, group) = (destination.to_owned(), group.to_owned());
                match rows::read_progress(key.value(), value.value()) {
                    Ok(position) => found.positions.push(position),
                    Err(_) => found.unreadable.push(Unreadable {
                        what: format!("the position of the group \"{group}\" in {destination}/{partition}"),
                        row: RowKey::Position(destination, group, partition),
                        bytes: value.value().to_vec(),
                    }),
                }
            }
        }
    }
    match reading.open_table(DELAYED) {
        Err(TableError::TableDoesNotExist(_)) => {}
        table => {
            for row in table?.iter()? {
                let (key, value) = row?;
                let (due, sequence) = key.value();
                found.delayed += 1;
                let whole = rows::read_delayed(Due { due, sequence }, value.value());
                if whole
                    .and_then(|whole| delayed::decode(&whole.to_vec().into()))
                    .is_none()
                {
                    found.unreadable.push(Unreadable {
                        what: format!("the message for later with the number {sequence}, due at {due} ms"),
                        row: RowKey::Delayed(due, sequence),
                        bytes: value.value().to_vec(),
                    });
                }
            }
        }
    }
    match reading.open_table(COUNTERS) {
        Ok(_) | Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(found)
}
