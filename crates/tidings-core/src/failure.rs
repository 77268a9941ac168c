//! Why a delivery was not handled: [`Failure`], transient unless its author says otherwise.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A handling that did not succeed.
///
/// Every type that implements [`std::error::Error`] becomes a *transient* failure by `?`: the message is tried again as
/// the subscription's retry policy says. Write [`.permanent()?`](ResultExt::permanent) where trying again cannot help:
/// the message goes to the dead letters at once. [`Failure::later`] is not a failure of the message: it is delivered
/// again after that time and the attempt is not counted.
///
/// `anyhow::Error`, `Box<dyn Error + Send + Sync>`, `String` and `&str` do not implement that trait, so `?` alone does
/// not take them where a `Failure` is returned. They pass by [`.transient()?`](ResultExt::transient) and
/// [`.permanent()?`](ResultExt::permanent); and a handler may return `Result<T, anyhow::Error>`, or any other of them,
/// in place of `Result<T, Failure>`.
///
/// ```
/// use tidings_core::{Failure, FailureKind, ResultExt};
/// # type AnyError = Box<dyn std::error::Error + Send + Sync>;
/// fn lookup(order: &str) -> Result<u64, AnyError> {
///     Ok(order.parse()?)
/// }
/// fn charge(order: &str) -> Result<u64, Failure> {
///     let found = lookup(order).transient()?;     // `?` alone does not take a boxed error
///     let cents: u64 = order.parse()?;            // any type that is an error: transient
///     Some(found + cents).ok_or("nothing to pay").permanent()
/// }
/// assert_eq!(charge("x").unwrap_err().kind(), FailureKind::Transient);
/// ```
///
/// `Failure` does not implement [`std::error::Error`] itself, so that every error can be converted into it; boxed, it
/// is one, and keeps its kind when it becomes a `Failure` again.
pub struct Failure {
    inner: Box<Inner>,
}

struct Inner {
    kind: FailureKind,
    error: Box<dyn Error + Send + Sync>,
}

/// What to do about a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// Trying again may help.
    Transient,
    /// Trying again cannot help.
    Permanent,
    /// The payload or a header could not be decoded: it never will be.
    Undecodable,
    /// The payload lies in a claim store, and is gone there or is not what was put there.
    Unclaimed,
    /// The handler took too long and was stopped; trying again may help.
    Timeout,
    /// The handler panicked; trying again may help.
    Panic,
    /// The handler rejected the message by its [`Ack`](crate::Ack).
    Rejected,
    /// Not now: deliver again after this time, and do not count the attempt.
    Later(Duration),
    /// Deliver again after this time instead of the policy's; the attempt counts.
    RetryAfter(Duration),
    /// What the engine needs for every message is away, say the database of an inbox: deliver again after this time, held
    /// in memory meanwhile, and do not count the attempt.
    Unavailable(Duration),
}

impl FailureKind {
    /// Whether the message may be tried again.
    pub fn is_retryable(self) -> bool {
        !matches!(
            self,
            Self::Permanent | Self::Undecodable | Self::Unclaimed | Self::Rejected
        )
    }

    /// A word for logs, metrics and the diagnosis of a dead letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Undecodable => "undecodable",
            Self::Unclaimed => "unclaimed",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Rejected => "rejected",
            Self::Later(_) => "later",
            Self::RetryAfter(_) => "retry-after",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

#[derive(Debug)]
struct Text(String);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Text {}

impl Failure {
    /// A failure of that kind with that cause.
    pub fn new(kind: FailureKind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::from_boxed(error.into()).with_kind(kind)
    }

    /// A transient failure with that cause; a failure that was boxed comes back as it was.
    pub fn from_boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast::<Boxed>() {
            Ok(boxed) => boxed.0,
            Err(error) => Self {
                inner: Box::new(Inner {
                    kind: FailureKind::Transient,
                    error,
                }),
            },
        }
    }

    /// Trying again may help.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Transient, Text(reason.into()))
    }

    /// Trying again cannot help: to the dead letters at once.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Permanent, Text(reason.into()))
    }

    /// What was received cannot be decoded: to the dead letters at once.
    pub fn undecodable(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Undecodable, Text(reason.into()))
    }

    /// Not now: the message is delivered again after `wait`, and this delivery does not count as an attempt.
    pub fn later(wait: Duration) -> Self {
        Self::new(FailureKind::Later(wait), Text(format!("postponed by {wait:?}")))
    }

    /// This failure with another kind and the same cause.
    #[must_use]
    pub fn with_kind(mut self, kind: FailureKind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> FailureKind {
        self.inner.kind
    }

    /// The cause.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.inner.error
    }

    /// The cause if it is of that type.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.inner.error.downcast_ref::<E>()
    }

    /// The messages of the cause and of its sources, outermost first. At most 16, because a chain may be a ring.
    pub fn chain(&self) -> impl Iterator<Item = String> + '_ {
        let first: &(dyn Error + 'static) = &*self.inner.error;
        std::iter::successors(Some(first), |error: &&(dyn Error + 'static)| (*error).source())
            .take(16)
            .map(ToString::to_string)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(FailureKind::Transient, error)
    }
}

/// A failure where an error is needed.
#[derive(Debug)]
struct Boxed(Failure);

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.inner.error, f)
    }
}

impl Error for Boxed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.inner.error.source()
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        Box::new(Boxed(failure))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({}: {self})", self.inner.kind.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        for part in self.chain() {
            // Many errors print their source themselves; say everything once.
            if said.contains(&part) {
                continue;
            }
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&part);
        }
        f.write_str(&said)
    }
}

/// Classifies an error where it happens: `card.parse().permanent()?`. For every type that can be boxed as an error: those
/// that implement [`std::error::Error`], `anyhow::Error`, `Box<dyn Error + Send + Sync>`, `String` and `&str`, and
/// [`Failure`] itself.
pub trait ResultExt<T> {
    /// Trying again cannot help.
    ///
    /// # Errors
    /// The error as a permanent [`Failure`].
    fn permanent(self) -> Result<T, Failure>;

    /// Trying again may help, even if the error says otherwise.
    ///
    /// # Errors
    /// The error as a transient [`Failure`].
    fn transient(self) -> Result<T, Failure>;

    /// Deliver again after that time; the attempt counts.
    ///
    /// # Errors
    /// The error as a [`Failure`] with its own waiting time.
    fn retry_after(self, wait: Duration) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> ResultExt<T> for Result<T, E> {
    fn permanent(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(FailureKind::Permanent, error))
    }

    fn transient(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(FailureKind::Transient, error))
    }

    fn retry_after(self, wait: Duration) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(FailureKind::RetryAfter(wait), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the bank is closed")]
    struct Closed(#[source] std::io::Error);

    fn charge() -> Result<(), Failure> {
        Err(Closed(std::io::Error::other("no route")))?
    }

    #[test]
    fn any_error_is_transient_and_keeps_its_chain() {
        let failure = charge().unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Transient);
        assert_eq!(failure.to_string(), "the bank is closed: no route");
        assert!(failure.downcast_ref::<Closed>().is_some());
    }

    #[test]
    fn what_can_be_boxed_as_an_error_can_be_a_failure() {
        type AnyError = Box<dyn Error + Send + Sync>;
        fn lost() -> Result<(), AnyError> {
            Err("lost".into())
        }
        let said = |result: Result<(), Failure>| {
            let failure = result.unwrap_err();
            (failure.kind(), failure.to_string())
        };
        let expected = |kind| (kind, "lost".to_owned());
        assert_eq!(said(lost().transient()), expected(FailureKind::Transient));
        assert_eq!(said(Err("lost").permanent()), expected(FailureKind::Permanent));
        assert_eq!(
            said(Err("lost".to_owned()).permanent()),
            expected(FailureKind::Permanent)
        );
    }

    #[test]
    fn a_failure_that_was_boxed_keeps_its_kind_and_its_cause() {
        fn through_a_box() -> Result<(), Box<dyn Error + Send + Sync>> {
            charge().permanent()?;
            Ok(())
        }
        let failure = Failure::from_boxed(through_a_box().unwrap_err());
        assert_eq!(failure.kind(), FailureKind::Permanent);
        assert_eq!(failure.to_string(), "the bank is closed: no route");
        assert!(failure.downcast_ref::<Closed>().is_some());
        assert!(
            through_a_box()
                .transient()
                .unwrap_err()
                .downcast_ref::<Closed>()
                .is_some()
        );
    }

    #[test]
    fn permanent_is_said_at_the_call_site() {
        let failure = charge().permanent().unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Permanent);
        assert!(!failure.kind().is_retryable());
    }
}
