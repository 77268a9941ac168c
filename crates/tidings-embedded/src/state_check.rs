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

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of ranges is meant")]
mod tests {
    use super::*;
    use crate::progress;
    use tidings_core::{Message, Progress, Timestamp};

    #[test]
    fn the_rows_of_the_state_are_as_documented() {
        let position = Progress {
            watermark: 7,
            finished: vec![9..11],
            attempts: vec![(12, 2)],
        };
        let mut expected = vec![1];
        expected.extend(7_u64.to_le_bytes());
        expected.extend(1_u32.to_le_bytes());
        expected.extend([9_u64, 11].map(u64::to_le_bytes).concat());
        expected.extend(1_u32.to_le_bytes());
        expected.extend(12_u64.to_le_bytes());
        expected.extend(2_u32.to_le_bytes());
        assert_eq!(progress::encode(&position), expected);

        let message = Message::new("tea");
        let row = delayed::encode("orders", 3, Timestamp::from_millis(-2), &message);
        let mut expected = vec![1];
        expected.extend(3_u32.to_le_bytes());
        expected.extend((-2_i64).to_le_bytes());
        expected.extend(b"\x06\0\0\0orders");
        expected.extend((message.headers().as_block().len() as u32).to_le_bytes());
        expected.extend(message.headers().as_block());
        expected.extend(u32::MAX.to_le_bytes());
        expected.extend(b"\x03\0\0\0tea");
        assert_eq!(row, expected);
    }
}
