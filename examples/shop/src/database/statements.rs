//! Statements that read the same on SQLite and PostgreSQL: [`Sql`].
//!
//! A service that has one database needs nothing of this: it runs sqlx's own queries on `Tx<Sqlite>`. The shop has a choice
//! of two at run time, and its handlers are written once.

use tidings::sql::Dialect;
use tidings::sql::sqlx::{self, AssertSqlSafe, Error, PgConnection, Postgres, Row, Sqlite, SqliteConnection};

/// What stands for `$1`, `$2`, … in a statement.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A number.
    Number(i64),
}

/// A database that the shop can use.
pub trait Sql: Dialect {
    /// Keeps others from changing tables until the transaction ends.
    const LOCK_TABLES: Option<&'static str>;
    /// What keeps the rows of a SELECT from others until the transaction ends.
    const FOR_UPDATE: &'static str;

    /// Runs a statement; how many rows it changed.
    fn change(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Runs a statement and takes its rows.
    fn rows(
        connection: &mut Self::Connection,
        sql: &str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send;

    /// Runs several statements without values.
    fn run_all(
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Text of a row.
    fn text_in(row: &Self::Row, column: usize) -> Result<String, Error>;

    /// A number of a row.
    fn number_in(row: &Self::Row, column: usize) -> Result<i64, Error>;

    /// Inserts rows of `width` values each: `into` ends with `VALUES`, and `rest` follows the rows. The rows that it returns.
    fn insert(
        connection: &mut Self::Connection,
        into: &str,
        width: usize,
        values: &[Value<'_>],
        rest: &str,
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send {
        async move {
            let mut returned = Vec::new();
            let mut left = values;
            while !left.is_empty() {
                // A few sizes, so that the statements stay prepared.
                let fits = |rows: &usize| rows * width <= left.len();
                let rows = ROWS.into_iter().find(fits).unwrap_or(1);
                let (now, later) = left.split_at_checked(rows * width).unwrap_or((left, &[]));
                let sql = format!("{into} {} {rest}", places(rows, width));
                returned.extend(Self::rows(connection, &sql, now).await?);
                left = later;
            }
            Ok(returned)
        }
    }
}

/// How many rows one statement inserts.
const ROWS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// `($1, $2), ($3, $4)`
fn places(rows: usize, width: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=width)
            .map(|place| format!("${}", row * width + place))
            .collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The part that reads the same and is compiled for each.
macro_rules! statements {
    ($connection:ty) => {
        async fn change(connection: &mut $connection, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for value in values {
                query = match value {
                    Value::Text(text) => query.bind(*text),
                    Value::Number(number) => query.bind(*number),
                };
            }
            Ok(query.execute(connection).await?.rows_affected())
        }

        async fn rows(
            connection: &mut $connection,
            sql: &str,
            values: &[Value<'_>],
        ) -> Result<Vec<Self::Row>, Error> {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for value in values {
                query = match value {
                    Value::Text(text) => query.bind(*text),
                    Value::Number(number) => query.bind(*number),
                };
            }
            query.fetch_all(connection).await
        }

        async fn run_all(connection: &mut $connection, sql: &'static str) -> Result<(), Error> {
            sqlx::raw_sql(sql).execute(connection).await?;
            Ok(())
        }

        fn text_in(row: &Self::Row, column: usize) -> Result<String, Error> {
            row.try_get(column)
        }

        fn number_in(row: &Self::Row, column: usize) -> Result<i64, Error> {
            row.try_get(column)
        }
    };
}

impl Sql for Sqlite {
    // Whoever has begun is the only one who writes.
    const LOCK_TABLES: Option<&'static str> = None;
    const FOR_UPDATE: &'static str = "";
    statements!(SqliteConnection);
}

impl Sql for Postgres {
    const LOCK_TABLES: Option<&'static str> = Some("SELECT pg_advisory_xact_lock(7467688)");
    const FOR_UPDATE: &'static str = "FOR UPDATE";
    statements!(PgConnection);
}
