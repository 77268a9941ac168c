//! The inbox: ids of messages in a table, claimed in the transaction that the messages are handled in.

mod extract;
#[cfg(test)]
pub(crate) mod plans;
pub(crate) mod prune;

pub(crate) use prune::Pruner;

use crate::dialect::Dialect;
use crate::dialect::sealed::New;
use crate::error::{ErrorClass, SqlError, classify};
use crate::lent::{Lent, Owner};
use crate::outbox::rows;
use crate::store::SqlStore;
use crate::tx::Tx;
use crate::value::Value;
use std::any::Any;
use std::error::Error;
use std::sync::Arc;
use tidings_core::{
    BoxFuture, Database, FailureKind, InboxError, InboxStore, InboxTransaction, OutboxStore, Outgoing,
};

/// The savepoint that items of a batch go back to.
const SET: &str = "SAVEPOINT tidings_item";
/// Of two of one name the earlier one would stay.
const SET_AGAIN: &str = "RELEASE SAVEPOINT tidings_item; SAVEPOINT tidings_item";
const UNDO: &str = "ROLLBACK TO SAVEPOINT tidings_item";

impl<DB: Dialect> InboxStore for SqlStore<DB> {
    fn name(&self) -> String {
        self.place().to_owned()
    }

    fn database(&self) -> Database {
        Database::of::<DB>()
    }

    fn has_outbox(&self) -> bool {
        true
    }

    fn outbox(&self) -> Option<Arc<dyn OutboxStore>> {
        Some(Arc::new(self.clone()))
    }

    fn classify(&self, error: &(dyn Error + 'static)) -> Option<FailureKind> {
        let class = if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            classify::<DB>(error)
        } else {
            error.downcast_ref::<SqlError>()?.class()
        };
        Some(match class {
            ErrorClass::Permanent => FailureKind::Permanent,
            ErrorClass::Transient => FailureKind::Transient,
        })
    }

    fn begin(
        &self,
        scope: &str,
        ids: Vec<String>,
    ) -> BoxFuture<'static, Result<Box<dyn InboxTransaction>, InboxError>> {
        self.prune_from_now_on();
        let (store, scope) = (self.clone(), scope.to_owned());
        Box::pin(async move {
            let mut tx = SqlStore::begin(&store).await.map_err(of_inbox)?;
            let is_new = claim(&mut tx, &store, &scope, &ids).await?;
            let claimed = Claimed {
                owner: tx.lend(),
                store,
                scope,
                ids,
                is_new,
                has_savepoint: false,
            };
            Ok(Box::new(claimed) as Box<dyn InboxTransaction>)
        })
    }
}

/// Claims ids, and tells which of them are new, by place.
async fn claim<DB: Dialect>(
    tx: &mut Tx<DB>,
    store: &SqlStore<DB>,
    scope: &str,
    ids: &[String],
) -> Result<Vec<bool>, InboxError> {
    let claimed = match ids {
        [id] => store.within(claim_one(tx, scope, id)).await,
        _ => store.within(claim_all(tx, scope, ids)).await,
    };
    claimed.map_err(|error| match error {
        // It has answered to the begin: what it waits for is another transaction.
        SqlError::Silent { .. } => InboxError::Conflict(error.into()),
        other => of_inbox(other),
    })
}

const CLAIMING: &str = "claiming ids";

async fn claim_one<DB: Dialect>(tx: &mut Tx<DB>, scope: &str, id: &str) -> Result<Vec<bool>, SqlError> {
    let store = tx.store().clone();
    let statements = store.statements();
    let values = [
        Value::Text(scope),
        Value::Text(id),
        Value::Text(&statements.longest_wait),
    ];
    let claimed = tx.execute(CLAIMING, &statements.claim_one, of_claim::<DB>(&values));
    Ok(vec![claimed.await? > 0])
}

async fn claim_all<DB: Dialect>(tx: &mut Tx<DB>, scope: &str, ids: &[String]) -> Result<Vec<bool>, SqlError> {
    let store = tx.store().clone();
    // All transactions claim in the same order, so that none waits for one that waits for it.
    let mut sorted: Vec<(&str, usize)> = ids.iter().map(String::as_str).zip(0..).collect();
    sorted.sort_unstable();
    let texts: Vec<&str> = sorted.iter().map(|(id, _)| *id).collect();
    let statements = store.statements();
    let values = [
        Value::Text(scope),
        Value::Texts(&texts),
        Value::Text(&statements.longest_wait),
    ];
    let claimed = tx.fetch(CLAIMING, &statements.claim, of_claim::<DB>(&values));
    let new = DB::claimed(&claimed.await?).map_err(|error| store.explain(CLAIMING, error))?;
    Ok(match new {
        New::All => vec![true; ids.len()],
        New::Only(new) => {
            let mut is_new = vec![false; ids.len()];
            for id in new {
                // Of an id that is there twice the last one is the new one.
                let after = sorted.partition_point(|(other, _)| *other <= id.as_str());
                let found = after.checked_sub(1).and_then(|last| sorted.get(last));
                if let Some((_, place)) = found.filter(|(other, _)| *other == id)
                    && let Some(slot) = is_new.get_mut(*place)
                {
                    *slot = true;
                }
            }
            is_new
        }
    })
}

/// Without the longest wait on databases on which nobody waits here.
fn of_claim<'v, 'a, DB: Dialect>(values: &'v [Value<'a>; 3]) -> &'v [Value<'a>] {
    if DB::CLAIM_WAITS { values } else { &values[..2] }
}

/// A transaction with claims.
struct Claimed<DB: Dialect> {
    /// Lends it to handlers.
    owner: Arc<Owner<DB>>,
    store: SqlStore<DB>,
    scope: String,
    ids: Vec<String>,
    is_new: Vec<bool>,
    has_savepoint: bool,
}

/// What handlers find their transaction by.
#[derive(Debug)]
pub(crate) struct Shared<DB: Dialect> {
    owner: Arc<Owner<DB>>,
    store: SqlStore<DB>,
}

impl<DB: Dialect> Shared<DB> {
    /// The transaction, unless somebody has it.
    pub(crate) fn lend(&self) -> Option<Tx<DB>> {
        Some(Tx::new(self.owner.lend()?, self.store.clone()))
    }
}

impl<DB: Dialect> Claimed<DB> {
    /// For a statement of ours. Nobody else has it between calls of the handler, unless the handler left it to somebody.
    fn tx(&self) -> Result<Tx<DB>, InboxError> {
        let lent: Option<Lent<DB>> = self.owner.lend();
        let lent = lent.ok_or_else(|| self.still_used())?;
        Ok(Tx::new(lent, self.store.clone()))
    }

    /// To be ended.
    fn into_tx(self) -> Result<Tx<DB>, InboxError> {
        match self.owner.take() {
            Some(transaction) => Ok(Tx::new(transaction, self.store.clone())),
            None => Err(self.still_used()),
        }
    }

    fn still_used(&self) -> InboxError {
        let place = self.store.place().to_owned();
        InboxError::Work(SqlError::StillUsed { place }.into())
    }

    async fn script(&self, doing: &'static str, sql: &'static str) -> Result<(), InboxError> {
        let mut tx = self.tx()?;
        let done = self.store.within(async {
            let done = DB::script(&mut tx, sql.to_owned()).await;
            done.map_err(|error| self.store.explain(doing, error))
        });
        done.await.map_err(of_inbox)
    }
}

/// Others may still know who lends it: a publisher that a handler has kept does.
impl<DB: Dialect> Drop for Claimed<DB> {
    fn drop(&mut self) {
        drop(self.owner.take());
    }
}

impl<DB: Dialect> InboxTransaction for Claimed<DB> {
    fn is_duplicate(&self, place: usize) -> bool {
        self.is_new.get(place) == Some(&false)
    }

    fn shared(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(Shared {
            owner: self.owner.clone(),
            store: self.store.clone(),
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        let sql = if self.has_savepoint { SET_AGAIN } else { SET };
        self.has_savepoint = true;
        Box::pin(self.script("setting a savepoint", sql))
    }

    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        Box::pin(self.script("going back to a savepoint", UNDO))
    }

    fn give_back(&mut self, places: Vec<usize>) -> BoxFuture<'_, Result<(), InboxError>> {
        Box::pin(async move {
            let ids = places.iter().filter_map(|place| self.ids.get(*place));
            let ids: Vec<&str> = ids.map(String::as_str).collect();
            let values = [Value::Text(&self.scope), Value::Texts(&ids)];
            let mut tx = self.tx()?;
            let given = tx.execute("giving claims back", &self.store.statements().give_back, &values);
            self.store.within(given).await.map_err(of_inbox)?;
            Ok(())
        })
    }

    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Result<(), InboxError>> {
        Box::pin(async move {
            let mut tx = self.tx()?;
            let written = rows::write(&self.store, &mut tx, &messages);
            self.store.within(written).await.map_err(of_inbox)
        })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        Box::pin(async move { self.into_tx()?.commit().await.map_err(of_inbox) })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        Box::pin(async move { self.into_tx()?.rollback().await.map_err(of_inbox) })
    }
}

/// What an error of our own statements is to the engine.
fn of_inbox(error: SqlError) -> InboxError {
    match error {
        SqlError::Conflict { .. } => InboxError::Conflict(error.into()),
        // A statement of the handler's had failed; a deferred constraint; a value that the database cannot hold.
        SqlError::Aborted { .. } | SqlError::Statement { .. } => InboxError::Work(error.into()),
        // Nothing that a message could do anything about.
        _ => InboxError::Unavailable(error.into()),
    }
}
