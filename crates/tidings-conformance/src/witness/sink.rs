//! Gives each message a stamp: [`StampingSink`].

use super::{Book, STAMP};
use std::sync::Arc;
use tidings_core::{BoxFuture, Outgoing, PublishError, Receipt, Sink};

#[derive(Debug)]
pub(super) struct StampingSink {
    pub(super) inner: Arc<dyn Sink>,
    pub(super) book: Arc<Book>,
}

impl StampingSink {
    fn stamp(&self, mut outgoing: Outgoing) -> (Outgoing, u64) {
        let stamp = self.book.sends(&outgoing.destination, &outgoing.message);
        let headers = outgoing.message.headers_mut();
        // A letter that goes back has one of its first way.
        let written = headers.edit(|writer| writer.set(STAMP, stamp.to_string()));
        written.expect("a stamp is small");
        (outgoing, stamp)
    }

    fn note(&self, destination: Arc<str>, stamp: u64, receipt: Receipt) -> Receipt {
        let book = self.book.clone();
        Receipt::boxed(async move {
            let answer = receipt.await;
            book.is_kept(&destination, stamp, answer.is_ok());
            answer
        })
    }
}

impl Sink for StampingSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let (outgoing, stamp) = self.stamp(outgoing);
        let destination = outgoing.destination.clone();
        self.note(destination, stamp, self.inner.publish(outgoing))
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        let stamped: Vec<_> = outgoing.into_iter().map(|one| self.stamp(one)).collect();
        let noted: Vec<_> = stamped
            .iter()
            .map(|(outgoing, stamp)| (outgoing.destination.clone(), *stamp))
            .collect();
        let outgoing = stamped.into_iter().map(|(outgoing, _)| outgoing).collect();
        let receipts = self.inner.publish_all(outgoing).into_iter().zip(noted);
        receipts
            .map(|(receipt, (destination, stamp))| self.note(destination, stamp, receipt))
            .collect()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}
