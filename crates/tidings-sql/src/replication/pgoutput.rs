//! What PostgreSQL's plugin `pgoutput` says of transactions, version 1 of its protocol: [`Decoder`].
//!
//! Only inserts are of interest, and only those into the outbox. Values come in their binary form.

use super::bytes_in::{Input, Unreadable};
use super::lsn::Lsn;
use crate::outbox::rows::{Parts, Row};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Something that happened, in the order of the commits.
#[derive(Debug)]
pub(crate) enum Change {
    /// A transaction begins; its low 32 bits of the id.
    Begin { transaction: u32 },
    /// A row of the outbox.
    Row(Row),
    /// A transaction ends there.
    Commit { end: Lsn },
    /// Nothing that matters here.
    Nothing,
}

/// Descriptions of more tables than that are forgotten; the server sends a publication of one.
const MOST_TABLES: usize = 100;
/// More names of channels than that are not kept.
const MOST_CHANNELS: usize = 1_000;

/// Reads changes. It remembers how tables look, since rows say only their values.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    schema: String,
    tables: HashMap<u32, Option<Vec<Column>>>,
    channels: HashSet<Arc<str>>,
}

/// What a column of the outbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    Channel,
    ToPartition,
    DueAt,
    Key,
    Payload,
    Headers,
    Time,
    Other,
}

impl Column {
    fn named(name: &[u8]) -> Self {
        match name {
            b"id" => Self::Id,
            b"channel" => Self::Channel,
            b"to_partition" => Self::ToPartition,
            b"due_at" => Self::DueAt,
            b"message_key" => Self::Key,
            b"payload" => Self::Payload,
            b"headers" => Self::Headers,
            b"message_time" => Self::Time,
            _ => Self::Other,
        }
    }
}

impl Decoder {
    /// For the outbox in that schema.
    pub(crate) fn new(schema: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            ..Self::default()
        }
    }

    /// Reads one message of the plugin.
    pub(crate) fn read(&mut self, message: Bytes) -> Result<Change, Unreadable> {
        let mut input = Input::new(message, "a change");
        match input.byte()? {
            b'I' => self.insert(input),
            b'B' => {
                // Where it ends, and when.
                input.skip(16)?;
                let transaction = input.u32()?;
                Ok(Change::Begin { transaction })
            }
            b'C' => {
                // Flags, and where the record of the commit begins.
                input.skip(9)?;
                let end = Lsn(input.u64()?);
                Ok(Change::Commit { end })
            }
            b'R' => self.describe(input),
            // Origins, types, logical messages; what is updated, deleted or truncated is not published, and would not matter.
            b'O' | b'Y' | b'M' | b'U' | b'D' | b'T' => Ok(Change::Nothing),
            kind => Err(Unreadable::Kind {
                what: "a change",
                kind: kind.into(),
            }),
        }
    }

    /// How a table looks from now on.
    fn describe(&mut self, mut input: Input) -> Result<Change, Unreadable> {
        let table = input.u32()?;
        let (schema, name) = (input.until_zero()?, input.until_zero()?);
        let _replica_identity = input.byte()?;
        let count = input.u16()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let _flags = input.byte()?;
            columns.push(Column::named(&input.until_zero()?));
            // Type and its modifier.
            input.skip(8)?;
        }
        if self.tables.len() >= MOST_TABLES {
            self.tables.clear();
        }
        let ours = *schema == *self.schema.as_bytes() && *name == *b"outbox";
        self.tables.insert(table, ours.then_some(columns));
        Ok(Change::Nothing)
    }

    fn insert(&mut self, mut input: Input) -> Result<Change, Unreadable> {
        let table = input.u32()?;
        let columns = match self.tables.get(&table) {
            Some(Some(columns)) => columns,
            // Somebody has put another table into the publication.
            Some(None) => return Ok(Change::Nothing),
            None => return Err(Unreadable::Lacks("the description of its table")),
        };
        match input.byte()? {
            b'N' => {}
            kind => {
                return Err(Unreadable::Kind {
                    what: "a row",
                    kind: kind.into(),
                });
            }
        }
        let count = input.u16()?;
        if usize::from(count) != columns.len() {
            return Err(Unreadable::Lacks("columns of its description"));
        }
        let (mut id, mut channel, mut parts) = (None, None, Parts::default());
        for column in columns {
            let Some(value) = value(&mut input)? else {
                continue;
            };
            match column {
                Column::Id => id = Some(number(&value)?),
                Column::Channel => channel = Some(value),
                Column::ToPartition => parts.to_partition = Some(number(&value)?),
                Column::DueAt => parts.due_at = Some(number(&value)?),
                Column::Key => parts.key = Some(value),
                Column::Payload => parts.payload = Some(value),
                Column::Headers => parts.headers = value,
                Column::Time => parts.time = Some(number(&value)?),
                Column::Other => {}
            }
        }
        let id = id.ok_or(Unreadable::Lacks("its id"))?;
        let channel = channel.ok_or(Unreadable::Lacks("its channel"))?;
        let channel = self.channel(&channel)?;
        Ok(Change::Row(Row::new(id, channel, parts)))
    }

    /// A name that is kept, since there are few of them and many rows.
    fn channel(&mut self, name: &[u8]) -> Result<Arc<str>, Unreadable> {
        let name = std::str::from_utf8(name).map_err(|_| Unreadable::Lacks("a channel that is text"))?;
        if let Some(known) = self.channels.get(name) {
            return Ok(known.clone());
        }
        if self.channels.len() >= MOST_CHANNELS {
            self.channels.clear();
        }
        let name: Arc<str> = name.into();
        self.channels.insert(name.clone());
        Ok(name)
    }
}

/// A value of a row, or NULL.
fn value(input: &mut Input) -> Result<Option<Bytes>, Unreadable> {
    match input.byte()? {
        b'n' => Ok(None),
        b'b' => {
            let length = input.length()?;
            input.take(length).map(Some)
        }
        // `t` would be text, which was not asked for, and `u` is only in updates.
        kind => Err(Unreadable::Kind {
            what: "a value",
            kind: kind.into(),
        }),
    }
}

/// A `bigint`.
fn number(value: &[u8]) -> Result<i64, Unreadable> {
    let bytes = value.try_into().map_err(|_| Unreadable::Lacks("a number"))?;
    Ok(i64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How the outbox is described, as a server does.
    fn description(schema: &str) -> Vec<u8> {
        let mut bytes = b"R\x00\x00\x00\x07".to_vec();
        bytes.extend([schema.as_bytes(), b"\0outbox\0d\0\x04"].concat());
        for name in ["id", "channel", "written_at", "headers"] {
            bytes.extend([b"\0", name.as_bytes(), b"\0\0\0\0\x14\xff\xff\xff\xff"].concat());
        }
        bytes
    }

    fn row(id: i64) -> Vec<u8> {
        let mut bytes = b"I\x00\x00\x00\x07N\x00\x04b\x00\x00\x00\x08".to_vec();
        bytes.extend(id.to_be_bytes());
        bytes.extend(b"b\x00\x00\x00\x06ordersnb\x00\x00\x00\x00");
        bytes
    }

    #[test]
    fn a_row_is_read_by_the_description_of_its_table() {
        let mut decoder = Decoder::new("tidings");
        let early = decoder.read(row(1).into()).unwrap_err();
        assert_eq!(early, Unreadable::Lacks("the description of its table"));
        decoder.read(description("tidings").into()).unwrap();
        let Change::Row(row_7) = decoder.read(row(7).into()).unwrap() else {
            panic!("no row");
        };
        assert_eq!((row_7.id, &*row_7.channel), (7, "orders"));
        assert_eq!(&*row_7.outgoing.unwrap().destination, "orders");
        // Cut anywhere, it is refused.
        for length in 0..row(7).len() {
            assert!(decoder.read(Bytes::from(row(7)[..length].to_vec())).is_err());
        }
        // Of another schema, it is nobody's.
        decoder.read(description("other").into()).unwrap();
        assert!(matches!(decoder.read(row(8).into()).unwrap(), Change::Nothing));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..80),
            kind in prop::sample::select(b"BCIORTUDYMx".to_vec()),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut decoder = Decoder::new("tidings");
            decoder.read(description("tidings").into()).unwrap();
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            let _ = decoder.read(bytes.into());
            // Nearly right is worse than wrong.
            for good in [description("tidings"), row(7)] {
                let mut good = good;
                for (place, byte) in &flips {
                    let place = place.index(good.len());
                    good[place] = *byte;
                }
                let _ = decoder.read(good.into());
            }
        }
    }
}
