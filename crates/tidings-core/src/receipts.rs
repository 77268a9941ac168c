//! Receipts that are answered together: [`ReceiptGroup`].
//!
//! A broker that writes and syncs many messages at once knows one thing about them: the offset of the first, or why
//! none was kept. So there is one answer for all of them, and one wake-up, in place of a channel for each message.

use crate::message::Position;
use crate::sink::{PublishError, Receipt};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

/// The broker's side of messages of one partition that get consecutive offsets, and are kept together or not at all.
///
/// Dropping it unanswered resolves every receipt to [`PublishError::Closed`].
pub struct ReceiptGroup {
    shared: Arc<Shared>,
    count: u64,
}

struct Shared {
    destination: Arc<str>,
    partition: u32,
    /// The first offset. Set before the wakers are taken, so whoever leaves a waker afterwards has seen that there is
    /// no answer while it held the lock, and is woken.
    answer: OnceLock<Result<u64, PublishError>>,
    waiting: Mutex<Vec<Waiting>>,
}

/// A task that waits for one receipt or for several, so there are never more of them than receipts.
struct Waiting {
    waker: Waker,
    receipts: usize,
}

impl Shared {
    /// Nothing can panic while it is held.
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: Result<u64, PublishError>) {
        if self.answer.set(answer).is_err() {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting());
        waiting.into_iter().for_each(|one| one.waker.wake());
    }
}

impl ReceiptGroup {
    /// A group without messages.
    pub fn new(destination: Arc<str>, partition: u32) -> Self {
        Self {
            shared: Arc::new(Shared {
                destination,
                partition,
                answer: OnceLock::new(),
                waiting: Mutex::default(),
            }),
            count: 0,
        }
    }

    /// The receipt of the next message.
    pub fn receipt(&mut self) -> Receipt {
        let index = self.count;
        self.count += 1;
        Receipt::member(Member {
            shared: self.shared.clone(),
            index,
            place: None,
        })
    }

    /// How many receipts there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Resolves every receipt: with the offset of the first message, the others following it, or with the reason why
    /// none is promised.
    pub fn resolve(self, first: Result<u64, PublishError>) {
        self.shared.answer(first);
    }
}

impl Drop for ReceiptGroup {
    fn drop(&mut self) {
        self.shared.answer(Err(PublishError::Closed));
    }
}

impl fmt::Debug for ReceiptGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptGroup")
            .field("messages", &self.count)
            .finish()
    }
}

/// One receipt of a group.
pub(crate) struct Member {
    shared: Arc<Shared>,
    index: u64,
    /// Where its task is.
    place: Option<usize>,
}

impl Member {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Position, PublishError>> {
        if let Some(answer) = self.answer() {
            return Poll::Ready(answer);
        }
        let mut waiting = self.shared.waiting();
        if let Some(answer) = self.answer() {
            return Poll::Ready(answer);
        }
        self.place = Some(wait(&mut waiting, self.place, context.waker()));
        Poll::Pending
    }

    fn answer(&self) -> Option<Result<Position, PublishError>> {
        let first = self.shared.answer.get()?;
        let position = |first: &u64| {
            Position::new(
                self.shared.destination.clone(),
                self.shared.partition,
                first + self.index,
            )
        };
        Some(first.as_ref().map(position).map_err(Clone::clone))
    }
}

/// Puts a receipt's task on the list, and tells where. A task that awaits its receipts one after the other is there
/// once. A receipt that moved to another task takes its place along, unless others wait in it.
fn wait(waiting: &mut Vec<Waiting>, place: Option<usize>, waker: &Waker) -> usize {
    if let Some((place, known)) = place.and_then(|place| Some((place, waiting.get_mut(place)?))) {
        if known.receipts == 1 || known.waker.will_wake(waker) {
            known.waker.clone_from(waker);
            return place;
        }
        known.receipts -= 1;
    }
    match waiting.last_mut().filter(|last| last.waker.will_wake(waker)) {
        Some(last) => last.receipts += 1,
        None => waiting.push(Waiting {
            waker: waker.clone(),
            receipts: 1,
        }),
    }
    waiting.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(receipt: &mut Receipt, counter: &Arc<Counter>) -> Poll<Result<Position, PublishError>> {
        let waker = Waker::from(counter.clone());
        Pin::new(receipt).poll(&mut Context::from_waker(&waker))
    }

    fn group_of_three() -> (ReceiptGroup, Vec<Receipt>) {
        let mut group = ReceiptGroup::new("orders".into(), 2);
        let receipts = (0..3).map(|_| group.receipt()).collect();
        (group, receipts)
    }

    #[test]
    fn one_answer_gives_every_receipt_its_offset_and_wakes_each_task_once() {
        let (group, mut receipts) = group_of_three();
        let (one, other) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        assert!(poll(&mut receipts[0], &one).is_pending());
        assert!(poll(&mut receipts[0], &one).is_pending());
        assert!(poll(&mut receipts[1], &other).is_pending());
        group.resolve(Ok(40));
        assert_eq!(
            (one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)),
            (1, 1)
        );
        let offsets = receipts.iter_mut().map(|receipt| match poll(receipt, &one) {
            Poll::Ready(Ok(position)) => (position.partition(), position.offset()),
            other => panic!("{other:?}"),
        });
        assert_eq!(offsets.collect::<Vec<_>>(), [(2, 40), (2, 41), (2, 42)]);
    }

    #[test]
    fn a_receipt_that_moves_to_another_task_wakes_that_one() {
        let (group, mut receipts) = group_of_three();
        let (one, other) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        assert!(poll(&mut receipts[0], &one).is_pending());
        assert!(poll(&mut receipts[0], &other).is_pending());
        group.resolve(Ok(0));
        assert_eq!(
            (one.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)),
            (0, 1)
        );
    }

    #[test]
    fn a_receipt_that_moves_leaves_behind_who_waits_in_its_place() {
        let (group, mut receipts) = group_of_three();
        let (one, other) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        assert!(poll(&mut receipts[0], &one).is_pending());
        assert!(poll(&mut receipts[1], &one).is_pending());
        for _ in 0..10 {
            assert!(poll(&mut receipts[0], &other).is_pending());
            assert!(poll(&mut receipts[0], &one).is_pending());
        }
        assert!(poll(&mut receipts[0], &other).is_pending());
        assert!(group.shared.waiting().len() <= 3, "no more places than receipts");
        group.resolve(Ok(0));
        assert!(one.0.load(Ordering::Relaxed) >= 1 && other.0.load(Ordering::Relaxed) >= 1);
    }

    #[test]
    fn a_group_that_is_dropped_says_that_the_broker_is_closed() {
        let (group, mut receipts) = group_of_three();
        let task = Arc::new(Counter::default());
        assert!(poll(&mut receipts[1], &task).is_pending());
        drop(group);
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        let refused = poll(&mut receipts[1], &task);
        assert!(matches!(refused, Poll::Ready(Err(PublishError::Closed))));
    }
}
