//! Rows that were sent together, and what the broker says of each: [`Batch`].

use super::outlet::Outlet;
use super::verdicts::Answer;
use crate::outbox::rows::Row;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tidings_core::{Outgoing, PublishError, Receipt};
use tokio::time::Instant;

/// Rows that were sent, without their messages, which the broker has.
#[derive(Debug)]
pub(crate) struct Batch {
    rows: Vec<Row>,
    said: Vec<Said>,
    /// So many of the first ones are answered.
    answered: usize,
    after: Duration,
    deadline: Instant,
}

#[derive(Debug)]
enum Said {
    NotYet(Receipt),
    This(Answer),
}

impl Batch {
    /// Sends rows. Their answers are waited for until `after` is over.
    pub(crate) fn send(outlet: &mut Outlet, mut rows: Vec<Row>, after: Duration) -> Self {
        let mut outgoing: Vec<Outgoing> = Vec::with_capacity(rows.len());
        let take = |row: &mut Row| match std::mem::replace(&mut row.outgoing, Err(String::new())) {
            Ok(message) => {
                outgoing.push(message);
                None
            }
            Err(reason) => Some(Answer::Refused(format!("the row holds no message: {reason}"))),
        };
        let refused: Vec<Option<Answer>> = rows.iter_mut().map(take).collect();
        let mut receipts = outlet.publish_all(outgoing).into_iter();
        // A sink that forgets a message has not taken it.
        let mut receipt = || {
            receipts
                .next()
                .unwrap_or_else(|| Receipt::failed(PublishError::Closed))
        };
        let said = refused
            .into_iter()
            .map(|refused| refused.map_or_else(|| Said::NotYet(receipt()), Said::This));
        Self {
            said: said.collect(),
            rows,
            answered: 0,
            after,
            deadline: Instant::now() + after,
        }
    }

    /// None without rows.
    pub(crate) fn channel(&self) -> Option<&Arc<str>> {
        self.rows.first().map(|row| &row.channel)
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Until when the answers are waited for.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn sent_at(&self) -> Instant {
        self.deadline - self.after
    }

    /// Ready when all are answered.
    pub(crate) fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(said) = self.said.get_mut(self.answered) {
            if said.poll(context).is_pending() {
                return Poll::Pending;
            }
            self.answered += 1;
        }
        Poll::Ready(())
    }

    /// Waits no longer for what is not answered.
    pub(crate) fn give_up(&mut self) {
        for (row, said) in self.rows.iter().zip(&mut self.said).skip(self.answered) {
            // Some may be answered behind one that is not.
            if said.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                *said = Said::This(Answer::of::<()>(Err(PublishError::Timeout {
                    destination: row.channel.clone(),
                    after: self.after,
                })));
            }
        }
        self.answered = self.said.len();
    }

    /// The answers that are there, of the first rows.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&Row, &Answer)> {
        let answers = self.rows.iter().zip(&self.said).take(self.answered);
        answers.filter_map(|(row, said)| match said {
            Said::This(answer) => Some((row, answer)),
            Said::NotYet(_) => None,
        })
    }

    /// Takes apart what is answered; before that, only its first rows.
    pub(crate) fn into_answers(self) -> (Vec<Row>, Vec<Answer>) {
        let answer = |said| match said {
            Said::This(answer) => Some(answer),
            Said::NotYet(_) => None,
        };
        let answers: Vec<Answer> = self.said.into_iter().map_while(answer).collect();
        (self.rows, answers)
    }

    /// One of several, in their order; none of none.
    pub(crate) fn join(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut first, next| {
            first.rows.extend(next.rows);
            first.said.extend(next.said);
            first.deadline = next.deadline;
            first
        })
    }

    /// Those of channels that are answered, and the others by their channels.
    pub(crate) fn part(mut self) -> (Self, Vec<Self>) {
        // Some may be answered behind one that is not.
        for said in &mut self.said {
            let _ = said.poll(&mut Context::from_waker(Waker::noop()));
        }
        let (after, deadline) = (self.after, self.deadline);
        let empty = || Self {
            rows: Vec::new(),
            said: Vec::new(),
            answered: 0,
            after,
            deadline,
        };
        let unanswered = |said: &Said| matches!(said, Said::NotYet(_));
        let slow = self
            .rows
            .iter()
            .zip(&self.said)
            .filter(|(_, said)| unanswered(said));
        let mut slow: HashMap<Arc<str>, Self> = slow.map(|(row, _)| (row.channel.clone(), empty())).collect();
        let mut answered = empty();
        for (row, said) in self.rows.into_iter().zip(self.said) {
            let part = slow.get_mut(&row.channel).unwrap_or(&mut answered);
            part.rows.push(row);
            part.said.push(said);
        }
        answered.answered = answered.rows.len();
        (answered, slow.into_values().collect())
    }
}

impl Said {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Self::NotYet(receipt) = self {
            match Pin::new(receipt).poll(context) {
                Poll::Ready(result) => *self = Self::This(Answer::of(result)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}
