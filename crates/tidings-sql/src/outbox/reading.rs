//! What a relay takes from the outbox at once: [`Reading`].

use super::rows::Row;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::kept::Kept;
use crate::store::SqlStore;
use crate::value::Value;
use bytes::BytesMut;
use std::sync::Arc;

/// What a relay reads at once.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// Channels that are left out.
    pub(crate) without: Vec<Arc<str>>,
    /// Whether what is behind a parked row of its key is left out too.
    pub(crate) parked_keys_wait: bool,
}

impl Reading {
    /// Whether those are all that it asks for, and no limit has kept others back.
    pub(crate) fn is_all(&self, rows: &[Row]) -> bool {
        // At least what the database counts; of a row without a message it is not known.
        let size = |row: &Row| row.outgoing.as_ref().map_or(self.bytes, |one| one.message.size());
        let bytes = rows.iter().map(size).fold(0, usize::saturating_add);
        rows.len() < self.rows && bytes < self.bytes
    }
}

impl<DB: Dialect> SqlStore<DB> {
    /// The first rows, in their order.
    pub(crate) async fn read_outbox(
        &self,
        reading: &Reading,
        kept: &mut Kept<DB>,
        memory: &mut BytesMut,
    ) -> Result<Vec<Row>, SqlError> {
        let without: Vec<&str> = reading.without.iter().map(AsRef::as_ref).collect();
        let number = |number: usize| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let values = [
            number(reading.rows),
            number(reading.bytes),
            Value::Texts(&without),
        ];
        let [all, some] = self.outbox_statements().read(reading.parked_keys_wait);
        let (sql, values) = match without.is_empty() {
            true => (all, &values[..2]),
            false => (some, &values[..]),
        };
        let doing = "reading the outbox";
        let rows = Row::all_of::<DB>(&kept.read(self, doing, sql, values).await?, memory);
        rows.map_err(|error| self.explain(doing, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{Message, Outgoing};

    #[test]
    fn what_a_limit_has_cut_off_is_not_all() {
        let reading = Reading {
            rows: 3,
            bytes: 100,
            without: Vec::new(),
            parked_keys_wait: false,
        };
        let row = |bytes: usize| Row {
            id: 1,
            channel: "orders".into(),
            key: None,
            outgoing: Ok(Outgoing::new("orders", Message::new("x".repeat(bytes)))),
        };
        let unreadable = Row {
            outgoing: Err("no headers".into()),
            ..row(0)
        };
        assert!(reading.is_all(&[]) && reading.is_all(&[row(10), row(10)]));
        assert!(
            !reading.is_all(&[row(10), row(10), row(10)]),
            "as many as were asked for"
        );
        assert!(!reading.is_all(&[row(10), row(90)]), "as many bytes");
        assert!(!reading.is_all(&[unreadable]), "nobody knows");
    }
}
