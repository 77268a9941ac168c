//! A connection for many statements: [`Kept`].

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::store::{SqlStore, give_back};
use crate::value::Value;
use sqlx::pool::PoolConnection;
use std::sync::Arc;

/// Fewer connections than that are too few to keep one.
const FEWEST: u32 = 3;

/// The statements of one that works without a pause. From the pool each would have another connection, which is asked first
/// whether it lives, and on a server each is another process that has to wake.
#[derive(Debug)]
pub(crate) struct Kept<DB: Dialect> {
    connection: Option<PoolConnection<DB>>,
    keeps: bool,
}

impl<DB: Dialect> Kept<DB> {
    pub(crate) fn new(store: &SqlStore<DB>) -> Self {
        Self {
            connection: None,
            keeps: DB::IS_REMOTE && store.pool().options().get_max_connections() >= FEWEST,
        }
    }

    /// Keeps none.
    pub(crate) fn none() -> Self {
        Self {
            connection: None,
            keeps: false,
        }
    }

    /// Others may have it, until the next statement.
    pub(crate) fn let_go(&mut self) {
        self.connection = None;
    }

    /// Runs a statement that only reads.
    pub(crate) async fn read(
        &mut self,
        store: &SqlStore<DB>,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<Vec<DB::Row>, SqlError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => store.reading(doing).await?,
        };
        let rows = store.fetch_on(&mut connection, doing, sql, values).await;
        self.keep(connection, &rows);
        rows
    }

    /// Runs a statement that writes in a transaction of its own; how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        store: &SqlStore<DB>,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<u64, SqlError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => store.writing(doing).await?,
        };
        let done = store.execute_on(&mut connection, doing, sql, values).await;
        self.keep(connection, &done);
        done
    }

    fn keep<T>(&mut self, connection: PoolConnection<DB>, done: &Result<T, SqlError>) {
        match self.keeps && done.is_ok() {
            true => self.connection = Some(connection),
            false => give_back(connection, done),
        }
    }
}
