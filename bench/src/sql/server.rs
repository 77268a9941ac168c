//! The PostgreSQL of all rows.

use std::sync::OnceLock;

use brokers::{Database, Postgres, PostgresOptions};
use sqlx::AssertSqlSafe;
use tidings_core::Message;
use tidings_sql::{Outbox, OutboxError, SqlStore};

use super::{CHANNEL, EFFECTS, broken};
use crate::apart::cores;
use crate::apart::job::{Arm, Job, Packing, SqlArm, Work};
use crate::arms::topic;
use crate::error::BenchError;
use crate::order;

/// Messages that are made by the outbox itself; more are copies of them.
const DIFFERENT: u64 = 1_000;

/// A server that lives as long as this program.
#[derive(Debug)]
pub(crate) struct Server(Postgres);

/// The server: started by the first row that needs one, on a core of its own, with everything synced that it commits.
///
/// # Errors
/// It is not installed, or it does not start; then each row on PostgreSQL says so.
pub(crate) fn server() -> Result<&'static Server, BenchError> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    SERVER
        .get_or_init(|| Server::start().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(BenchError::part("a PostgreSQL to measure on"))
}

/// A database of one run, with our tables in it and one for effects.
#[derive(Debug)]
pub(crate) struct Ground {
    database: Database,
}

impl Server {
    fn start() -> Result<Self, BenchError> {
        let failed = BenchError::part("starting it");
        // On the core of the servers from its first process on: each takes over what its parent has.
        let postgres = cores::on_the_brokers(|| Postgres::start(PostgresOptions::durable()))?;
        postgres.map(Self).map_err(failed)
    }

    /// A database with nothing to do in it.
    pub(crate) fn ground(&self) -> Result<Ground, BenchError> {
        let database = self.0.database("bench").map_err(broken)?;
        let ground = Ground { database };
        topic::runtime()?.block_on(async {
            let store = ground.store().await?;
            sqlx::query(EFFECTS).execute(store.pool()).await.map_err(broken)?;
            store.close().await;
            Ok::<_, BenchError>(())
        })?;
        Ok(ground)
    }
}

impl Ground {
    /// A job in it.
    pub(crate) fn job(&self, arm: SqlArm, total: u64) -> Job {
        Job {
            arm: Arm::Sql(arm),
            work: Work::Order,
            packing: Packing::Plain,
            servers: self.database.url(),
            topic: CHANNEL.to_owned(),
            out: String::new(),
            partitions: 1,
            group: "bench".to_owned(),
            warm: total / 10,
            total,
            keys: 0,
            slots: 0,
            per_second: 0,
            linger_ms: 0,
            confirm_ms: 0,
            open: 1,
        }
    }

    async fn store(&self) -> Result<SqlStore<sqlx::Postgres>, BenchError> {
        let url = self.database.url();
        SqlStore::open(&url).await.map_err(broken)
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> Result<u64, BenchError> {
        let counted = self.database.sql(&format!("SELECT count(*) FROM {table}"));
        counted.map_err(broken)?.parse().map_err(broken)
    }

    /// Drops what would keep the database, and the server's log.
    pub(crate) fn drop_slots(&self) -> Result<(), BenchError> {
        let dropping = "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE database = current_database() AND active; \
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()";
        self.database.sql(dropping).map(drop).map_err(broken)
    }

    /// Divides the keys of the outbox among so many relays: a column that says whose a row is, and an index by it.
    pub(crate) fn divide(&self, ranges: usize) -> Result<(), BenchError> {
        let dividing = format!(
            "ALTER TABLE tidings.outbox ADD COLUMN key_range integer \
                 GENERATED ALWAYS AS (mod(hashtext(encode(message_key, 'hex'))::bigint + 2147483648, {ranges})) STORED; \
             CREATE INDEX outbox_key_range ON tidings.outbox (key_range, id)"
        );
        self.database.sql(&dividing).map(drop).map_err(broken)
    }

    /// Fills the outbox, tidies it up, and has everything written to the disk: no run does that for another.
    pub(crate) fn fill_outbox(&self, messages: u64) -> Result<(), BenchError> {
        topic::runtime()?.block_on(async {
            let store = self.store().await?;
            write(&store, 0..DIFFERENT.min(messages)).await?;
            let copies = format!(
                "INSERT INTO tidings.outbox (channel, to_partition, due_at, message_key, payload, headers, message_time, written_at) \
                 SELECT channel, to_partition, due_at, message_key, payload, headers, message_time, written_at \
                 FROM generate_series(2, {}) AS copy, tidings.outbox ORDER BY copy, id",
                messages / DIFFERENT
            );
            for statement in [copies.as_str(), "VACUUM ANALYZE tidings.outbox", "CHECKPOINT"] {
                let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(store.pool()).await;
                done.map_err(broken)?;
            }
            store.close().await;
            Ok(())
        })
    }
}

/// Writes orders into the outbox, in one transaction.
pub(super) async fn write(
    store: &SqlStore<sqlx::Postgres>,
    numbers: std::ops::Range<u64>,
) -> Result<(), BenchError> {
    let outbox = Outbox::to_channels(store, [CHANNEL]);
    let mut tx = store.begin().await.map_err(broken)?;
    let written = outbox.publishing(&mut tx, async |publisher| {
        for number in numbers {
            let message = Message::new(order::order_json(number)).with_key(order::key(number, 1_000));
            drop(publisher.send(CHANNEL, message));
        }
        Ok::<_, OutboxError>(())
    });
    written.await.map_err(broken)?;
    tx.commit().await.map_err(broken)
}
