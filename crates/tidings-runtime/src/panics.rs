//! A panic in a handler is a failure of that delivery: [`poll_caught`], [`call_caught`].

use crate::letters::{MAX_ERROR_BYTES, bounded};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tidings_core::{BoxFuture, Failure, FailureKind};

/// What a panic said, as a failure.
pub(crate) fn failure(payload: &(dyn Any + Send)) -> Failure {
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    let said = said.unwrap_or_else(|| "a panic without words".to_owned());
    Failure::transient(format!("the handler panicked: {said}")).with_kind(FailureKind::Panic)
}

/// Calls something of the user's.
pub(crate) fn call_caught<T>(call: impl FnOnce() -> T) -> Result<T, Failure> {
    // What the call shares with others is the user's, who must expect a panic as in any other thread.
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| failure(&*payload))
}

/// Drops something of the user's.
pub(crate) fn drop_caught<T>(value: T) {
    if let Err(failure) = call_caught(|| drop(value)) {
        tracing::error!(error = %failure, "a destructor in a handler panicked");
    }
}

/// What a failure says, bounded; never a panic, whatever its error does when it is printed.
pub(crate) fn text_of(failure: &Failure) -> String {
    let said = call_caught(|| failure.to_string());
    let mut said = said.unwrap_or_else(|_| "an error that panics when it is printed".to_owned());
    said.truncate(bounded(&said, MAX_ERROR_BYTES).len());
    said
}

/// Polls something of the user's. After an error it must not be polled again.
pub(crate) fn poll_caught<T>(
    future: &mut BoxFuture<'static, T>,
    context: &mut Context<'_>,
) -> Poll<Result<T, Failure>> {
    match call_caught(|| Pin::new(future).poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(failure) => Poll::Ready(Err(failure)),
    }
}
