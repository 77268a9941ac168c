//! A relay's way to the broker, watched, killed and spoilt: [`Sending`].

use super::place::Place;
use super::plant::SqlPlant;
use super::scene::Steps;
use std::sync::Arc;
use tidings::{Position, PublishError, Receipt};
use tidings_core::{BoxFuture, Outgoing, Sink};

/// What stands between a relay and the broker.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) inner: Arc<dyn Sink>,
    pub(super) steps: Steps,
    pub(super) plant: Option<SqlPlant>,
}

impl Sink for Sending {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let destination = outgoing.destination.clone();
        let receipt = self.inner.publish(outgoing);
        match self.plant {
            Some(SqlPlant::TakenBeforeConfirm) => Receipt::ready(Ok(Position::new(destination, 0, 0))),
            _ => receipt,
        }
    }

    fn publish_all(&self, mut outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        self.steps.pass(Place::RelayRead);
        if self.plant == Some(SqlPlant::ReorderBatch) {
            outgoing.reverse();
        }
        let half = outgoing.len() / 2;
        let mut receipts = Vec::with_capacity(outgoing.len());
        for (place, one) in outgoing.into_iter().enumerate() {
            if place == half {
                self.steps.pass(Place::RelayAmid);
            }
            receipts.push(self.publish(one));
        }
        // The last answer stands for all: a broker answers in order.
        if let Some(last) = receipts.pop() {
            let steps = self.steps.clone();
            receipts.push(Receipt::boxed(async move {
                let answer = last.await;
                steps.pass(Place::RelaySent);
                answer
            }));
        }
        if self.plant == Some(SqlPlant::ReorderBatch) {
            receipts.reverse();
        }
        receipts
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}
