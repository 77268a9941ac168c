//! What was sent and is not answered or not taken out yet: [`Flight`].

use super::lsn::Lsn;
use crate::outbox::rows::Row;
use crate::relay::batch::Batch;
use crate::relay::verdicts::{Answer, ParkedKeys};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// How long a channel that is not answered keeps the others waiting.
pub(super) const UNANSWERED: Duration = Duration::from_secs(2);

/// Messages that were sent together.
#[derive(Debug)]
struct Sent {
    batch: Batch,
    /// The last transaction that ends with these.
    end: Option<Lsn>,
    bytes: usize,
}

/// Batches in the order in which they were sent, which is that of the commits.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    batches: VecDeque<Sent>,
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
    /// Those were sent, and have so many bytes.
    pub(crate) fn add(&mut self, batch: Batch, bytes: usize) {
        self.messages += batch.rows().len();
        self.bytes += bytes;
        self.batches.push_back(Sent {
            batch,
            end: None,
            bytes,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// What is under way.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.batches.iter().flat_map(|sent| sent.batch.rows())
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

    /// Since when the next answer is waited for.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.batches.get(self.answered).map(|sent| sent.batch.sent_at())
    }

    /// Ready when another batch has all its answers.
    pub(crate) fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let before = self.answered;
        while let Some(sent) = self.batches.get_mut(self.answered) {
            if sent.batch.poll_answers(context).is_pending() {
                break;
            }
            self.odd |= sent.batch.answers().any(|(_, answer)| *answer != Answer::Taken);
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

    /// Parts with what is not answered: all that there is of each such channel, in a batch of its own.
    pub(crate) fn part(&mut self) -> Vec<Batch> {
        self.hear();
        if self.is_answered() {
            return Vec::new();
        }
        let bytes = self.batches.iter().map(|sent| sent.bytes).sum();
        let joined = Batch::join(self.batches.drain(..).map(|sent| sent.batch));
        let (batch, unanswered) = joined.map(Batch::part).unzip();
        let unanswered: Vec<Batch> = unanswered.unwrap_or_default();
        self.messages -= unanswered.iter().map(|batch| batch.rows().len()).sum::<usize>();
        self.answered = 0;
        self.batches.extend(batch.map(|batch| Sent {
            batch,
            // What was parted with comes before it.
            end: None,
            bytes,
        }));
        self.hear();
        unanswered
    }

    /// Why nothing more is to be sent, if something that was answered keeps its key back.
    pub(crate) fn obstacle(&self, parked_keys: ParkedKeys) -> Option<String> {
        if !self.odd {
            return None;
        }
        let answered = self.batches.iter().take(self.answered);
        let mut answers = answered.flat_map(|sent| sent.batch.answers());
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
        for sent in self.batches.drain(..self.answered) {
            let (rows, answers) = sent.batch.into_answers();
            landed.messages += rows.len();
            landed.bytes += sent.bytes;
            landed.end = sent.end.or(landed.end);
            match landed.rows.is_empty() {
                true => (landed.rows, landed.answers) = (rows, answers),
                false => {
                    landed.rows.extend(rows);
                    landed.answers.extend(answers);
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
