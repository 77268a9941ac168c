//! A database that Tidings uses: [`SqlStore`].

use crate::dialect::{Dialect, Pools};
use crate::error::{Place, SqlError, explain};
use crate::inbox::{Pruner, prune};
use crate::lent::Lent;
use crate::migrations;
use crate::options::{Pruning, SqlOptions};
use crate::outbox::rows::Statements;
use crate::outbox::wake::Wake;
use crate::relay::RelayPlan;
use crate::tx::Tx;
use crate::value::Value;
use sqlx::Pool;
use sqlx::pool::PoolConnection;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidings_core::AtWork;

/// A database that Tidings uses. Clones share the connections.
///
/// ```
/// use sqlx::Sqlite;
/// use tidings_sql::SqlStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqlStore::<Sqlite>::open("sqlite::memory:").await?;
/// let mut tx = store.begin().await?;
/// sqlx::query("CREATE TABLE stock (item TEXT PRIMARY KEY, pieces INTEGER)").execute(&mut *tx).await?;
/// sqlx::query("INSERT INTO stock VALUES ('teapot', 7)").execute(&mut *tx).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
pub struct SqlStore<DB: Dialect> {
    inner: Arc<Inner<DB>>,
}

struct Inner<DB: Dialect> {
    pools: Pools<DB>,
    place: Place,
    /// What stands before a table's name.
    prefix: String,
    timeout: Duration,
    inbox: InboxStatements,
    pruning: Pruning,
    pruner: Pruner,
    outbox: Statements,
    wake: Wake,
    relay: RelayPlan,
    at_work: OnceLock<Arc<dyn AtWork>>,
}

/// For as long as this is there the database works, or may.
#[derive(Debug)]
pub(crate) struct Working(Arc<dyn AtWork>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.ends();
    }
}

/// The statements of the inbox, with the names of tables in them.
#[derive(Debug)]
pub(crate) struct InboxStatements {
    pub(crate) claim_one: Arc<str>,
    pub(crate) claim: Arc<str>,
    pub(crate) give_back: Arc<str>,
    pub(crate) forget: Arc<str>,
    /// How long the server may let a claim wait for another transaction, in milliseconds: less than we wait for the server.
    pub(crate) longest_wait: String,
}

impl<DB: Dialect> Clone for SqlStore<DB> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<DB: Dialect> fmt::Debug for SqlStore<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("place", &self.inner.place.name)
            .field("schema", &self.inner.place.schema)
            .finish()
    }
}

impl<DB: Dialect> SqlStore<DB> {
    /// Opens a database with the default [`SqlOptions`]: `postgres://user:password@host:5432/database`,
    /// `sqlite:FILE`, or `sqlite::memory:`, which has one connection and is gone with the store.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub async fn open(url: &str) -> Result<Self, SqlError> {
        Self::open_with(url, SqlOptions::default()).await
    }

    /// Opens a database and makes our tables ready. A SQLite file is made if it is not there.
    ///
    /// # Errors
    /// [`SqlError::Address`], [`SqlError::Name`]; [`SqlError::Unavailable`] and [`SqlError::Silent`], after which it may
    /// be tried again; what is wrong with the tables and cannot or shall not be put right.
    pub async fn open_with(url: &str, options: SqlOptions) -> Result<Self, SqlError> {
        options.check::<DB>()?;
        let (pools, place) = DB::connect(url, &options).await?;
        Self::ready(pools, place, options).await
    }

    /// Uses connections of the user's own, with whatever they were opened with: TLS, roles, pragmas. On SQLite they should
    /// have the journal mode WAL, foreign keys and a busy timeout; transactions that write begin with `BEGIN IMMEDIATE`.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub async fn from_pool(pool: Pool<DB>, options: SqlOptions) -> Result<Self, SqlError> {
        options.check::<DB>()?;
        let place = DB::place(&pool);
        let pools = Pools {
            reading: pool.clone(),
            writing: pool,
        };
        Self::ready(pools, place, options).await
    }

    async fn ready(pools: Pools<DB>, place: String, options: SqlOptions) -> Result<Self, SqlError> {
        let place = Place {
            name: place,
            schema: options.schema,
        };
        migrations::run(&pools.writing, &place, options.migrate).await?;
        let prefix = DB::prefix(&place.schema);
        let inbox = InboxStatements {
            claim_one: complete::<DB>(DB::CLAIM_ONE, &prefix),
            claim: complete::<DB>(DB::CLAIM, &prefix),
            give_back: complete::<DB>(DB::GIVE_BACK, &prefix),
            forget: complete::<DB>(DB::FORGET, &prefix),
            longest_wait: (options.timeout / 2).as_millis().clamp(1, 60_000).to_string(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                outbox: Statements::new::<DB>(|template| complete::<DB>(template, &prefix)),
                wake: Wake::default(),
                relay: options.relay,
                at_work: OnceLock::new(),
                prefix,
                timeout: options.timeout,
                inbox,
                pruning: options.pruning,
                pruner: Pruner::default(),
                pools,
                place,
            }),
        })
    }

    /// Begins a transaction that may write. On SQLite there is one at a time, and the others wait for it.
    ///
    /// # Errors
    /// [`SqlError::Unavailable`], [`SqlError::Conflict`], [`SqlError::Silent`].
    pub async fn begin(&self) -> Result<Tx<DB>, SqlError> {
        self.begin_by(DB::BEGIN).await
    }

    /// Begins one that a server that dies may forget although it was committed, and that harms nobody by it.
    pub(crate) async fn begin_unsynced(&self) -> Result<Tx<DB>, SqlError> {
        self.begin_by(DB::BEGIN_UNSYNCED).await
    }

    async fn begin_by(&self, statement: Option<&'static str>) -> Result<Tx<DB>, SqlError> {
        let pool = &self.inner.pools.writing;
        let begun = self.within(async {
            let begun = match statement {
                Some(begin) => pool.begin_with(begin).await,
                None => pool.begin().await,
            };
            begun.map_err(|error| self.explain("beginning a transaction", error))
        });
        let working = self.working();
        Ok(Tx::new(Lent::of(begun.await?, working), self.clone()))
    }

    /// The connections, for statements of the user's own outside of transactions. On SQLite these are for reading: what
    /// writes begins with [`begin`](Self::begin).
    pub fn pool(&self) -> &Pool<DB> {
        &self.inner.pools.reading
    }

    /// Which database it is, for people; without a password.
    pub fn place(&self) -> &str {
        &self.inner.place.name
    }

    /// Waits until all connections are closed.
    pub async fn close(&self) {
        self.inner.pools.reading.close().await;
        self.inner.pools.writing.close().await;
    }

    /// A statement of ours, with `{t}` for what stands before a table's name and `{now}` for the time in milliseconds.
    pub(crate) fn sql(&self, template: &str) -> Arc<str> {
        complete::<DB>(template, &self.inner.prefix)
    }

    pub(crate) fn statements(&self) -> &InboxStatements {
        &self.inner.inbox
    }

    pub(crate) fn pruning(&self) -> Pruning {
        self.inner.pruning
    }

    /// Claims that are old are forgotten by a task of its own, for as long as there are stores.
    pub(crate) fn prune_from_now_on(&self) {
        self.inner.pruner.start(|| {
            // It holds nothing between its steps that would keep the store.
            let inner = Arc::downgrade(&self.inner);
            let task = tokio::spawn(prune::run(move || inner.upgrade().map(|inner| Self { inner })));
            task.abort_handle()
        });
    }

    /// The statements of the outbox.
    pub(crate) fn outbox_statements(&self) -> &Statements {
        &self.inner.outbox
    }

    /// How its relay is run by apps.
    pub(crate) fn relay_plan(&self) -> &RelayPlan {
        &self.inner.relay
    }

    /// What tells this store, and its clones, from others that are open.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// What tells relays that there is something to send.
    pub(crate) fn wake(&self) -> &Wake {
        &self.inner.wake
    }

    /// The schema, or the prefix of the tables' names.
    pub(crate) fn schema(&self) -> &str {
        &self.inner.place.schema
    }

    /// Tells other processes that there is something to send.
    pub(crate) async fn notify(&self) -> Result<(), SqlError> {
        let doing = "telling other processes";
        let channel = self.channel();
        let mut connection = self.connection(&self.inner.pools.writing, doing).await?;
        let told = self.within(async {
            let told = DB::notify(&mut connection, &channel).await;
            told.map_err(|error| self.explain(doing, error))
        });
        let told = told.await;
        give_back(connection, &told);
        told
    }

    /// Hears what other processes tell.
    pub(crate) async fn listen(&self) -> Result<DB::Listener, SqlError> {
        let channel = self.channel();
        self.within(async {
            let listening = DB::listen(&self.inner.pools.reading, &channel).await;
            listening.map_err(|error| self.explain("listening", error))
        })
        .await
    }

    fn channel(&self) -> String {
        format!("{}_outbox", self.schema())
    }

    /// What an error of the driver means here.
    pub(crate) fn explain(&self, doing: &'static str, error: sqlx::Error) -> SqlError {
        explain::<DB>(&self.inner.place, doing, error)
    }

    /// Who wants to know it is told when the database works.
    pub(crate) fn tell(&self, at_work: Arc<dyn AtWork>) {
        // The first one knows it for all.
        let _ = self.inner.at_work.set(at_work);
    }

    /// It works from now on.
    pub(crate) fn working(&self) -> Option<Working> {
        let at_work = self.inner.at_work.get()?.clone();
        at_work.begins();
        Some(Working(at_work))
    }

    /// The connection is given up with the future if the database is silent for too long.
    pub(crate) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        let after = self.inner.timeout;
        let _working = self.working();
        match tokio::time::timeout(after, work).await {
            Ok(result) => result,
            Err(_) => Err(SqlError::Silent {
                place: self.inner.place.name.clone(),
                after,
            }),
        }
    }

    /// Runs a statement that writes in a transaction of its own; how many rows it changed.
    pub(crate) async fn execute(
        &self,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<u64, SqlError> {
        let mut connection = self.writing(doing).await?;
        let done = self.execute_on(&mut connection, doing, sql, values).await;
        give_back(connection, &done);
        done
    }

    /// The same on that connection.
    pub(crate) async fn execute_on(
        &self,
        connection: &mut PoolConnection<DB>,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<u64, SqlError> {
        let done = async {
            let done = DB::execute(connection, sql, values).await;
            done.map_err(|error| self.explain(doing, error))
        };
        self.within(done).await
    }

    /// A connection for what writes.
    pub(crate) async fn writing(&self, doing: &'static str) -> Result<PoolConnection<DB>, SqlError> {
        self.connection(&self.inner.pools.writing, doing).await
    }

    /// A connection for what only reads.
    pub(crate) async fn reading(&self, doing: &'static str) -> Result<PoolConnection<DB>, SqlError> {
        self.connection(&self.inner.pools.reading, doing).await
    }

    async fn connection(&self, pool: &Pool<DB>, doing: &'static str) -> Result<PoolConnection<DB>, SqlError> {
        self.within(async { pool.acquire().await.map_err(|error| self.explain(doing, error)) })
            .await
    }

    /// Runs a statement that may write in a transaction of its own and takes its rows.
    pub(crate) async fn fetch(
        &self,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<Vec<DB::Row>, SqlError> {
        let mut connection = self.writing(doing).await?;
        let rows = self.fetch_on(&mut connection, doing, sql, values).await;
        give_back(connection, &rows);
        rows
    }

    /// Runs a statement that only reads.
    pub(crate) async fn read(
        &self,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<Vec<DB::Row>, SqlError> {
        let mut connection = self.reading(doing).await?;
        let rows = self.fetch_on(&mut connection, doing, sql, values).await;
        give_back(connection, &rows);
        rows
    }

    /// Takes the rows of a statement on that connection.
    pub(crate) async fn fetch_on(
        &self,
        connection: &mut PoolConnection<DB>,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<Vec<DB::Row>, SqlError> {
        let rows = async {
            let rows = DB::fetch(connection, sql, values).await;
            rows.map_err(|error| self.explain(doing, error))
        };
        self.within(rows).await
    }
}

/// A template with the prefix of our tables and the time of the database.
fn complete<DB: Dialect>(template: &str, prefix: &str) -> Arc<str> {
    template.replace("{t}", prefix).replace("{now}", DB::NOW).into()
}

/// A connection to a server that is silent is closed: in the pool it would be waited for, by everybody who gets it.
pub(crate) fn give_back<DB: Dialect, T>(mut connection: PoolConnection<DB>, done: &Result<T, SqlError>) {
    if DB::IS_REMOTE && matches!(done, Err(SqlError::Silent { .. })) {
        connection.close_on_drop();
    }
}
