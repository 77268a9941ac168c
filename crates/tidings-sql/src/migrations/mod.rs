//! The tables, and how they come about: versioned steps, applied once, in order and under a lock.

use crate::dialect::Dialect;
use crate::dialect::sealed::Found;
use crate::error::{Place, SqlError, explain};
use crate::options::{Migrate, SqlOptions};
use crate::value::Value;
use sqlx::Pool;
use std::sync::Arc;

/// One step. In its statements `{t}` is what stands before a table's name: `tidings.` or `tidings_`. A step that was
/// released is never changed: what is wrong with it is put right by a later one.
#[derive(Debug)]
pub struct Migration {
    /// Its place in the order.
    pub version: i64,
    /// What it is about.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($directory:literal: $($version:literal $name:literal,)*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!($directory, "/000", $version, "_", $name, ".sql")),
        },)*]
    };
}

/// Those of PostgreSQL.
pub(crate) const POSTGRES: &[Migration] = migrations! { "postgres":
    1 "migrations",
    2 "inbox",
    3 "locks",
    4 "outbox",
    5 "identity",
};

/// Those of SQLite. A version is about the same as on PostgreSQL.
pub(crate) const SQLITE: &[Migration] = migrations! { "sqlite":
    1 "migrations",
    2 "inbox",
    3 "locks",
    4 "outbox",
    5 "identity",
};

/// All statements that make the tables, for who applies them by hand. They are written for an empty schema.
///
/// # Errors
/// [`SqlError::Name`].
///
/// ```
/// use tidings_sql::{SqlOptions, migrations_as_sql};
///
/// let sql = migrations_as_sql::<sqlx::Postgres>(&SqlOptions::default().schema("events")).unwrap();
/// assert!(sql.contains("CREATE TABLE events.migrations"));
/// ```
pub fn migrations_as_sql<DB: Dialect>(options: &SqlOptions) -> Result<String, SqlError> {
    options.check_schema()?;
    let prefix = DB::prefix(&options.schema);
    let mut sql = format!("-- The tables of Tidings on {}.\nBEGIN;\n", DB::TITLE);
    if let Some(schema) = create_schema::<DB>(&options.schema) {
        sql.push_str(&schema);
    }
    for migration in DB::MIGRATIONS {
        sql.push_str(&format!("\n-- {}: {}\n", migration.version, migration.name));
        sql.push_str(&script(migration, &prefix));
    }
    sql.push_str("\nCOMMIT;\n");
    Ok(sql)
}

/// Makes the tables of Tidings in that database ready, and tells which steps that took: none where nothing was lacking.
/// Opening a store does the same; this is for a role that may create tables, before one that may not.
///
/// ```
/// use sqlx::Sqlite;
/// use tidings_sql::{SqlOptions, migrate};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_sql::SqlError> {
/// let applied = migrate::<Sqlite>("sqlite::memory:", &SqlOptions::default()).await?;
/// assert_eq!((applied[0].version(), applied[0].name()), (1, "migrations"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`SqlStore::open_with`](crate::SqlStore::open_with).
pub async fn migrate<DB: Dialect>(
    url: &str,
    options: &SqlOptions,
) -> Result<Vec<AppliedMigration>, SqlError> {
    options.check_schema()?;
    let (pools, name) = DB::connect(url, options).await?;
    let place = Place {
        name,
        schema: options.schema.clone(),
    };
    let applied = run(&pools.writing, &place, Migrate::AtStart).await;
    pools.reading.close().await;
    pools.writing.close().await;
    Ok(applied?.into_iter().map(AppliedMigration).collect())
}

/// A step that was applied.
#[derive(Debug, Clone, Copy)]
pub struct AppliedMigration(&'static Migration);

impl AppliedMigration {
    /// Its place in the order.
    pub fn version(&self) -> i64 {
        self.0.version
    }

    /// What it is about.
    pub fn name(&self) -> &'static str {
        self.0.name
    }
}

/// Applies what is lacking and tells it, or says what is.
pub(crate) async fn run<DB: Dialect>(
    pool: &Pool<DB>,
    place: &Place,
    migrate: Migrate,
) -> Result<Vec<&'static Migration>, SqlError> {
    let error = |error| explain::<DB>(place, "looking for our tables", error);
    let mut connection = pool.acquire().await.map_err(error)?;
    let state = State::of::<DB>(&mut connection, place).await?;
    drop(connection);
    // In the usual case nothing was sent that would need a right to change anything.
    if state.lacking::<DB>().is_empty() {
        return Ok(Vec::new());
    }
    match (migrate, state.found) {
        (Migrate::AtStart, _) => apply(pool, place).await,
        (Migrate::Never, Found::Tables) => Err(SqlError::Outdated {
            place: place.name.clone(),
            schema: place.schema.clone(),
            lacking: state.lacking::<DB>().iter().map(|one| one.version).collect(),
        }),
        (Migrate::Never, _) => Err(SqlError::Missing {
            place: place.name.clone(),
            schema: place.schema.clone(),
        }),
    }
}

/// All that is lacking, in one transaction.
async fn apply<DB: Dialect>(pool: &Pool<DB>, place: &Place) -> Result<Vec<&'static Migration>, SqlError> {
    let error = |error| match explain::<DB>(place, "migrating our tables", error) {
        SqlError::Forbidden { place, reason, .. } => SqlError::Forbidden {
            place,
            reason,
            cure: "let a role that may create tables run `tidings sql migrate` once; at run time no such right is needed",
        },
        other => other,
    };
    let mut tx = match DB::BEGIN {
        Some(begin) => pool.begin_with(begin).await,
        None => pool.begin().await,
    }
    .map_err(error)?;
    DB::lock_migrations(&mut tx, &place.schema).await.map_err(error)?;
    // Another instance may have been faster.
    let state = State::of::<DB>(&mut tx, place).await?;
    if let (Found::Nothing, Some(schema)) = (state.found, create_schema::<DB>(&place.schema)) {
        DB::script(&mut tx, schema).await.map_err(error)?;
    }
    let prefix = DB::prefix(&place.schema);
    let lacking = state.lacking::<DB>();
    for migration in &lacking {
        DB::script(&mut tx, script(migration, &prefix))
            .await
            .map_err(error)?;
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "applied a migration to {}",
            place.name
        );
    }
    tx.commit().await.map_err(error)?;
    Ok(lacking)
}

/// What was applied so far.
struct State {
    found: Found,
    applied: Vec<i64>,
}

impl State {
    async fn of<DB: Dialect>(connection: &mut DB::Connection, place: &Place) -> Result<Self, SqlError> {
        let error = |error| explain::<DB>(place, "looking for our tables", error);
        let found = DB::look(connection, &place.schema).await.map_err(error)?;
        if found != Found::Tables {
            return Ok(Self {
                found,
                applied: Vec::new(),
            });
        }
        let prefix = DB::prefix(&place.schema);
        let sql: Arc<str> = format!("SELECT version FROM {prefix}migrations ORDER BY version").into();
        let none: &[Value<'_>] = &[];
        let rows = DB::fetch(connection, &sql, none).await.map_err(error)?;
        let applied = rows
            .iter()
            .map(|row| DB::int(row, 0))
            .collect::<Result<Vec<_>, _>>();
        let applied = applied.map_err(error)?;
        let known = DB::MIGRATIONS.last().map_or(0, |newest| newest.version);
        match applied.last() {
            Some(&newest) if newest > known => Err(SqlError::TooNew {
                place: place.name.clone(),
                schema: place.schema.clone(),
                found: newest,
                known,
            }),
            _ => Ok(Self { found, applied }),
        }
    }

    fn lacking<DB: Dialect>(&self) -> Vec<&'static Migration> {
        let lacks = |migration: &&Migration| !self.applied.contains(&migration.version);
        DB::MIGRATIONS.iter().filter(lacks).collect()
    }
}

/// What makes the schema, on databases that have such a thing.
fn create_schema<DB: Dialect>(schema: &str) -> Option<String> {
    DB::prefix(schema)
        .ends_with('.')
        .then(|| format!("CREATE SCHEMA {schema};\n"))
}

/// The statements of one step, and that it was applied.
fn script(migration: &Migration, prefix: &str) -> String {
    let Migration { version, name, sql } = migration;
    let sql = sql.replace("{t}", prefix);
    format!("{sql}INSERT INTO {prefix}migrations (version, name) VALUES ({version}, '{name}');\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_and_are_about_the_same_everywhere() {
        let all = |migrations: &[Migration]| -> Vec<(i64, &str)> {
            migrations.iter().map(|one| (one.version, one.name)).collect()
        };
        assert_eq!(all(POSTGRES), all(SQLITE));
        assert!(POSTGRES.windows(2).all(|pair| pair[0].version < pair[1].version));
    }
}
