//! What handlers of a lane returned and the broker has not kept yet, in order: [`Pipeline`].
//!
//! A broker keeps the order in which it is called, so the next message is handled as soon as what the one before returned
//! was handed over: one that is a millisecond away would otherwise bring a lane down to a thousand messages a second. Only
//! the position waits for the broker's answer.
//!
//! When the broker does not take a message for now, it and everything behind it is published again, in order, once it
//! does. What comes twice has the same id.

use crate::effects::{Effects, Prepared, PreparedOne};
use crate::ledger::Ticket;
use crate::replies;
use crate::tasks::TaskId;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tidings_core::{BoxFuture, Delivery, Outgoing, Position, PublishError, Receipt, Sink};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

/// Whose outputs they are.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    Task(TaskId),
    /// A message that was handled in turn and is no task.
    Handled(Delivery, Ticket),
}

/// One output on its way.
struct Entry {
    owner: Owner,
    /// It is the last of its owner.
    last: bool,
    sink: Arc<dyn Sink>,
    outgoing: Outgoing,
    is_reply: bool,
    /// None while it is to be published again, or for the first time behind one that is.
    receipt: Option<Receipt>,
    /// When it has taken too long.
    deadline: Instant,
}

/// The broker has answered for all outputs of a message.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) owner: Owner,
    pub(crate) result: Result<(), PublishError>,
}

/// What is known of the output at the head.
enum Answer {
    Given(Result<Position, PublishError>),
    /// It is a reply, and what is behind it waits no longer.
    Overdue,
}

/// What a message's handler returned, handed to the broker or kept back.
#[expect(
    clippy::large_enum_variant,
    reason = "most return one, and it is moved where it is needed at once"
)]
pub(crate) enum Sent {
    /// Most return no more.
    One(SentOne),
    Many(Vec<SentOne>),
}

/// Without a receipt it was kept back.
type SentOne = (PreparedOne, Option<Receipt>);

impl Sent {
    /// Hands it to the broker, unless it is to be kept back.
    pub(crate) fn new(prepared: Prepared, held: bool) -> Self {
        let send = |one: PreparedOne| {
            let receipt = (!held).then(|| one.sink.publish_kept(&one.outgoing));
            (one, receipt)
        };
        match prepared {
            Prepared::One(one) => Self::One(send(one)),
            Prepared::Many(all) => Self::Many(all.into_iter().map(send).collect()),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::One((one, _)) => one.outgoing.message.size(),
            Self::Many(all) => all.iter().map(|(one, _)| one.outgoing.message.size()).sum(),
        }
    }

    /// Whether there is nothing to wait for.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(all) if all.is_empty())
    }
}

/// How much is on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Messages whose outputs they are.
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The outputs of a lane that are on their way.
#[derive(Default)]
pub(crate) struct Pipeline {
    entries: VecDeque<Entry>,
    load: Load,
    /// The first refusal of the message at the head, whose other outputs are still to be answered for.
    refused: Option<PublishError>,
    /// The head is tried until it is kept, and nothing else is published.
    insisting: Option<BoxFuture<'static, Result<Position, PublishError>>>,
    /// Until when the reply at the head is waited for.
    leaves: Option<Instant>,
    /// When somebody looks whether the head has taken too long.
    look: Option<Pin<Box<Sleep>>>,
    /// Whether somebody polls it.
    pub(crate) polled: bool,
    /// How many outputs there ever were, and for how many of them the broker has answered.
    pushed: u64,
    answered: u64,
    /// Who waits until it has answered for so many, the fewest first.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Pipeline {
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Whose outputs are waited for.
    pub(crate) fn head(&self) -> Option<&Owner> {
        self.entries.front().map(|entry| &entry.owner)
    }

    /// Ends when the broker has answered for everything that is on its way now, or nobody waits for that any more; none if
    /// nothing is.
    pub(crate) fn answered(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.entries.is_empty() {
            return None;
        }
        let (told, ends) = oneshot::channel();
        self.waiting.push_back((self.pushed, told));
        Some(ends)
    }

    /// Whether nothing more may be published for now, because the head is tried again.
    pub(crate) fn holds(&self) -> bool {
        self.insisting.is_some()
    }

    /// Follows what a handler returned, which was published behind everything before, or kept back if this
    /// [holds](Self::holds). There is at least one.
    pub(crate) fn push(&mut self, owner: Owner, outputs: Sent, deadline: Instant) {
        match outputs {
            Sent::One(one) => self.push_one(owner, one, true, deadline),
            Sent::Many(all) => {
                let count = all.len();
                debug_assert!(count > 0, "nobody would ever answer for nothing");
                for (place, one) in all.into_iter().enumerate() {
                    self.push_one(owner.clone(), one, place + 1 == count, deadline);
                }
            }
        }
    }

    fn push_one(&mut self, owner: Owner, (one, receipt): SentOne, last: bool, deadline: Instant) {
        let PreparedOne {
            sink,
            outgoing,
            is_reply,
        } = one;
        self.load.messages += usize::from(last);
        self.load.bytes += outgoing.message.size();
        self.pushed += 1;
        self.entries.push_back(Entry {
            owner,
            last,
            sink,
            outgoing,
            is_reply,
            receipt,
            deadline,
        });
    }

    /// Waits for the next message whose outputs were all answered for; none if nothing is on its way.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, effects: &Effects) -> Poll<Option<Ended>> {
        loop {
            if self.entries.is_empty() {
                self.look = None;
                return Poll::Ready(None);
            }
            let (answer, was_tried_again) = match &mut self.insisting {
                Some(insisting) => {
                    let result = ready!(insisting.as_mut().poll(context));
                    self.insisting = None;
                    (Answer::Given(result), true)
                }
                None => (ready!(self.poll_head(context, effects)), false),
            };
            let result = match (self.entries.front(), answer) {
                (_, Answer::Overdue) => Ok(()),
                (Some(head), Answer::Given(result)) if head.is_reply => {
                    end_of_reply(result, was_tried_again, effects)
                }
                (_, Answer::Given(result)) => result.map(|_| ()),
            };
            match result {
                Err(error) if !error.is_permanent() && !effects.in_transaction => self.insist(effects, error),
                result => {
                    if let Some(ended) = self.pop(result) {
                        return Poll::Ready(Some(ended));
                    }
                }
            }
            self.publish_rest(effects);
        }
    }

    /// A reply is waited for as long as it would be tried again: its place is the word of somebody else.
    fn poll_head(&mut self, context: &mut Context<'_>, effects: &Effects) -> Poll<Answer> {
        let Some(head) = self.entries.front_mut() else {
            return Poll::Pending;
        };
        let Some(receipt) = &mut head.receipt else {
            return Poll::Ready(Answer::Given(Err(PublishError::Closed)));
        };
        if let Poll::Ready(result) = Pin::new(receipt).poll(context) {
            return Poll::Ready(Answer::Given(result));
        }
        let is_left = head.is_reply && !effects.in_transaction;
        let deadline = match is_left {
            true => *self
                .leaves
                .get_or_insert_with(|| Instant::now() + effects.timeout.min(replies::PATIENCE)),
            false => head.deadline,
        };
        let look = self.look.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // It may have been set for another head, which had longer.
        if look.deadline() > deadline {
            look.as_mut().reset(deadline);
        }
        while look.as_mut().poll(context).is_ready() {
            if Instant::now() < deadline {
                look.as_mut().reset(deadline);
                continue;
            }
            if let Some(receipt) = head.receipt.take_if(|_| is_left) {
                tokio::spawn(effects.clone().follow_reply(receipt));
                return Poll::Ready(Answer::Overdue);
            }
            return Poll::Ready(Answer::Given(Err(PublishError::Timeout {
                destination: head.outgoing.destination.clone(),
                after: effects.timeout,
            })));
        }
        Poll::Pending
    }

    /// From now on nothing is published but the head, until it is kept. What was published behind it is waited for: no
    /// part of it may come later than what is published again.
    fn insist(&mut self, effects: &Effects, error: PublishError) {
        let Some(head) = self.entries.front() else { return };
        let message = (head.sink.clone(), head.outgoing.clone());
        let patience = head.is_reply.then_some(replies::PATIENCE);
        let behind = self.entries.iter_mut().filter_map(|entry| entry.receipt.take());
        let behind: Vec<_> = behind.skip(1).collect();
        self.insisting = Some(Box::pin(
            effects.clone().keep_after(behind, message, error, patience),
        ));
    }

    /// The head was answered for. The message that ends with it.
    fn pop(&mut self, result: Result<(), PublishError>) -> Option<Ended> {
        let head = self.entries.pop_front()?;
        self.leaves = None;
        self.load.bytes -= head.outgoing.message.size();
        self.answered += 1;
        while let Some((_, told)) = self.waiting.pop_front_if(|(count, _)| *count <= self.answered) {
            // Who does not wait any more need not know.
            let _ = told.send(());
        }
        if let Err(error) = result {
            if !error.is_permanent() {
                // In a transaction, and one doubt is enough.
                self.clear();
                return Some(Ended {
                    owner: head.owner,
                    result: Err(error),
                });
            }
            self.refused.get_or_insert(error);
        }
        if !head.last {
            return None;
        }
        self.load.messages -= 1;
        let result = self.refused.take().map_or(Ok(()), Err);
        Some(Ended {
            owner: head.owner,
            result,
        })
    }

    /// Publishes what was taken back, once the head was kept.
    fn publish_rest(&mut self, effects: &Effects) {
        if self.insisting.is_some() || self.entries.back().is_none_or(|entry| entry.receipt.is_some()) {
            return;
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.receipt.is_none()) {
            entry.receipt = Some(entry.sink.publish_kept(&entry.outgoing));
            entry.deadline = Instant::now() + effects.timeout;
        }
    }

    /// Forgets everything. What was published stays published.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            polled: self.polled,
            ..Self::default()
        };
    }
}

/// What becomes of a reply: one that reaches nobody is counted, and holds up nothing.
fn end_of_reply<T>(
    result: Result<T, PublishError>,
    was_tried_again: bool,
    effects: &Effects,
) -> Result<(), PublishError> {
    match result {
        Err(error) if effects.in_transaction && !error.is_permanent() => Err(error),
        Err(error) if !was_tried_again && replies::is_tried_again(&error) => Err(error),
        result => match effects.board.replies.count(&result) {
            Some(()) => Ok(()),
            None => result.map(|_| ()),
        },
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
