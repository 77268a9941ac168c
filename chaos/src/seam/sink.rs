//! The sending side: [`SeamSink`].

use crate::history::{Acked, Event, Seen, Send};
use crate::plant::Plant;
use crate::points::Point;
use crate::service::{ORDERS, Parcel, World, digest, letter};
use std::sync::Arc;
use tidings_core::{BoxFuture, Diagnosis, Message, Outgoing, Position, PublishError, Receipt, Sink, names};

/// Another sink, watched.
#[derive(Debug)]
pub(super) struct SeamSink {
    inner: Arc<dyn Sink>,
    world: World,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Publish,
    Park,
    DeadLetter,
}

impl Purpose {
    fn of(destination: &str) -> Self {
        match destination.rsplit_once('.') {
            Some((_, "DLT")) => Self::DeadLetter,
            Some((_, "retry")) => Self::Park,
            _ => Self::Publish,
        }
    }

    fn places(self) -> (Point, Point) {
        match self {
            Self::Publish => (Point::PublishBefore, Point::PublishAfter),
            Self::Park => (Point::ParkBefore, Point::ParkAfter),
            Self::DeadLetter => (Point::DeadLetterBefore, Point::DeadLetterAfter),
        }
    }
}

/// What is to be written down when a message is acknowledged.
struct Noted {
    world: World,
    purpose: Purpose,
    id: String,
    destination: Arc<str>,
    message: Message,
}

impl Noted {
    fn acked(&self, position: &Position) {
        let history = &self.world.history;
        if self.purpose == Purpose::DeadLetter {
            let diagnosis = Diagnosis::from_headers(self.message.headers().view());
            let (key, payload) = parts(&self.message);
            history.write(Event::DeadLetter(letter(Seen::Written, key, payload, diagnosis)));
        }
        history.write(Event::Acked(Acked {
            topic: self.destination.to_string(),
            id: self.id.clone(),
            partition: position.partition(),
            offset: position.offset(),
        }));
        self.world.points.pass(self.purpose.places().1);
    }

    /// The receipt, which writes down its own end.
    fn over(self, receipt: Receipt) -> Receipt {
        Receipt::boxed(async move {
            let result = receipt.await;
            if let Ok(position) = &result {
                self.acked(position);
            }
            result
        })
    }
}

fn parts(message: &Message) -> (Option<&[u8]>, Option<&[u8]>) {
    (
        message.key().map(AsRef::as_ref),
        message.payload().map(AsRef::as_ref),
    )
}

impl SeamSink {
    pub(super) fn new(inner: Arc<dyn Sink>, world: World) -> Self {
        Self { inner, world }
    }

    fn note(&self, outgoing: &Outgoing) -> Noted {
        let purpose = Purpose::of(&outgoing.destination);
        let (key, payload) = parts(&outgoing.message);
        let parcel = Parcel::read(key, payload);
        self.world.history.write(Event::Send(Send {
            topic: outgoing.destination.to_string(),
            id: parcel.id.clone(),
            key: parcel.key,
            sequence: parcel.sequence,
            digest: digest(key, payload),
            group: Diagnosis::from_headers(outgoing.message.headers().view())
                .group
                .filter(|_| purpose == Purpose::DeadLetter),
        }));
        self.world.points.pass(purpose.places().0);
        Noted {
            world: self.world.clone(),
            purpose,
            id: parcel.id,
            destination: outgoing.destination.clone(),
            message: outgoing.message.clone(),
        }
    }

    /// The bugs of this side. A message that comes back is published as it is.
    fn plant(&self, noted: &Noted, mut outgoing: Outgoing) -> Result<Outgoing, Receipt> {
        let world = &self.world;
        let is_letter = noted.purpose == Purpose::DeadLetter;
        let is_order = &*outgoing.destination == ORDERS;
        if is_order && world.has_every(Plant::DropOnFullQueue, 25)
            || is_letter && world.has(Plant::DeadLetterNotWritten)
        {
            let nowhere = Position::new(outgoing.destination, 0, u64::MAX);
            return Err(Receipt::ready(Ok(nowhere)));
        }
        if is_letter && world.has(Plant::DeadLetterMangled) {
            outgoing.message = outgoing
                .message
                .with_payload(Some(format!("{}|0|", noted.id).into()));
        }
        if is_order && world.has_every(Plant::Invent, 25) {
            let ghost = Parcel {
                id: format!("ghost{}", noted.id),
                key: "ghost".to_owned(),
                sequence: 1,
            };
            // Nobody waits for it: it is not there.
            drop(self.inner.publish(Outgoing::new(ORDERS, ghost.message(9))));
        }
        if is_order && world.has_every(Plant::DeadLetterOfHandled, 25) {
            drop(self.inner.publish(false_letter(&outgoing.message)));
        }
        Ok(outgoing)
    }
}

/// A dead letter of a message that nobody has failed to handle.
fn false_letter(message: &Message) -> Outgoing {
    let mut message = message.clone();
    for (name, value) in [
        (names::GROUP, "audit"),
        (names::REASON, "permanent"),
        (names::ERROR, "none"),
        (names::ATTEMPTS, "1"),
    ] {
        // Too many headers would only make the letter more conspicuous.
        let _ = message.headers_mut().set(name, value);
    }
    Outgoing::new(format!("{ORDERS}.DLT"), message)
}

impl Sink for SeamSink {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let noted = self.note(&outgoing);
        match self.plant(&noted, outgoing) {
            Ok(outgoing) => noted.over(self.inner.publish(outgoing)),
            Err(planted) => noted.over(planted),
        }
    }

    fn publish_all(&self, outgoing: Vec<Outgoing>) -> Vec<Receipt> {
        if self.world.plant.is_some() {
            return outgoing.into_iter().map(|one| self.publish(one)).collect();
        }
        let noted: Vec<_> = outgoing.iter().map(|one| self.note(one)).collect();
        let receipts = self.inner.publish_all(outgoing);
        noted
            .into_iter()
            .zip(receipts)
            .map(|(noted, receipt)| noted.over(receipt))
            .collect()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        self.inner.flush()
    }
}
