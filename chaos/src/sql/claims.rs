//! A store whose transactions are watched, killed and spoilt: [`Watched`].

use super::database::TestDb;
use super::place::Place;
use super::plant::SqlPlant;
use super::scene::Scene;
use crate::history::{Event, SqlEvent};
use crate::service::Parcel;
use std::any::Any;
use std::error::Error;
use std::sync::Arc;
use tidings::{Database, FailureKind, InboxError, InboxStore, InboxTransaction};
use tidings_core::{BoxFuture, Outgoing};

/// A store whose transactions are watched, killed and spoilt.
#[derive(Debug)]
pub(super) struct Watched<DB: TestDb>(pub(super) Scene<DB>);

impl<DB: TestDb> InboxStore for Watched<DB> {
    fn name(&self) -> String {
        InboxStore::name(&self.0.store)
    }

    fn database(&self) -> Database {
        self.0.store.database()
    }

    fn has_outbox(&self) -> bool {
        self.0.store.has_outbox()
    }

    fn classify(&self, error: &(dyn Error + 'static)) -> Option<FailureKind> {
        self.0.store.classify(error)
    }

    fn begin(
        &self,
        scope: &str,
        ids: Vec<String>,
    ) -> BoxFuture<'static, Result<Box<dyn InboxTransaction>, InboxError>> {
        let (scene, scope) = (self.0.clone(), scope.to_owned());
        Box::pin(async move {
            let begun = begin(&scene, &scope, ids.clone()).await;
            if let Err(InboxError::Conflict(_)) = &begun {
                scene.met("claim refused", 1);
            }
            let (inner, known) = begun?;
            let duplicates = (0..ids.len()).filter(|place| known.is_duplicate(&*inner, *place));
            let duplicates = duplicates.count();
            if duplicates > 0 {
                scene.met("duplicate finished", duplicates);
            }
            if duplicates < ids.len() {
                scene.steps.pass(Place::Claimed);
            }
            let transaction = Transaction {
                inner,
                known,
                scene,
                nonces: Vec::new(),
                kept: 0,
            };
            Ok(Box::new(transaction) as Box<dyn InboxTransaction>)
        })
    }
}

type Begun = (Box<dyn InboxTransaction>, Known);

/// Who knows what is a duplicate.
enum Known {
    ByTransaction,
    /// Another one, that is over.
    Before(Vec<bool>),
}

impl Known {
    fn is_duplicate(&self, inner: &dyn InboxTransaction, place: usize) -> bool {
        match self {
            Self::ByTransaction => inner.is_duplicate(place),
            Self::Before(duplicates) => duplicates.get(place) == Some(&true),
        }
    }
}

/// Begins as the store does, or with a bug.
async fn begin<DB: TestDb>(scene: &Scene<DB>, scope: &str, ids: Vec<String>) -> Result<Begun, InboxError> {
    let others = || {
        ids.iter()
            .map(|_| format!("none-{:016x}", fastrand::u64(..)))
            .collect()
    };
    let begin = |ids| InboxStore::begin(&scene.store, scope, ids);
    match scene.plant {
        Some(SqlPlant::NoClaim) => Ok((begin(others()).await?, Known::ByTransaction)),
        Some(SqlPlant::ClaimBeforeCommit) => {
            let claimed = begin(ids.clone()).await?;
            let duplicates = (0..ids.len()).map(|place| claimed.is_duplicate(place));
            let duplicates = duplicates.collect();
            claimed.commit().await?;
            Ok((begin(others()).await?, Known::Before(duplicates)))
        }
        _ => Ok((begin(ids).await?, Known::ByTransaction)),
    }
}

struct Transaction<DB: TestDb> {
    inner: Box<dyn InboxTransaction>,
    known: Known,
    scene: Scene<DB>,
    /// What names the effects: each publishes one event, which knows it.
    nonces: Vec<String>,
    /// So many of them stay when a savepoint is gone back to.
    kept: usize,
}

impl<DB: TestDb> InboxTransaction for Transaction<DB> {
    fn is_duplicate(&self, place: usize) -> bool {
        self.known.is_duplicate(&*self.inner, place)
    }

    fn shared(&self) -> Arc<dyn Any + Send + Sync> {
        self.inner.shared()
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        self.kept = self.nonces.len();
        self.inner.savepoint()
    }

    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        self.nonces.truncate(self.kept);
        self.inner.undo()
    }

    fn give_back(&mut self, places: Vec<usize>) -> BoxFuture<'_, Result<(), InboxError>> {
        self.inner.give_back(places)
    }

    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Result<(), InboxError>> {
        let nonces = messages.iter().map(|outgoing| nonce(&outgoing.message));
        self.nonces.extend(nonces);
        self.inner.publish(messages)
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        let Self {
            inner, scene, nonces, ..
        } = *self;
        Box::pin(async move {
            let works = !nonces.is_empty();
            if works {
                scene.steps.pass(Place::CommitBefore);
            }
            let done = inner.commit().await;
            match &done {
                Ok(()) if works => {
                    scene.history.write(Event::Sql(SqlEvent::Committed { nonces }));
                    scene.steps.pass(Place::CommitAfter);
                }
                Ok(()) => {}
                Err(InboxError::Conflict(_)) => scene.met("serialization failure", 1),
                Err(_) => scene.met("commit without an answer", 1),
            }
            done
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        self.inner.rollback()
    }
}

/// What an event says of the transaction that it was written in.
fn nonce(message: &tidings::Message) -> String {
    let bytes = |bytes: Option<&bytes::Bytes>| bytes.map(|bytes| bytes.to_vec());
    let (key, payload) = (bytes(message.key()), bytes(message.payload()));
    Parcel::read(key.as_deref(), payload.as_deref()).id
}
