//! Statements that read the same on each database: [`TestDb`].

use tidings_sql::sqlx::{self, AssertSqlSafe, PgConnection, Postgres, Row, Sqlite, SqliteConnection};
use tidings_sql::{Dialect, SqlStore};

/// The tables of the business. Nothing in them hides what was done twice.
pub(super) const TABLES: &str = "CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, number BIGINT NOT NULL); \
     CREATE TABLE IF NOT EXISTS effects (id TEXT, key TEXT, number BIGINT, nonce TEXT)";

/// What the campaign needs of each database. All values are its own, so they go into statements as they are.
pub(crate) trait TestDb: Dialect {
    /// What stands before the name of a table of `tidings-sql`.
    const PREFIX: &'static str;

    /// The store, if it can be replicated.
    fn as_postgres(store: &SqlStore<Self>) -> Option<&SqlStore<Postgres>>;

    /// Runs statements.
    fn run(
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// The number that one row has.
    fn number(
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;

    /// Rows of so many columns of text.
    fn rows(
        connection: &mut Self::Connection,
        sql: &str,
        columns: usize,
    ) -> impl Future<Output = Result<Vec<Vec<String>>, sqlx::Error>> + Send;
}

macro_rules! test_db {
    ($database:ty, $connection:ty, $prefix:literal, $as_postgres:expr) => {
        impl TestDb for $database {
            const PREFIX: &'static str = $prefix;

            fn as_postgres(store: &SqlStore<Self>) -> Option<&SqlStore<Postgres>> {
                $as_postgres(store)
            }

            async fn run(connection: &mut $connection, sql: &str) -> Result<(), sqlx::Error> {
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .execute(connection)
                    .await?;
                Ok(())
            }

            async fn number(connection: &mut $connection, sql: &str) -> Result<i64, sqlx::Error> {
                let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
                query.fetch_one(connection).await
            }

            async fn rows(
                connection: &mut $connection,
                sql: &str,
                columns: usize,
            ) -> Result<Vec<Vec<String>>, sqlx::Error> {
                let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                    .fetch_all(connection)
                    .await?;
                let texts = rows
                    .iter()
                    .map(|row| (0..columns).map(|column| row.try_get(column)).collect());
                texts.collect()
            }
        }
    };
}

test_db!(Postgres, PgConnection, "tidings.", Some);
test_db!(Sqlite, SqliteConnection, "tidings_", |_| None);
