//! What was sent and is not answered or not taken out yet: [`Flight`].

use super::lsn::Lsn;
use crate::outbox::rows::Row;
use crate::relay::outlet::Outlet;
use crate::relay::verdicts::{Answer, ParkedKeys};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tidings_core::{Outgoing, PublishError, Receipt};
use tokio::time::Instant;

/// Messages that were sent together.
#[derive(Debug)]
struct Batch {
    /// Without their messages, which the broker has.
    rows: Vec<Row>,
    /// Those of the first rows.
    answers: Vec<Answer>,
    /// Of the other ones; none where the row holds no message.
    receipts: VecDeque<Option<Receipt>>,
    /// The last transaction that ends with these.
    end: Option<Lsn>,
    bytes: usize,
    deadline: Instant,
}

/// Batches in the order in which they were sent, which is that of the commits.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    batches: VecDeque<Batch>,
    /// How many of the first ones have all their answers.
    answered: usize,
    messages: usize,
    bytes: usize,
    /// Whether some answer is not that the message was taken.
    odd: bool,
}

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Landed {
    pub(crate) rows: Vec<Row>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) end: Option<Lsn>,
    messages: usize,
    bytes: usize,
}

impl Flight {
    /// Sends rows. Their answers are waited for until `after` is over.
    pub(crate) fn send(&mut self, outlet: &Outlet, mut rows: Vec<Row>, bytes: usize, after: Duration) {
        let mut outgoing: Vec<Outgoing> = Vec::with_capacity(rows.len());
        let mut holds_message: Vec<bool> = Vec::with_capacity(rows.len());
        for row in &mut rows {
            let taken = match &mut row.outgoing {
                Ok(_) => std::mem::replace(&mut row.outgoing, Err(String::new())).ok(),
                Err(_) => None,
            };
            holds_message.push(taken.is_some());
            outgoing.extend(taken);
        }
        let mut receipts = outlet.publish_all(outgoing).into_iter();
        // A sink that forgets a message has not taken it.
        let mut next = || {
            receipts
                .next()
                .unwrap_or_else(|| Receipt::failed(PublishError::Closed))
        };
        self.messages += rows.len();
        self.bytes += bytes;
        self.batches.push_back(Batch {
            answers: Vec::with_capacity(rows.len()),
            receipts: holds_message.iter().map(|holds| holds.then(&mut next)).collect(),
            rows,
            end: None,
            bytes,
            deadline: Instant::now() + after,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// What is under way.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.batches.iter().flat_map(|batch| &batch.rows)
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A transaction ends behind what was sent last; whether there is something.
    pub(crate) fn ends(&mut self, end: Lsn) -> bool {
        let last = self.batches.back_mut();
        last.map(|last| last.end = Some(end)).is_some()
    }

    /// Whether every answer is there.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered == self.batches.len()
    }

    /// Until when the next answer is waited for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.batches.get(self.answered).map(|batch| batch.deadline)
    }

    /// Ready when another batch has all its answers.
    pub(crate) fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let before = self.answered;
        while let Some(batch) = self.batches.get_mut(self.answered) {
            match batch.poll_answers(context) {
                Poll::Ready(odd) => self.odd |= odd,
                Poll::Pending => break,
            }
            self.answered += 1;
        }
        match self.answered > before {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Takes the answers that are there, without waiting for others.
    pub(crate) fn hear(&mut self) {
        // Whoever waits asks again.
        let _ = self.poll_answers(&mut Context::from_waker(Waker::noop()));
    }

    /// Waits no longer for the answers that are due.
    pub(crate) fn give_up(&mut self, now: Instant, after: Duration) {
        while let Some(batch) = self.batches.get_mut(self.answered)
            && batch.deadline <= now
        {
            while batch.receipts.pop_front().is_some() {
                let destination = batch.rows.get(batch.answers.len()).map(|row| row.channel.clone());
                batch.answers.push(Answer::of::<()>(Err(PublishError::Timeout {
                    destination: destination.unwrap_or_default(),
                    after,
                })));
            }
            self.answered += 1;
            self.odd = true;
        }
    }

    /// Why nothing more is to be sent, if something that was answered keeps its key back.
    pub(crate) fn obstacle(&self, parked_keys: ParkedKeys) -> Option<String> {
        if !self.odd {
            return None;
        }
        let answered = self.batches.iter().take(self.answered);
        let mut answers = answered.flat_map(|batch| batch.rows.iter().zip(&batch.answers));
        answers.find_map(|(row, answer)| match answer {
            Answer::NotNow(reason) => Some(format!("channel \"{}\": {reason}", row.channel)),
            Answer::Refused(reason) if parked_keys == ParkedKeys::Wait => {
                Some(format!("a message for \"{}\" is parked: {reason}", row.channel))
            }
            Answer::Refused(_) | Answer::Taken => None,
        })
    }

    /// Takes what was answered. It counts until it is [`gone`](Self::gone).
    pub(crate) fn land(&mut self) -> Landed {
        let mut landed = Landed::default();
        for batch in self.batches.drain(..self.answered) {
            landed.messages += batch.rows.len();
            landed.bytes += batch.bytes;
            landed.end = batch.end.or(landed.end);
            match landed.rows.is_empty() {
                true => (landed.rows, landed.answers) = (batch.rows, batch.answers),
                false => {
                    landed.rows.extend(batch.rows);
                    landed.answers.extend(batch.answers);
                }
            }
        }
        self.answered = 0;
        self.odd = false;
        landed
    }

    /// That is out of the outbox.
    pub(crate) fn gone(&mut self, landed: &Landed) {
        self.messages = self.messages.saturating_sub(landed.messages);
        self.bytes = self.bytes.saturating_sub(landed.bytes);
    }
}

impl Batch {
    /// Whether some answer is not that the message was taken.
    fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        while let Some(first) = self.receipts.front_mut() {
            let answer = match first {
                Some(receipt) => match Pin::new(receipt).poll(context) {
                    Poll::Ready(result) => Answer::of(result),
                    Poll::Pending => return Poll::Pending,
                },
                None => {
                    let row = self.rows.get(self.answers.len());
                    let reason = row.and_then(|row| row.outgoing.as_ref().err());
                    Answer::Refused(format!(
                        "the row holds no message: {}",
                        reason.map_or("", String::as_str)
                    ))
                }
            };
            self.receipts.pop_front();
            self.answers.push(answer);
        }
        Poll::Ready(self.answers.iter().any(|answer| *answer != Answer::Taken))
    }
}
