//! Databases of tests, and statements that read the same on each.

use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection};
use tidings_sql::{Dialect, SqlOptions, SqlStore};

/// A database of one test, gone with it.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) url: String,
    _guard: tempfile::TempDir,
}

pub(crate) fn sqlite() -> Home {
    let directory = tempfile::tempdir().unwrap();
    Home {
        url: format!("sqlite:{}", directory.path().join("test.db").display()),
        _guard: directory,
    }
}

impl Home {
    pub(crate) async fn open<DB: TestDb>(&self) -> SqlStore<DB> {
        self.open_with(SqlOptions::default()).await
    }

    pub(crate) async fn open_with<DB: TestDb>(&self, options: SqlOptions) -> SqlStore<DB> {
        SqlStore::open_with(&self.url, options).await.unwrap()
    }
}

/// What the tests of all databases need of each.
pub(crate) trait TestDb: Dialect {
    async fn run(connection: &mut Self::Connection, sql: &str) -> Result<(), sqlx::Error>;
    async fn number(connection: &mut Self::Connection, sql: &str) -> i64;
}

impl TestDb for Sqlite {
    async fn run(connection: &mut SqliteConnection, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    async fn number(connection: &mut SqliteConnection, sql: &str) -> i64 {
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
        }
    )*};
}

pub(crate) use everywhere;
