//! The publication and the slot of an outbox: made, looked at, dropped. [`Feed`].

use super::address::Address;
use super::connection::Connection;
use super::error::ReplicationError;
use super::options::ReplicationOptions;
use super::snapshot::Snapshot;
use crate::error::SqlError;
use crate::store::SqlStore;
use crate::tls;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row};
use std::time::Duration;

/// PostgreSQL cuts names after that.
pub(crate) const LONGEST_NAME: usize = 63;
/// How often it is tried to drop a slot that the server believes to be in use, and how long it is waited in between.
const DROPPED_AFTER: (u32, Duration) = (50, Duration::from_millis(100));

/// Where rows of an outbox come from as they are committed.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    store: SqlStore<Postgres>,
    /// Connections of a role with the right to replicate.
    pool: PgPool,
    pub(crate) slot: String,
    publication: String,
}

/// From where on rows are read.
#[derive(Debug)]
pub(crate) struct Start {
    /// Which transactions the look at the table has seen.
    pub(crate) snapshot: Snapshot,
    /// The last row that there was.
    pub(crate) newest: Option<i64>,
}

/// How a slot fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Bytes of the log that nobody has confirmed yet; none without a slot.
    pub(crate) lag: Option<u64>,
    /// The first row of the outbox.
    pub(crate) oldest: Option<i64>,
}

impl Feed {
    pub(crate) fn new(
        store: &SqlStore<Postgres>,
        options: &ReplicationOptions,
    ) -> Result<Self, ReplicationError> {
        options.check()?;
        let pool = match &options.connect {
            None => store.pool().clone(),
            Some(connect) => PgPoolOptions::new()
                .max_connections(2)
                .acquire_timeout(store.pool().options().get_acquire_timeout())
                .connect_lazy_with(tls::strict(connect.clone())),
        };
        let schema = store.schema();
        let connect = pool.connect_options();
        let database = connect.get_database().unwrap_or(connect.get_username());
        let slot = || default_slot(schema, database);
        let publication = || format!("{schema}_outbox");
        Ok(Self {
            store: store.clone(),
            slot: options.slot.clone().unwrap_or_else(slot),
            publication: options.publication.clone().unwrap_or_else(publication),
            pool,
        })
    }

    /// Makes publication and slot, unless they are there.
    pub(crate) async fn prepare(&self) -> Result<(), ReplicationError> {
        let secure = tls::check(&self.pool.connect_options()).await;
        secure.map_err(|insecure| ReplicationError::insecure(self.store.place(), insecure))?;
        let found = self.ask("SELECT current_setting('wal_level')", &[]).await?;
        let found: String = self.value(&found, 0)?;
        if found != "logical" {
            let place = self.place();
            return Err(ReplicationError::NotLogical { place, found });
        }
        if self.prepare_publication().await? {
            // A slot does not see a publication that is younger than what it reads.
            self.drop_slot().await?;
        }
        self.prepare_slot().await
    }

    /// Whether it had to be made.
    async fn prepare_publication(&self) -> Result<bool, ReplicationError> {
        let look = "SELECT p.pubinsert AND EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname AND \
                    t.schemaname = $2 AND t.tablename = 'outbox') FROM pg_publication p WHERE p.pubname = $1";
        let found = self.ask(look, &[&self.publication, self.store.schema()]).await?;
        if !found.is_empty() {
            return match self.value(&found, 0)? {
                true => Ok(false),
                false => {
                    Err(self.foreign(&self.publication, "a publication without inserts into the outbox"))
                }
            };
        }
        let (publication, schema) = (&self.publication, self.store.schema());
        let make =
            format!("CREATE PUBLICATION {publication} FOR TABLE {schema}.outbox WITH (publish = 'insert')");
        // By the owner of the table, whoever may replicate.
        let made = sqlx::raw_sql(AssertSqlSafe(make)).execute(self.store.pool());
        match made.await.map_err(|error| self.explain(error)) {
            Ok(_) => Ok(true),
            Err(ReplicationError::Refused { code, .. }) if code == "42710" => Ok(false),
            Err(ReplicationError::Forbidden { place, reason, .. }) => Err(ReplicationError::Forbidden {
                place,
                reason,
                cure: format!(
                    "let the owner of the table run `CREATE PUBLICATION {publication} FOR TABLE {schema}.outbox WITH (publish = \
                     'insert')`"
                ),
            }),
            Err(error) => Err(error),
        }
    }

    async fn prepare_slot(&self) -> Result<(), ReplicationError> {
        let look = "SELECT plugin = 'pgoutput' AND database = current_database(), coalesce(wal_status, '') = 'lost' FROM \
                    pg_replication_slots WHERE slot_name = $1";
        let found = self.ask(look, &[&self.slot]).await?;
        if !found.is_empty() {
            // None is a physical one.
            if self.value::<Option<bool>>(&found, 0)? != Some(true) {
                return Err(self.foreign(&self.slot, "a slot of another plugin or another database"));
            }
            if !self.value::<bool>(&found, 1)? {
                return Ok(());
            }
            // The server has thrown away what it was to send. All that was not sent is in the table.
            tracing::warn!(
                slot = self.slot,
                "the slot was invalidated by {}; it is made anew",
                self.place()
            );
            self.drop_slot().await?;
        }
        let make = "SELECT pg_create_logical_replication_slot($1, 'pgoutput')::text";
        match self.ask(make, &[&self.slot]).await {
            Err(ReplicationError::Refused { code, .. }) if code == "42710" => Ok(()),
            made => made.map(drop),
        }
    }

    /// Begins to read.
    pub(crate) async fn open(&self) -> Result<Connection, ReplicationError> {
        let address = Address::of(&self.pool.connect_options(), self.store.place())?;
        let mut connection = Connection::open(&address).await?;
        connection.start(&self.slot, &self.publication).await?;
        Ok(connection)
    }

    /// What is in the table now. Whatever is committed and not seen by this comes by replication.
    pub(crate) async fn start(&self) -> Result<Start, ReplicationError> {
        // One statement, so one look.
        let schema = self.store.schema();
        let look = format!("SELECT pg_current_snapshot()::text, (SELECT max(id) FROM {schema}.outbox)");
        let found = sqlx::query(AssertSqlSafe(look)).fetch_all(self.store.pool());
        let found = found.await.map_err(|error| self.explain(error))?;
        let snapshot: String = self.value(&found, 0)?;
        let snapshot = Snapshot::parse(&snapshot).ok_or_else(|| ReplicationError::Unreadable {
            place: self.place(),
            reason: format!("{snapshot} is no snapshot"),
        })?;
        let newest = self.value(&found, 1)?;
        Ok(Start { snapshot, newest })
    }

    /// How the slot fares.
    pub(crate) async fn look(&self) -> Result<Look, ReplicationError> {
        let schema = self.store.schema();
        let look = format!(
            "SELECT (SELECT greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint FROM \
             pg_replication_slots WHERE slot_name = $1), (SELECT id FROM {schema}.outbox ORDER BY id LIMIT 1)"
        );
        let found = sqlx::query(AssertSqlSafe(look)).bind(&self.slot);
        let found = found.fetch_all(self.store.pool()).await;
        let found = found.map_err(|error| self.explain(error))?;
        Ok(Look {
            lag: self.value::<Option<i64>>(&found, 0)?.map(i64::unsigned_abs),
            oldest: self.value(&found, 1)?,
        })
    }

    /// Lets the server forget what it keeps for the slot, while nobody reads it: all that was not sent is in the table.
    pub(crate) async fn advance(&self) -> Result<(), ReplicationError> {
        let advance = "SELECT (pg_replication_slot_advance(slot_name, pg_current_wal_lsn())).end_lsn::text FROM \
                       pg_replication_slots WHERE slot_name = $1 AND NOT active AND wal_status <> 'lost'";
        self.ask(advance, &[&self.slot]).await.map(drop)
    }

    /// Whether something is parked.
    pub(crate) async fn has_parked(&self) -> Result<bool, ReplicationError> {
        let schema = self.store.schema();
        let look = format!("SELECT EXISTS (SELECT FROM {schema}.outbox_parked)");
        let found = sqlx::query(AssertSqlSafe(look)).fetch_all(self.store.pool());
        let found = found.await.map_err(|error| self.explain(error))?;
        self.value(&found, 0)
    }

    /// Drops the slot, if there is one. The server may take a moment to notice that nobody reads it.
    pub(crate) async fn drop_slot(&self) -> Result<(), ReplicationError> {
        let drop_it =
            "SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE slot_name = $1";
        let (mut left, pause) = DROPPED_AFTER;
        loop {
            match self.ask(drop_it, &[&self.slot]).await {
                Err(ReplicationError::Busy { .. }) if left > 0 => left -= 1,
                done => return done.map(drop),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks as the role that may replicate.
    async fn ask(&self, sql: &'static str, values: &[&str]) -> Result<Vec<PgRow>, ReplicationError> {
        let mut query = sqlx::query(sql);
        for value in values {
            query = query.bind((*value).to_owned());
        }
        let rows = query.fetch_all(&self.pool).await;
        rows.map_err(|error| self.explain(error))
    }

    fn value<'r, T>(&self, rows: &'r [PgRow], column: usize) -> Result<T, ReplicationError>
    where
        T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
    {
        let row = rows.first().ok_or(sqlx::Error::RowNotFound);
        let value = row.and_then(|row| row.try_get(column));
        value.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: sqlx::Error) -> ReplicationError {
        if let sqlx::Error::Database(refused) = &error {
            let code = refused.code().unwrap_or_default();
            // What is away or busy is the store's to tell.
            if !["08", "40", "57"].iter().any(|class| code.starts_with(class)) {
                return meaning(&self.place(), &code, refused.message().to_owned());
            }
        }
        SqlError::into(self.store.explain("preparing replication", error))
    }

    fn foreign(&self, name: &str, what: &'static str) -> ReplicationError {
        ReplicationError::Foreign {
            place: self.place(),
            name: name.to_owned(),
            what,
        }
    }

    fn place(&self) -> String {
        self.store.place().to_owned()
    }
}

/// Slots have one list of names for all databases of a server.
fn default_slot(schema: &str, database: &str) -> String {
    let plain = |one: char| match one.to_ascii_lowercase() {
        one @ ('a'..='z' | '0'..='9') => one,
        _ => '_',
    };
    let database = database.chars().map(plain);
    format!("{schema}_outbox_")
        .chars()
        .chain(database)
        .take(LONGEST_NAME)
        .collect()
}

/// What the server's refusal stands for.
pub(crate) fn meaning(place: &str, code: &str, message: String) -> ReplicationError {
    let place = place.to_owned();
    match code {
        "42501" | "28000" => ReplicationError::Forbidden {
            place,
            reason: message,
            cure: "give the role the right: `ALTER ROLE … REPLICATION`, or give `ReplicationOptions::connect` one that has it"
                .into(),
        },
        "28P01" | "3D000" => ReplicationError::Address {
            place,
            reason: message,
        },
        "55006" => ReplicationError::Busy {
            place,
            reason: message,
        },
        "53400" => ReplicationError::Refused {
            place,
            code: code.to_owned(),
            message: format!("{message}; raise max_replication_slots or drop a slot that nobody reads"),
        },
        _ => ReplicationError::Refused {
            place,
            code: code.to_owned(),
            message,
        },
    }
}
