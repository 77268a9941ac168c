//! `tidings sql`.

use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Column, Out, Row};
use clap::{Args, Subcommand};
use serde::Serialize;
use tidings_sql::sqlx::{Postgres, Sqlite};
use tidings_sql::{AppliedMigration, SqlOptions, migrate, migrations_as_sql};

/// What `sql` understands.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the statements that make the tables, for an empty schema; nothing is connected to
    Print(Database),
    /// Make what is lacking of the tables, as a role that may create them
    Migrate(Database),
}

/// Which database.
#[derive(Debug, Args)]
struct Database {
    /// Its address: postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:FILE; otherwise the variable DATABASE_URL
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The schema of the tables, or on SQLite what their names begin with
    #[arg(long, value_name = "NAME", default_value = "tidings")]
    schema: String,
}

/// A step that was applied.
#[derive(Debug, Serialize)]
struct AppliedRow {
    version: i64,
    name: &'static str,
}

impl Row for AppliedRow {
    const COLUMNS: &'static [Column] = &[Column::right("VERSION"), Column::left("APPLIED")];

    fn cells(&self) -> Vec<String> {
        vec![self.version.to_string(), self.name.to_owned()]
    }
}

/// The databases that there are.
enum Kind {
    Postgres,
    Sqlite,
}

impl Database {
    fn address(&self) -> Result<(Kind, String), CliError> {
        let from_environment = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        let Some(url) = self.database.clone().or_else(from_environment) else {
            return Err(CliError::usage(
                "no database is named",
                "say --database URL, or set DATABASE_URL",
            ));
        };
        match url.split(':').next().unwrap_or_default() {
            "postgres" | "postgresql" => Ok((Kind::Postgres, url)),
            "sqlite" => Ok((Kind::Sqlite, url)),
            // The rest of an address may be a password.
            scheme => Err(CliError::usage(
                format!("no database is addressed by \"{scheme}:\""),
                "there are postgres://USER:PASSWORD@HOST:PORT/DATABASE and sqlite:FILE",
            )),
        }
    }
}

/// Prints or makes the tables.
pub(crate) async fn run(args: SqlArgs, out: &mut Out) -> Result<Exit, CliError> {
    match args.what {
        What::Print(database) => {
            let options = SqlOptions::default().schema(&database.schema);
            let sql = match database.address()? {
                (Kind::Postgres, _) => migrations_as_sql::<Postgres>(&options)?,
                (Kind::Sqlite, _) => migrations_as_sql::<Sqlite>(&options)?,
            };
            out.text(&sql)?;
        }
        What::Migrate(database) => {
            let options = SqlOptions::default().schema(&database.schema);
            let applied = match database.address()? {
                (Kind::Postgres, url) => migrate::<Postgres>(&url, &options).await?,
                (Kind::Sqlite, url) => migrate::<Sqlite>(&url, &options).await?,
            };
            show(&applied, out)?;
        }
    }
    Ok(Exit::Done)
}

fn show(applied: &[AppliedMigration], out: &mut Out) -> Result<(), CliError> {
    let rows = applied.iter().map(|step| AppliedRow {
        version: step.version(),
        name: step.name(),
    });
    out.rows(&rows.collect::<Vec<_>>())?;
    if applied.is_empty() {
        out.remark("nothing was lacking")?;
    }
    Ok(())
}
