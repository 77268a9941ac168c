//! Databases of tests, and statements that read the same on each.

use sqlx::{AssertSqlSafe, Database, PgConnection, Postgres, Row, Sqlite, SqliteConnection};
use tidings_sql::{Dialect, SqlOptions, SqlStore};

/// A database of one test, gone with it.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) url: String,
    _guard: Guard,
}

#[derive(Debug)]
#[allow(dead_code, reason = "held for what happens when it is dropped")]
enum Guard {
    File(tempfile::TempDir),
    Database(brokers::Database),
}

pub(crate) fn sqlite() -> Home {
    let directory = tempfile::tempdir().unwrap();
    Home {
        url: format!("sqlite:{}", directory.path().join("test.db").display()),
        _guard: Guard::File(directory),
    }
}

/// A database on the server that all tests share; `None` where there is no PostgreSQL.
pub(crate) fn postgres(test: &str) -> Option<Home> {
    let database = brokers::postgres_or_skip(test)?.database("tidings").unwrap();
    Some(Home::on(database))
}

impl Home {
    /// A database of a server of the test's own.
    pub(crate) fn on(database: brokers::Database) -> Self {
        Self {
            url: database.url(),
            _guard: Guard::Database(database),
        }
    }

    pub(crate) async fn open<DB: TestDb>(&self) -> SqlStore<DB> {
        self.open_with(SqlOptions::default()).await
    }

    pub(crate) async fn open_with<DB: TestDb>(&self, options: SqlOptions) -> SqlStore<DB> {
        SqlStore::open_with(&self.url, options).await.unwrap()
    }
}

/// A table of ours in the default schema.
pub(crate) fn table<DB: Dialect>(name: &str) -> String {
    let between = if DB::NAME == Sqlite::NAME { '_' } else { '.' };
    format!("tidings{between}{name}")
}

/// What the tests of all databases need of each.
pub(crate) trait TestDb: Dialect {
    /// How a byte of the value 1 is written.
    const BYTES_OF_ONE: &'static str;
    async fn run(connection: &mut Self::Connection, sql: &str) -> Result<(), sqlx::Error>;
    async fn number(connection: &mut Self::Connection, sql: &str) -> i64;
}

impl TestDb for Sqlite {
    const BYTES_OF_ONE: &'static str = "x'01'";

    async fn run(connection: &mut SqliteConnection, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    async fn number(connection: &mut SqliteConnection, sql: &str) -> i64 {
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await;
        row.unwrap().get(0)
    }
}

impl TestDb for Postgres {
    const BYTES_OF_ONE: &'static str = r"'\x01'";

    async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await;
        row.unwrap().get(0)
    }
}

/// Tests that every database must pass: `everywhere! { name }` runs `async fn name<DB: TestDb>(home: Home)` on each.
macro_rules! everywhere {
    ($($test:ident)*) => {$(
        mod $test {
            #[tokio::test]
            async fn sqlite() {
                super::$test::<sqlx::Sqlite>(crate::support::sqlite()).await;
            }

            #[tokio::test]
            async fn postgres() {
                let test = concat!(stringify!($test), "::postgres");
                if let Some(home) = crate::support::postgres(test) {
                    super::$test::<sqlx::Postgres>(home).await;
                }
            }
        }
    )*};
}

pub(crate) use everywhere;
