//! What a delivery does to the outside beside its handler: publishing outputs, parking, dead letters. Each is tried
//! until the broker keeps the message or refuses it for good; in between the status says what stands in the way.

use crate::replies::{self, Answers};
use crate::status::StatusBoard;
use sha1::{Digest, Sha1};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidings_core::{
    Delivery, HandlerContext, Outgoing, Output, Outputs, Position, PublishError, Publisher, Receipt, Sink,
};
use tokio::time::Instant;
use uuid::fmt::Hyphenated;
use uuid::{Builder, Uuid};

/// The first wait before a publish is tried again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What an obstacle calls them.
const OUTPUT: &str = "what the handler returned";
const REPLY: &str = "a reply";

/// Ids of messages that handlers return are derived from this, the input's id, the subscription and the place.
const OUTPUT_IDS: Uuid = Uuid::from_u128(0x6f1d_1c26_8f5e_5b0a_9d6a_7469_6469_6e67);

/// An obstacle on the status board, taken away when this is dropped.
struct Obstacle<'a> {
    board: &'a StatusBoard,
    number: u64,
}

impl<'a> Obstacle<'a> {
    fn new(board: &'a StatusBoard) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(crate::status::OBSTACLES_OF_SOURCE);
        Self {
            board,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn say(&self, text: String) {
        self.board.set_obstacle(self.number, Some(text));
    }
}

impl Drop for Obstacle<'_> {
    fn drop(&mut self) {
        self.board.set_obstacle(self.number, None);
    }
}

/// How effects are carried out.
#[derive(Debug, Clone)]
pub(crate) struct Effects {
    pub(crate) board: Arc<StatusBoard>,
    /// How long one try may take.
    pub(crate) timeout: Duration,
    /// What is in doubt cannot be tried again: it might be part of the transaction twice.
    pub(crate) in_transaction: bool,
}

/// One message that a handler returned, as the broker gets it.
pub(crate) struct PreparedOne {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) outgoing: Outgoing,
    /// It goes where a request says, and nothing waits for ever for that.
    pub(crate) is_reply: bool,
}

/// What a handler returned, as the broker gets it. It may be nothing: a reply that goes nowhere.
pub(crate) enum Prepared {
    /// Most return no more.
    One(PreparedOne),
    Many(Vec<PreparedOne>),
}

impl Prepared {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(all) if all.is_empty())
    }

    /// Without where they would be sent.
    pub(crate) fn into_messages(self) -> Vec<Outgoing> {
        self.into_all()
            .into_iter()
            .map(|(_, outgoing)| outgoing)
            .collect()
    }

    fn into_all(self) -> Vec<(Arc<dyn Sink>, Outgoing)> {
        let all = match self {
            Self::One(one) => vec![one],
            Self::Many(all) => all,
        };
        all.into_iter().map(|one| (one.sink, one.outgoing)).collect()
    }
}

/// Makes messages of what a handler returned, because of that message. Each has an id that is the same when the handler
/// runs again.
///
/// # Errors
/// A permanent one.
pub(crate) fn prepare(
    publisher: &Publisher,
    channel: Option<&str>,
    outputs: Outputs,
    cause: Option<&Delivery>,
    id: &OutputId,
    answers: &Answers,
) -> Result<Prepared, PublishError> {
    let prepare = |index, output: Output| -> Result<Option<PreparedOne>, PublishError> {
        let id = id.of(index);
        let id = std::str::from_utf8(&id).ok();
        let is_reply = output.is_reply();
        let prepared = match is_reply {
            true => answers.prepare(publisher, output, cause, id)?,
            false => Some(publisher.prepare_output(channel, output, cause, id)?),
        };
        Ok(prepared.map(|(sink, outgoing)| PreparedOne {
            sink,
            outgoing,
            is_reply,
        }))
    };
    Ok(match outputs {
        Outputs::One(output) => prepare(0, *output)?.map_or(Prepared::Many(Vec::new()), Prepared::One),
        outputs => {
            let numbered = outputs.into_iter().enumerate();
            let all: Result<_, _> = numbered
                .filter_map(|(index, output)| prepare(index, output).transpose())
                .collect();
            Prepared::Many(all?)
        }
    })
}

impl Effects {
    /// Publishes until the broker keeps the message.
    ///
    /// # Errors
    /// A permanent one; anything else is tried again, unless it is in a transaction.
    pub(crate) async fn keep(
        self,
        what: &'static str,
        sink: Arc<dyn Sink>,
        message: Outgoing,
    ) -> Result<Position, PublishError> {
        match self.attempt(&sink, message.clone()).await {
            Err(error) if !error.is_permanent() && !self.in_transaction => {
                let mut positions = self.insist(what, &[(sink, message)], error, None).await?;
                positions.pop().ok_or(PublishError::Closed)
            }
            result => result,
        }
    }

    /// As [`keep`](Self::keep), but never gives up: for what may not be lost, whatever the broker says.
    ///
    /// # Errors
    /// In a transaction, what leaves it in doubt whether the message is part of it.
    pub(crate) async fn keep_for_ever(
        self,
        what: &'static str,
        sink: Arc<dyn Sink>,
        message: Outgoing,
    ) -> Result<Position, PublishError> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.clone().keep(what, sink.clone(), message.clone()).await {
                Ok(position) => return Ok(position),
                Err(error) if self.in_transaction && !error.is_permanent() => return Err(error),
                Err(error) => {
                    let obstacle = Obstacle::new(&self.board);
                    obstacle.say(format!("cannot write {what}: {error}"));
                    tokio::time::sleep(jittered(wait)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// Publishes what a handler returned, in order.
    ///
    /// # Errors
    /// A permanent one.
    pub(crate) async fn publish(self, prepared: Result<Prepared, PublishError>) -> Result<(), PublishError> {
        let prepared = prepared?.into_all();
        let receipts: Vec<_> = prepared
            .iter()
            .map(|(sink, message)| sink.publish(message.clone()))
            .collect();
        let mut refused = None;
        for receipt in receipts {
            match tokio::time::timeout(self.timeout, receipt).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.is_permanent() => return Err(error),
                Ok(Err(error)) => refused = Some(error),
                Err(_) => refused = Some(self.timed_out(&prepared)),
            }
        }
        match refused {
            // All again, in order: only so do they keep it. Who takes them knows them by their ids.
            Some(error) if self.in_transaction => Err(error),
            Some(error) => self.insist(OUTPUT, &prepared, error, None).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Publishes a message that was refused for now until the broker keeps it, once everything that was published behind
    /// it was answered for, or has taken too long.
    ///
    /// # Errors
    /// A permanent one; any for a message that is tried for some time only.
    pub(crate) async fn keep_after(
        self,
        behind: Vec<Receipt>,
        message: (Arc<dyn Sink>, Outgoing),
        error: PublishError,
        patience: Option<Duration>,
    ) -> Result<Position, PublishError> {
        let answers = async {
            for receipt in behind {
                // It is published again, whatever the answer is.
                let _ = receipt.await;
            }
        };
        let _ = tokio::time::timeout(self.timeout, answers).await;
        let mut positions = self.insist(OUTPUT, &[message], error, patience).await?;
        positions.pop().ok_or(PublishError::Closed)
    }

    async fn insist(
        &self,
        what: &'static str,
        messages: &[(Arc<dyn Sink>, Outgoing)],
        first: PublishError,
        patience: Option<Duration>,
    ) -> Result<Vec<Position>, PublishError> {
        let obstacle = Obstacle::new(&self.board);
        let begun = Instant::now();
        let (mut error, mut wait) = (first, FIRST_WAIT);
        loop {
            if patience.is_some_and(|patience| begun.elapsed() + wait > patience) {
                return Err(error);
            }
            obstacle.say(format!("cannot write {what}: {error}"));
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            match self.attempt_all(messages).await {
                Err(refused) if !refused.is_permanent() => error = refused,
                result => return result,
            }
        }
    }

    async fn attempt_all(
        &self,
        messages: &[(Arc<dyn Sink>, Outgoing)],
    ) -> Result<Vec<Position>, PublishError> {
        let mut positions = Vec::with_capacity(messages.len());
        for (sink, message) in messages {
            positions.push(self.attempt(sink, message.clone()).await?);
        }
        Ok(positions)
    }

    async fn attempt(&self, sink: &Arc<dyn Sink>, message: Outgoing) -> Result<Position, PublishError> {
        let destination = message.destination.clone();
        match tokio::time::timeout(self.timeout, sink.publish(message)).await {
            Ok(result) => result,
            Err(_) => Err(PublishError::Timeout {
                destination,
                after: self.timeout,
            }),
        }
    }

    /// Sends a reply, for as long as that is worth the waiting, and counts what becomes of it.
    ///
    /// # Errors
    /// In a transaction, what leaves it in doubt whether the message is part of it.
    pub(crate) async fn reply(self, sink: Arc<dyn Sink>, message: Outgoing) -> Result<(), PublishError> {
        let mut result = self.attempt(&sink, message.clone()).await;
        if let Err(error) = &result {
            if self.in_transaction && !error.is_permanent() {
                return Err(error.clone());
            }
            if replies::is_tried_again(error) {
                let (error, patience) = (error.clone(), Some(replies::PATIENCE));
                let tried = self.insist(REPLY, &[(sink, message)], error, patience).await;
                result = tried.and_then(|mut kept| kept.pop().ok_or(PublishError::Closed));
            }
        }
        self.board.replies.count(&result.map(|_| ()));
        Ok(())
    }

    fn timed_out(&self, messages: &[(Arc<dyn Sink>, Outgoing)]) -> PublishError {
        let destination = messages
            .first()
            .map_or_else(|| "".into(), |(_, message)| message.destination.clone());
        PublishError::Timeout {
            destination,
            after: self.timeout,
        }
    }
}

/// That wait, up to a quarter shorter: many that wait for one broker should not come back at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - fastrand::f64() / 4.0)
}

/// What the ids of outputs are derived from: the input, the subscription and the place among the outputs.
#[derive(Debug, Clone)]
pub(crate) struct OutputId {
    /// The beginning of what is hashed, up to the place.
    begun: Sha1,
}

impl OutputId {
    fn begun(name: &str, context: &HandlerContext) -> Self {
        let mut begun = Sha1::new();
        for part in [
            OUTPUT_IDS.as_bytes(),
            name.as_bytes(),
            b"|",
            context.subscription.as_bytes(),
            b"|",
        ] {
            begun.update(part);
        }
        Self { begun }
    }

    /// For what the handling of this delivery returns.
    pub(crate) fn new(delivery: &Delivery, context: &HandlerContext) -> Self {
        match delivery.message_id() {
            Some(id) => Self::begun(id, context),
            None => Self::begun(&delivery.position().to_string(), context),
        }
    }

    /// For what a batch handler returns for these deliveries.
    pub(crate) fn of_batch<'a>(
        deliveries: impl Iterator<Item = &'a Delivery>,
        context: &HandlerContext,
    ) -> Self {
        let mut all = Sha1::new_with_prefix(OUTPUT_IDS.as_bytes());
        for delivery in deliveries {
            all.update(name_of(delivery));
            all.update("|");
        }
        Self::begun(&version_5(all).to_string(), context)
    }

    /// The id of the output at that place, as text.
    pub(crate) fn of(&self, index: usize) -> [u8; Hyphenated::LENGTH] {
        let mut whole = self.begun.clone();
        match u8::try_from(index) {
            // Most return one.
            Ok(index @ 0..=9) => whole.update([b'0' + index]),
            _ => whole.update(index.to_string()),
        }
        let mut text = [0; Hyphenated::LENGTH];
        version_5(whole).hyphenated().encode_lower(&mut text);
        text
    }
}

/// A UUID of version 5 (RFC 9562), of names that begin with their namespace, by an SHA-1 that uses what the processor has
/// for it.
fn version_5(name: Sha1) -> Uuid {
    let digest = name.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

/// What tells a message from every other: its id, or else its place.
fn name_of(delivery: &Delivery) -> String {
    match delivery.message_id() {
        Some(id) => id.to_owned(),
        None => delivery.position().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tidings_core::{Clock, Routes};

    #[test]
    fn ids_are_of_version_5_and_say_input_subscription_and_place() {
        let context = HandlerContext {
            app: "shop".into(),
            subscription: "billing".into(),
            group: None,
            publisher: Publisher::new(Arc::new(Routes::default()), Clock::System),
            clock: Clock::System,
        };
        let id = OutputId::begun("m-7", &context);
        for index in [0, 1, 9, 10, 255, 256, 12_345] {
            let name = format!("m-7|billing|{index}");
            let expected = Uuid::new_v5(&OUTPUT_IDS, name.as_bytes()).to_string();
            assert_eq!(std::str::from_utf8(&id.of(index)), Ok(&*expected));
        }
    }
}
