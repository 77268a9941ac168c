//! The database: orders, stock and payments, in a file of SQLite or in PostgreSQL.
//!
//! What a service decides is kept there together with the events that say so: the order and `order.placed`, the
//! reservation and `stock.reserved`, in one commit. The app sends the events from there.

mod statements;
mod tables;

pub use statements::{Sql, Value};

use crate::channel::{ORDERS, PAYMENTS, STOCK};
use std::path::PathBuf;
use tidings::sql::sqlx::{self, Postgres, Sqlite};
use tidings::sql::{OutboxError, RelayOptions, SqlError, SqlOptions, SqlStore};
use tidings::{App, Config, millis, secs};

/// The environment variable that says where the database is.
pub const DATABASE_URL: &str = "DATABASE_URL";
/// The file, where nothing else is said.
const FILE: &str = "shop.db";

/// Where orders, stock and payments are. Clones share the connections.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file, or memory in a test.
    Sqlite(SqlStore<Sqlite>),
    /// A server.
    Postgres(SqlStore<Postgres>),
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// A transaction could not be begun or ended.
    #[error(transparent)]
    Store(#[from] SqlError),
    /// An event could not be written beside what it tells of.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The shop closes, and nobody writes any more.
    #[error("the shop closes")]
    Closing,
    /// A statement of the shop.
    #[error("the database did not run a statement: {0}")]
    Statement(#[from] sqlx::Error),
}

/// Why the database cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The variable does not say what it should.
    #[error("{DATABASE_URL} cannot be used: {0}")]
    Url(&'static str),
    /// There is no place for the file.
    #[error("the directory {directory} for {FILE} cannot be made: {source}; say with --data where it may be")]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file.
    #[error("the shop cannot open its database, which --data or {DATABASE_URL} put elsewhere: {0}")]
    File(#[source] DatabaseError),
    /// The server.
    #[error(
        "the shop cannot open the database of {DATABASE_URL}; start it, correct the variable, or leave it out for a file: {0}"
    )]
    Server(#[source] DatabaseError),
}

/// Does the same with the store of either database.
macro_rules! with_store {
    ($database:expr, $store:ident => $done:expr) => {
        match $database {
            $crate::database::Database::Sqlite($store) => $done,
            $crate::database::Database::Postgres($store) => $done,
        }
    };
}
pub(crate) use with_store;

impl Database {
    /// Opens the database of this configuration: the one that `DATABASE_URL` names, or the file `shop.db` beside the log.
    /// Without a log in a directory the file is in the current one; where the log is in memory it is there too. Tables that
    /// are missing are made.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn of(config: &Config) -> Result<Self, OpenError> {
        let url = match std::env::var(DATABASE_URL) {
            Ok(url) if !url.is_empty() => Some(url),
            Err(std::env::VarError::NotUnicode(_)) => return Err(OpenError::Url("it is not UTF-8")),
            _ => None,
        };
        // After a shop that was killed, the next one begins to send when the lease is over.
        let relay = RelayOptions::default().lease(secs(2));
        let options = SqlOptions::configured(&config.sql());
        match url {
            Some(url) => Self::open(&url, options.relay(relay)).await,
            None => {
                // A process that shares the file with others is not told when they write.
                let options = options.relay(relay.poll_interval(millis(100)));
                let store = opened(&file_of(config)?, options).await;
                store.map(Self::Sqlite).map_err(OpenError::File)
            }
        }
    }

    /// Opens the database at that address: `postgres://user:password@host:5432/database`, `sqlite:FILE` or `sqlite::memory:`.
    ///
    /// # Errors
    /// [`OpenError::Url`], [`OpenError::Server`].
    pub async fn open(url: &str, options: SqlOptions) -> Result<Self, OpenError> {
        let opened = match url.split(':').next() {
            Some("sqlite") => opened(url, options).await.map(Self::Sqlite),
            Some("postgres" | "postgresql") => opened(url, options).await.map(Self::Postgres),
            // It is not repeated: what is mistyped may have a password in it.
            _ => {
                return Err(OpenError::Url(
                    "write postgres://USER:PASSWORD@HOST:5432/DATABASE or sqlite:FILE, or leave it out",
                ));
            }
        };
        opened.map_err(OpenError::Server)
    }

    /// Which database it is, for people; without a password.
    pub fn place(&self) -> &str {
        with_store!(self, store => store.place())
    }
}

/// Sends what the services write beside their tables. Processes that share a database each do it, and one of them at a time
/// sends for all: so each knows every channel that is written there.
pub fn outbox(database: &Database) -> App<Database> {
    let app = App::new("outbox")
        .publishes(ORDERS)
        .publishes(STOCK)
        .publishes(PAYMENTS);
    with_store!(database, store => app.outbox(store.clone()))
}

async fn opened<DB: Sql>(url: &str, options: SqlOptions) -> Result<SqlStore<DB>, DatabaseError> {
    let store = SqlStore::open_with(url, options).await?;
    tables::make(&store).await?;
    Ok(store)
}

/// The address of the file, whose directory is made if it is not there.
fn file_of(config: &Config) -> Result<String, OpenError> {
    let url = config.binder("main").url.map(|url| url.value);
    let directory = match &url {
        Some(url) if url.scheme() == "memory" => return Ok("sqlite::memory:".to_owned()),
        Some(url) if url.scheme() == "embedded" => PathBuf::from(url.expose_rest()),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&directory).map_err(|source| OpenError::Directory {
        directory: directory.clone(),
        source,
    })?;
    let file = directory.join(FILE).display().to_string();
    // It is written as an address, in which these mean something.
    Ok(format!("sqlite:{}", file.replace('%', "%25").replace('?', "%3F")))
}
