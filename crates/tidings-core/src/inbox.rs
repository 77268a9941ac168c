//! Effects that happen once: the seam to a database that keeps which messages were handled, in the transaction that they
//! were handled in ([`InboxStore`]).
//!
//! For each attempt the engine begins a transaction of the store, whose first statement claims the message's id. The
//! handler works in that transaction, what it publishes is written into the store's outbox there, and the commit keeps all
//! of it or nothing. So a claim is never kept before the work: a message that comes again after its claim was kept was
//! handled, and is finished without a call.

use crate::BoxFuture;
use crate::codec::Decode;
use crate::delivery::Delivery;
use crate::event::Event;
use crate::extract::{FromDelivery, Payload};
use crate::failure::{Failure, FailureKind};
use crate::names;
use crate::outbox::OutboxStore;
use crate::sink::Outgoing;
use std::any::{Any, TypeId};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The longest id that is claimed, in bytes: it stands in an index of the store, and anybody may have written it.
pub const MAX_INBOX_ID_BYTES: usize = 255;

/// A kind of database, as the types of transactions name it: what a handler takes and what its inbox gives must agree.
#[derive(Clone, Copy)]
pub struct Database {
    id: TypeId,
    name: fn() -> &'static str,
}

impl Database {
    /// The kind that this type stands for.
    pub const fn of<D: 'static>() -> Self {
        Self {
            id: TypeId::of::<D>(),
            name: std::any::type_name::<D>,
        }
    }

    /// Its name without modules: `Postgres`.
    pub fn name(self) -> &'static str {
        let whole = (self.name)();
        whole.rsplit("::").next().unwrap_or(whole)
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Database {}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A database that keeps which messages were handled.
pub trait InboxStore: Send + Sync + fmt::Debug {
    /// Its name for people: what it is and where, without passwords.
    fn name(&self) -> String;

    /// What handlers must ask for.
    fn database(&self) -> Database;

    /// Whether [`InboxTransaction::publish`] can be used.
    fn has_outbox(&self) -> bool;

    /// What is sent from it, by the app that has the inbox; none if it has to be sent in another way.
    fn outbox(&self) -> Option<Arc<dyn OutboxStore>> {
        None
    }

    /// What an error of a handler is to the engine if it is one of the database's; nothing if it is not. It is asked where the
    /// handler did not say more than `?`: so a statement that can never work is not tried again.
    fn classify(&self, error: &(dyn Error + 'static)) -> Option<FailureKind> {
        let _ = error;
        None
    }

    /// Begins a transaction, and claims these ids in this scope by its first statement: at most one transaction at a time
    /// holds the claim of an id. Who comes second waits until the first is over, or fails with
    /// [`InboxError::Conflict`]. No id is there twice.
    ///
    /// Dropping the future gives up whatever it has begun.
    fn begin(
        &self,
        scope: &str,
        ids: Vec<String>,
    ) -> BoxFuture<'static, Result<Box<dyn InboxTransaction>, InboxError>>;
}

/// A transaction of a store, with claims. Dropping it rolls it back.
pub trait InboxTransaction: Send {
    /// Whether the id at that place was claimed before, and its work is done.
    fn is_duplicate(&self, place: usize) -> bool;

    /// What a handler takes its transaction from: a type of the store's own, that its extractor knows.
    fn shared(&self) -> Arc<dyn Any + Send + Sync>;

    /// Sets the place that [`undo`](Self::undo) goes back to. What was done before is undone by a rollback only.
    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), InboxError>>;

    /// Undoes everything since the last [`savepoint`](Self::savepoint), as often as it is asked to.
    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>>;

    /// Gives the claims at these places back: what they stand for was undone.
    fn give_back(&mut self, places: Vec<usize>) -> BoxFuture<'_, Result<(), InboxError>>;

    /// Writes messages into the outbox. Their [`destination`](Outgoing::destination) is the name of a channel.
    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Result<(), InboxError>>;

    /// Keeps the claims and the work.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>>;

    /// Keeps neither.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>>;
}

type Cause = Box<dyn Error + Send + Sync>;

/// Why a store could not do what an inbox asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The database is away, overloaded, or lacks what the inbox needs there: no message is at fault. The subscription
    /// waits.
    #[error("the inbox's database cannot be used now: {0}")]
    Unavailable(#[source] Cause),
    /// Another transaction stood in the way: that of another instance with the same id, a deadlock. The message is tried
    /// again soon, and its attempt does not count.
    #[error("another transaction stands in the way: {0}")]
    Conflict(#[source] Cause),
    /// The work cannot be committed, which is the handler's fault or its message's: a deferred constraint, a transaction
    /// that the handler did not give back. The attempt counts.
    #[error("the work cannot be committed: {0}")]
    Work(#[source] Cause),
}

/// How a subscription knows messages that it has handled.
#[derive(Clone)]
pub struct Inbox {
    store: Arc<dyn InboxStore>,
    id: Option<InboxId>,
}

/// What a message is known by.
pub type InboxId = Arc<dyn Fn(&Delivery) -> Result<String, Failure> + Send + Sync>;

impl Inbox {
    /// Messages are known by their message id.
    pub fn new(store: Arc<dyn InboxStore>) -> Self {
        Self { store, id: None }
    }

    /// Messages are known by that.
    #[must_use]
    pub fn known_by(mut self, id: InboxId) -> Self {
        self.id = Some(id);
        self
    }

    /// Where claims are kept.
    pub fn store(&self) -> &Arc<dyn InboxStore> {
        &self.store
    }

    /// Whether messages are known by something else than their message id.
    pub fn has_own_ids(&self) -> bool {
        self.id.is_some()
    }

    /// What a message is known by.
    ///
    /// # Errors
    /// A permanent failure: it has nothing to be known by, so it cannot be told from a duplicate.
    pub fn id_of(&self, delivery: &Delivery) -> Result<String, Failure> {
        let id = match &self.id {
            Some(id) => id(delivery)?,
            None => delivery.message_id().map(str::to_owned).ok_or_else(|| {
                Failure::undecodable(format!(
                    "the inbox knows messages by the header \"{}\", and this one has none: give the subscription an inbox_id",
                    names::MESSAGE_ID
                ))
            })?,
        };
        match id.len() {
            _ if id.contains('\0') => Err(Failure::undecodable("the id for the inbox has a zero byte in it")),
            0 => Err(Failure::undecodable("the id for the inbox is empty")),
            1..=MAX_INBOX_ID_BYTES => Ok(id),
            length => Err(Failure::undecodable(format!(
                "the id for the inbox has {length} bytes, and {MAX_INBOX_ID_BYTES} is the limit"
            ))),
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("store", &self.store)
            .field("has_own_ids", &self.has_own_ids())
            .finish()
    }
}

/// Messages are known by what the function makes of their event.
pub(crate) fn id_of_event<E, T>(id: impl Fn(&E) -> T + Send + Sync + 'static) -> InboxId
where
    E: Event,
    E::Codec: Decode<E>,
    T: ToString,
{
    Arc::new(move |delivery| {
        let Payload(event) = <Payload<E> as FromDelivery<()>>::from_delivery(delivery, &())?;
        Ok(id(&event).to_string())
    })
}

impl InboxError {
    /// As what a handler fails with that meets it in its own statements.
    pub fn into_failure(self) -> Failure {
        Failure::new(FailureKind::Transient, self)
    }
}
