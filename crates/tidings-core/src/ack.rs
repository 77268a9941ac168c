//! Manual acknowledgement: a handler that takes [`Ack`] decides itself, and may decide after it returned.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What a handler decided about its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckDecision {
    /// Handled.
    Ack,
    /// Not handled: as a transient failure, delivered again as the retry policy says.
    Nack,
    /// Not handled: delivered again after that time; the attempt counts.
    NackAfter(Duration),
    /// Never to be tried again: to the dead letters.
    Reject(&'static str),
}

#[derive(Debug, Default)]
struct Cell {
    decision: Option<AckDecision>,
    waker: Option<Waker>,
}

/// The handler's side. Dropping it undecided is a nack.
///
/// It may be moved into another task: the delivery keeps its place and its slot until it is decided.
#[derive(Debug)]
#[must_use = "dropping an undecided `Ack` is a nack"]
pub struct Ack {
    cell: Arc<Mutex<Cell>>,
}

/// The engine's side: a future of the decision.
#[derive(Debug)]
pub struct AckWaiter {
    cell: Arc<Mutex<Cell>>,
}

impl Ack {
    /// Both sides of one decision.
    pub fn pair() -> (Ack, AckWaiter) {
        let cell = Arc::new(Mutex::new(Cell::default()));
        (Ack { cell: cell.clone() }, AckWaiter { cell })
    }

    /// The message is handled.
    pub fn ack(self) {
        self.decide(AckDecision::Ack);
    }

    /// The message is not handled: try again as the retry policy says.
    pub fn nack(self) {
        self.decide(AckDecision::Nack);
    }

    /// The message is not handled: try again after that time. The attempt counts.
    pub fn nack_after(self, wait: Duration) {
        self.decide(AckDecision::NackAfter(wait));
    }

    /// The message can never be handled: put it to the dead letters, with this reason.
    pub fn reject(self, reason: &'static str) {
        self.decide(AckDecision::Reject(reason));
    }

    fn decide(&self, decision: AckDecision) {
        let waker = {
            let mut cell = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
            if cell.decision.is_none() {
                cell.decision = Some(decision);
            }
            cell.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.decide(AckDecision::Nack);
    }
}

impl Future for AckWaiter {
    type Output = AckDecision;

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<AckDecision> {
        let mut cell = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
        match cell.decision {
            Some(decision) => Poll::Ready(decision),
            None => {
                cell.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_decision_counts_and_dropping_is_a_nack() {
        let (ack, waiter) = Ack::pair();
        ack.ack();
        assert_eq!(waiter.await, AckDecision::Ack);

        let (ack, waiter) = Ack::pair();
        drop(ack);
        assert_eq!(waiter.await, AckDecision::Nack);

        let (ack, waiter) = Ack::pair();
        let later = tokio::spawn(waiter);
        ack.reject("spam");
        assert_eq!(later.await.unwrap(), AckDecision::Reject("spam"));
    }
}
