//! A request's transaction, with the outbox: [`InTx`], [`Work`], [`Answered`].

use super::problem::Problem;
use crate::dialect::Dialect;
use crate::outbox::{Outbox, OutboxError};
use crate::tx::Tx;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use std::fmt;
use std::ops::{Deref, DerefMut};
use tidings_core::{Encode, Event, Message, Publisher};

/// An argument of a handler: a transaction, and what the body of the request brings, `InTx<Postgres, Json<Order>>`.
///
/// The router's state is the [`Outbox`], or has it as a part (axum's `FromRef`). The transaction begins when the request
/// has been read and understood, so no client that is slow keeps one open. If it cannot begin the handler is not called, and
/// the answer is a [`Problem`].
#[derive(Debug)]
pub struct InTx<DB: Dialect, T>(pub Work<DB>, pub T);

impl<S, DB, T> FromRequest<S> for InTx<DB, T>
where
    S: Send + Sync,
    DB: Dialect,
    Outbox<DB>: FromRef<S>,
    T: FromRequest<S> + Send,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let brought = T::from_request(request, state).await;
        let brought = brought.map_err(IntoResponse::into_response)?;
        let begun = Work::begin(state).await;
        Ok(Self(begun.map_err(IntoResponse::into_response)?, brought))
    }
}

impl<S, DB> FromRequestParts<S> for Work<DB>
where
    S: Send + Sync,
    DB: Dialect,
    Outbox<DB>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Problem> {
        Self::begin(state).await
    }
}

/// What one request does: a transaction, and what is published with it. It is a connection to whoever runs statements
/// (`&mut *work`). Dropped, nothing of it was done.
///
/// It is an argument by itself where a request has no body; where it has one, [`InTx`] waits for that first.
pub struct Work<DB: Dialect> {
    tx: Tx<DB>,
    outbox: Outbox<DB>,
}

impl<DB: Dialect> fmt::Debug for Work<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Work").field(&self.tx).finish()
    }
}

impl<DB: Dialect> Deref for Work<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.tx
    }
}

impl<DB: Dialect> DerefMut for Work<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.tx
    }
}

impl<DB: Dialect> Work<DB> {
    async fn begin<S>(state: &S) -> Result<Self, Problem>
    where
        Outbox<DB>: FromRef<S>,
    {
        let outbox = Outbox::from_ref(state);
        let tx = outbox.store().begin().await?;
        Ok(Self { tx, outbox })
    }

    /// The transaction, for [savepoints](Tx::savepoint).
    pub fn tx(&mut self) -> &mut Tx<DB> {
        &mut self.tx
    }

    /// As [`Outbox::publish`].
    ///
    /// # Errors
    /// As there.
    pub async fn publish<E>(&mut self, channel: &str, event: &E) -> Result<(), OutboxError>
    where
        E: Event,
        E::Codec: Encode<E>,
    {
        self.outbox.publish(&mut self.tx, channel, event).await
    }

    /// As [`Outbox::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, channel: &str, message: Message) -> Result<(), OutboxError> {
        self.outbox.send(&mut self.tx, channel, message).await
    }

    /// As [`Outbox::publishing`]: all that a publisher can do.
    ///
    /// # Errors
    /// As there.
    pub async fn publishing<T, E: From<OutboxError>>(
        &mut self,
        work: impl AsyncFnOnce(Publisher) -> Result<T, E>,
    ) -> Result<T, E> {
        self.outbox.publishing(&mut self.tx, work).await
    }

    /// Commits all of it, and then answers.
    ///
    /// # Errors
    /// Nothing was done, or it is not known whether it was, as the [`Problem`] says.
    pub async fn commit<R>(self, answer: R) -> Result<Answered<R>, Problem> {
        self.tx.commit().await?;
        Ok(Answered(answer))
    }

    /// Does nothing of it, and answers: for a request that was done before.
    pub async fn give_up<R>(self, answer: R) -> Answered<R> {
        if let Err(error) = self.tx.rollback().await {
            // A connection that is lost gives it up as well.
            tracing::debug!(%error, "a request's transaction was not rolled back in order");
        }
        Answered(answer)
    }
}

/// An answer that was given when the transaction had ended: by [`Work::commit`] or [`Work::give_up`].
#[derive(Debug)]
#[must_use = "it is the answer to the request"]
pub struct Answered<R>(R);

impl<R: IntoResponse> IntoResponse for Answered<R> {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
