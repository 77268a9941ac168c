//! Messages as rows of the outbox.

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::store::SqlStore;
use crate::value::Value;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tidings_core::headers::Headers;
use tidings_core::{Message, Outgoing, Timestamp};

/// What a message is made of, in the order in which it is written and read.
const COLUMNS: &str = "channel, to_partition, due_at, message_key, payload, headers, message_time";
/// How many those are.
const WIDTH: usize = 7;
/// How many rows one statement writes. A few sizes, so that the statements stay prepared, each half of the one before, so that
/// any number of rows needs few of them; the largest is far from what a statement may have of values.
const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// The statements of the outbox, written once per store.
#[derive(Debug)]
pub(crate) struct Statements {
    insert: [(usize, Arc<str>); SIZES.len()],
    read: [Arc<str>; 2],
    read_behind_parked: [Arc<str>; 2],
    delete: Arc<str>,
    take_out: Option<Arc<str>>,
    park: Arc<str>,
    backlog: Arc<str>,
    parked: Arc<str>,
    unpark: Arc<str>,
    discard: Arc<str>,
}

/// More than that are not counted: to count is to read.
pub(crate) const COUNTED: i64 = 100_000;

impl Statements {
    pub(crate) fn new<DB: Dialect>(complete: impl Fn(&str) -> Arc<str>) -> Self {
        let (list, not_in, own) = (DB::IN_LIST, DB::NOT_IN_TEXTS, DB::SAME_KEY);
        let size = "octet_length(o.headers) + coalesce(octet_length(o.payload), 0)";
        let read = |conditions: &[&str]| {
            let conditions = match conditions {
                [] => String::new(),
                _ => format!("WHERE {} ", conditions.join(" AND ")),
            };
            // The limit of bytes stops behind the row that goes beyond it, so the first one always comes.
            complete(&format!(
                "SELECT id, {COLUMNS} FROM (SELECT o.*, sum({size}) OVER (ORDER BY o.id ROWS UNBOUNDED PRECEDING) - ({size}) AS before \
                 FROM (SELECT * FROM {{t}}outbox AS waiting {conditions}ORDER BY id LIMIT $1) AS o) AS w WHERE before < $2 ORDER BY id"
            ))
        };
        // Without a condition where there is none: what PostgreSQL guesses of one decides whether it reads the whole table.
        let not_held = format!("waiting.channel {not_in}");
        let no_parked = format!(
            "NOT EXISTS (SELECT 1 FROM {{t}}outbox_parked AS parked WHERE parked.channel = waiting.channel AND {own})"
        );
        Self {
            insert: SIZES.map(|rows| (rows, complete(&insert(rows)))),
            read: [read(&[]), read(&[&not_held])],
            read_behind_parked: [read(&[&no_parked]), read(&[&not_held, &no_parked])],
            delete: complete(&format!("DELETE FROM {{t}}outbox WHERE id {list}")),
            take_out: DB::TAKE_OUT.map(&complete),
            park: complete(&format!(
                "INSERT INTO {{t}}outbox_parked (id, {COLUMNS}, written_at, parked_at, reason) \
                 SELECT id, {COLUMNS}, written_at, {{now}}, $2 FROM {{t}}outbox WHERE id = $1"
            )),
            backlog: complete(&format!(
                "SELECT (SELECT count(*) FROM (SELECT 1 FROM {{t}}outbox LIMIT {COUNTED}) AS counted), \
                 (SELECT {{now}} - written_at FROM {{t}}outbox ORDER BY id LIMIT 1), \
                 (SELECT count(*) FROM (SELECT 1 FROM {{t}}outbox_parked LIMIT {COUNTED}) AS counted_parked)"
            )),
            parked: complete(&format!(
                "SELECT id, {COLUMNS}, parked_at, reason FROM {{t}}outbox_parked ORDER BY id LIMIT $1"
            )),
            unpark: complete(&format!(
                "INSERT INTO {{t}}outbox (id, {COLUMNS}, written_at) \
                 SELECT id, {COLUMNS}, written_at FROM {{t}}outbox_parked WHERE id {list}"
            )),
            discard: complete(&format!("DELETE FROM {{t}}outbox_parked WHERE id {list}")),
        }
    }

    /// With all channels, and without some.
    pub(crate) fn read(&self, parked_keys_wait: bool) -> [&Arc<str>; 2] {
        match parked_keys_wait {
            true => self.read_behind_parked.each_ref(),
            false => self.read.each_ref(),
        }
    }

    pub(crate) fn delete(&self) -> &Arc<str> {
        &self.delete
    }

    /// Deletes rows under a lock at once.
    pub(crate) fn take_out(&self) -> Option<&Arc<str>> {
        self.take_out.as_ref()
    }

    pub(crate) fn park(&self) -> &Arc<str> {
        &self.park
    }

    pub(crate) fn backlog(&self) -> &Arc<str> {
        &self.backlog
    }

    pub(crate) fn parked(&self) -> &Arc<str> {
        &self.parked
    }

    pub(crate) fn unpark(&self) -> &Arc<str> {
        &self.unpark
    }

    pub(crate) fn discard(&self) -> &Arc<str> {
        &self.discard
    }
}

fn insert(rows: usize) -> String {
    let row = |row: usize| {
        let values: Vec<String> = (1..=WIDTH)
            .map(|column| format!("${}", row * WIDTH + column))
            .collect();
        format!("({}, {{now}})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO {{t}}outbox ({COLUMNS}, written_at) VALUES {}",
        rows.join(", ")
    )
}

/// Writes messages whose destinations are names of channels, in their order, in the transaction of that connection.
pub(crate) async fn write<DB: Dialect>(
    store: &SqlStore<DB>,
    connection: &mut DB::Connection,
    messages: &[Outgoing],
) -> Result<(), SqlError> {
    let mut rest = messages;
    while !rest.is_empty() {
        let fits = |(rows, _): &&(usize, Arc<str>)| *rows <= rest.len();
        let Some((rows, sql)) = store.outbox_statements().insert.iter().find(fits) else {
            break;
        };
        let (now, later) = rest.split_at(*rows);
        let values: Vec<Value<'_>> = now.iter().flat_map(values).collect();
        DB::execute(connection, sql, &values)
            .await
            .map_err(|error| store.explain("writing to the outbox", error))?;
        rest = later;
    }
    if !messages.is_empty() {
        // They are committed soon; the relay looks several times.
        store.wake().call(store);
    }
    Ok(())
}

fn values(outgoing: &Outgoing) -> [Value<'_>; WIDTH] {
    let message = &outgoing.message;
    [
        Value::Text(&outgoing.destination),
        Value::MaybeInt(outgoing.partition.map(i64::from)),
        Value::MaybeInt(outgoing.due.map(Timestamp::as_millis)),
        Value::MaybeBytes(message.key().map(AsRef::as_ref)),
        Value::MaybeBytes(message.payload().map(AsRef::as_ref)),
        Value::Bytes(message.headers().as_block()),
        Value::MaybeInt(message.timestamp().map(Timestamp::as_millis)),
    ]
}

/// What key, payload and headers of a row are guessed to have together.
const USUAL_BYTES: usize = 512;
/// More memory than that is not kept for the next rows.
const KEPT_BYTES: usize = 2 << 20;

/// A row of the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) channel: Arc<str>,
    pub(crate) key: Option<Bytes>,
    /// The message, to the channel; or why the row holds none.
    pub(crate) outgoing: Result<Outgoing, String>,
}

impl Row {
    /// From rows with the columns `id` and [`COLUMNS`]. What they have of bytes lies in one piece of memory, and a channel is
    /// the one of the row before if it is the same: a row costs no allocation.
    ///
    /// The memory is used again when nothing of it is left, as after a batch that was sent.
    pub(crate) fn all_of<DB: Dialect>(
        rows: &[DB::Row],
        memory: &mut BytesMut,
    ) -> Result<Vec<Self>, sqlx::Error> {
        memory.reserve(rows.len() * USUAL_BYTES);
        let mut lengths = Vec::with_capacity(rows.len());
        for row in rows {
            let mut keep = |column| {
                let bytes = DB::maybe_bytes(row, column)?;
                memory.extend_from_slice(bytes.unwrap_or_default());
                Ok::<_, sqlx::Error>(bytes.map(<[u8]>::len))
            };
            lengths.push([keep(4)?, keep(5)?, keep(6)?]);
        }
        let is_large = memory.capacity() > KEPT_BYTES;
        let mut parts = memory.split().freeze();
        if is_large {
            *memory = BytesMut::new();
        }
        let mut channel = Arc::<str>::default();
        let row = |(row, lengths): (&DB::Row, [Option<usize>; 3])| {
            let [key, payload, headers] = lengths.map(|length| length.map(|length| parts.split_to(length)));
            let parts = Parts {
                to_partition: DB::maybe_int(row, 2)?,
                due_at: DB::maybe_int(row, 3)?,
                key,
                payload,
                headers: headers.unwrap_or_default(),
                time: DB::maybe_int(row, 7)?,
            };
            let name = DB::text(row, 1)?;
            if *channel != *name {
                channel = name.into();
            }
            Ok(Self::new(DB::int(row, 0)?, channel.clone(), parts))
        };
        rows.iter().zip(lengths).map(row).collect()
    }

    pub(crate) fn new(id: i64, channel: Arc<str>, parts: Parts) -> Self {
        Self {
            id,
            key: parts.key.clone(),
            outgoing: parts.message_to(channel.clone()),
            channel,
        }
    }
}

/// What a row has of its message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub(crate) to_partition: Option<i64>,
    pub(crate) due_at: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) payload: Option<Bytes>,
    pub(crate) headers: Bytes,
    pub(crate) time: Option<i64>,
}

impl Parts {
    /// The message, or why there is none.
    fn message_to(self, destination: Arc<str>) -> Result<Outgoing, String> {
        let headers = Headers::from_block(self.headers).map_err(|error| error.to_string())?;
        let partition = self.to_partition.map(u32::try_from).transpose();
        let partition = partition.map_err(|_| "to_partition is no partition".to_owned())?;
        let message = Message::default()
            .with_optional_key(self.key)
            .with_payload(self.payload)
            .with_headers(headers);
        let message = match self.time {
            Some(time) => message.with_timestamp(Timestamp::from_millis(time)),
            None => message,
        };
        Ok(Outgoing {
            destination,
            partition,
            message,
            due: self.due_at.map(Timestamp::from_millis),
        })
    }
}
