//! What stands between a redrive and the broker: [`Gate`].

use crate::out::Progress;
use bytes::Bytes;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::{
    BinderLayer, BoxFuture, DynBinder, Layered, Outgoing, Position, PublishError, Receipt, Sink, Timestamp,
};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The header that says that a person changed the payload, and when.
pub(super) const EDITED: &str = "edited-at";

/// What becomes of a letter that passes.
#[derive(Debug)]
pub(super) enum Passage {
    /// It goes back as it is.
    Send,
    /// It goes back with another payload.
    Edited(Bytes),
    /// It goes nowhere, and is recorded as if it had gone back.
    Discard,
}

/// A broker whose sink lets letters pass at a rate, changed or not at all, and stops at ctrl-C. The recording of what
/// was done is the redrive's own, so a discarded letter is remembered exactly as one that was sent back.
#[derive(Debug)]
pub(super) struct Gate {
    inner: Arc<dyn DynBinder>,
    sink: Arc<GateSink>,
}

impl Gate {
    /// A gate before that broker.
    pub(super) fn new(
        inner: &Arc<dyn DynBinder>,
        passage: Passage,
        rate: Option<f64>,
        progress: Progress,
    ) -> Self {
        let shared = Shared {
            inner: inner.sink(),
            passage,
            pace: rate.map(Pace::new),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            passed: AtomicU64::new(0),
            refused: Mutex::default(),
            progress,
        };
        Self {
            inner: inner.clone(),
            sink: Arc::new(GateSink(Arc::new(shared))),
        }
    }

    /// The broker as the redrive sees it.
    pub(super) fn binder(&self) -> impl DynBinder + use<> {
        Layered(Front {
            inner: self.inner.clone(),
            sink: self.sink.clone(),
        })
    }

    /// Lets nothing more pass.
    pub(super) fn stop(&self) {
        self.sink.0.stopped.store(true, Ordering::Release);
        self.sink.0.stop.notify_waiters();
    }

    /// Whether it was stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.sink.0.stopped.load(Ordering::Acquire)
    }

    /// Why letters can never go back, one for each.
    pub(super) fn refused(&self) -> Vec<String> {
        self.sink
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many have passed.
    pub(super) fn passed(&self) -> u64 {
        self.sink.0.passed.load(Ordering::Acquire)
    }
}

/// The gate as a broker.
#[derive(Debug)]
struct Front {
    inner: Arc<dyn DynBinder>,
    sink: Arc<GateSink>,
}

impl BinderLayer for Front {
    fn inner(&self) -> &Arc<dyn DynBinder> {
        &self.inner
    }

    fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }
}

#[derive(Debug)]
struct GateSink(Arc<Shared>);

struct Shared {
    inner: Arc<dyn Sink>,
    passage: Passage,
    pace: Option<Pace>,
    stopped: AtomicBool,
    stop: Notify,
    passed: AtomicU64,
    refused: Mutex<Vec<String>>,
    progress: Progress,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

impl Sink for GateSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let shared = self.0.clone();
        if shared.stopped.load(Ordering::Acquire) {
            return Receipt::failed(PublishError::Closed);
        }
        if shared.pace.is_some() {
            // Receipts are awaited in the order of the calls, so the letters go in their order.
            return Receipt::boxed(async move {
                shared.wait().await?;
                let receipt = shared.pass(outgoing);
                shared.count(receipt).await
            });
        }
        let receipt = shared.pass(outgoing);
        Receipt::boxed(async move { shared.count(receipt).await })
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.0.inner.flush()
    }
}

impl Shared {
    /// Waits for the letter's turn.
    async fn wait(&self) -> Result<(), PublishError> {
        let Some(pace) = &self.pace else { return Ok(()) };
        // Told of a stop from here on, so that one between the look and the wait is not missed.
        let stop = self.stop.notified();
        if self.stopped.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        tokio::select! {
            () = tokio::time::sleep_until(pace.turn()) => Ok(()),
            () = stop => Err(PublishError::Closed),
        }
    }

    fn pass(&self, mut outgoing: Outgoing) -> Receipt {
        match &self.passage {
            Passage::Send => self.inner.publish(outgoing),
            Passage::Discard => Receipt::ready(Ok(Position::new(outgoing.destination, 0, 0))),
            Passage::Edited(payload) => {
                let now = crate::time::show(Timestamp::now());
                outgoing.message = outgoing.message.with_payload(Some(payload.clone()));
                match outgoing.message.with_header(EDITED, now) {
                    Ok(message) => {
                        outgoing.message = message;
                        self.inner.publish(outgoing)
                    }
                    Err(error) => Receipt::failed(error.into()),
                }
            }
        }
    }

    async fn count(&self, receipt: Receipt) -> Result<Position, PublishError> {
        let kept = receipt.await;
        match &kept {
            Ok(_) => {
                self.passed.fetch_add(1, Ordering::AcqRel);
                self.progress.add(1);
            }
            Err(error) if error.is_permanent() => {
                self.refused
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(error.to_string());
            }
            Err(_) => {}
        }
        kept
    }
}

/// Turns at a steady rate; a letter that comes late does not let the next ones come early.
#[derive(Debug)]
struct Pace {
    every: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        // Once a day is slow enough for everybody, and within what a timer can wait.
        let every = Duration::from_secs_f64((1.0 / per_second).min(86_400.0));
        Self {
            every,
            next: Mutex::new(Instant::now()),
        }
    }

    fn turn(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn + self.every;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_rate_and_never_in_a_burst() {
        let pace = Pace::new(10.0);
        let start = Instant::now();
        assert_eq!(pace.turn(), start);
        assert_eq!(pace.turn(), start + Duration::from_millis(100));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(pace.turn(), Instant::now());
        assert_eq!(pace.turn(), Instant::now() + Duration::from_millis(100));
    }
}
