//! Receipts that are answered one by one and kept together: [`ReceiptBlock`].
//!
//! A broker that acknowledges each message by itself needs an answer for each, but not an allocation, a channel and a
//! wake-up for each. A block holds the answers of [`RECEIPTS_PER_BLOCK`] messages in one allocation; the broker fills
//! in what it knows and then [wakes](ReceiptBlock::wake) once.

use crate::message::Position;
use crate::sink::{PublishError, Receipt};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many receipts a block holds.
pub const RECEIPTS_PER_BLOCK: usize = 64;

/// No answer yet.
const OPEN: u64 = u64::MAX;
/// The answer is among the refusals.
const REFUSED: u64 = u64::MAX - 1;

/// The answers of up to [`RECEIPTS_PER_BLOCK`] messages, each with its own.
///
/// It is kept below a KiB, and so are offsets and partitions apart: for more, the allocator of the C library tidies up
/// all small pieces that were given back, at each block.
pub struct ReceiptBlock {
    /// [`OPEN`], [`REFUSED`] or the offset. Written last, so whoever reads it also sees the partition.
    offsets: [AtomicU64; RECEIPTS_PER_BLOCK],
    partitions: [AtomicU32; RECEIPTS_PER_BLOCK],
    /// How many are known or were never asked for.
    known: AtomicU32,
    /// Whether somebody is on the list. Written under its lock.
    waited_for: AtomicBool,
    list: Mutex<List>,
}

const _: () = assert!(size_of::<ReceiptBlock>() < 1_000);

#[derive(Default)]
struct List {
    /// Tasks that wait for one receipt.
    waiting: Vec<(usize, Waker)>,
    /// Tasks that wait for all of them.
    for_all: Vec<Waker>,
    refusals: Vec<(usize, PublishError)>,
}

impl Default for ReceiptBlock {
    fn default() -> Self {
        Self {
            offsets: [const { AtomicU64::new(OPEN) }; RECEIPTS_PER_BLOCK],
            partitions: [const { AtomicU32::new(0) }; RECEIPTS_PER_BLOCK],
            known: AtomicU32::new(0),
            waited_for: AtomicBool::new(false),
            list: Mutex::default(),
        }
    }
}

impl ReceiptBlock {
    /// A block without answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The receipt of the message at a place. One place is one message's; a place beyond the block is answered as
    /// [`PublishError::Closed`].
    pub fn receipt(self: &Arc<Self>, place: usize, destination: Arc<str>) -> Receipt {
        Receipt::place(Place {
            block: self.clone(),
            destination: Some(destination),
            place,
            listed: false,
        })
    }

    /// The message at a place was kept. Tasks that wait learn of it with the next [`wake`](Self::wake).
    pub fn kept(&self, place: usize, partition: u32, offset: u64) {
        let (Some(of), Some(answer)) = (self.partitions.get(place), self.offsets.get(place)) else {
            return;
        };
        of.store(partition, Ordering::Relaxed);
        answer.store(offset.min(REFUSED - 1), Ordering::Release);
        self.known.fetch_add(1, Ordering::AcqRel);
    }

    /// The message at a place was not kept. Tasks that wait learn of it with the next [`wake`](Self::wake).
    pub fn refused(&self, place: usize, error: PublishError) {
        let Some(answer) = self.offsets.get(place) else {
            return;
        };
        self.list().refusals.push((place, error));
        answer.store(REFUSED, Ordering::Release);
        self.known.fetch_add(1, Ordering::AcqRel);
    }

    /// No message will ever have a place from this one on: the block is whole without them.
    pub fn end_at(&self, place: usize) {
        let left = RECEIPTS_PER_BLOCK.saturating_sub(place);
        self.known.fetch_add(left as u32, Ordering::AcqRel);
    }

    /// Whether every answer is known.
    pub fn is_whole(&self) -> bool {
        self.known.load(Ordering::Acquire) as usize >= RECEIPTS_PER_BLOCK
    }

    /// Wakes the tasks whose answers are known. Called after answers were filled in, once for many of them.
    pub fn wake(&self) {
        // Pairs with the fence of who puts itself on the list: either they see the answer, or this sees them.
        fence(Ordering::SeqCst);
        if !self.waited_for.load(Ordering::Relaxed) {
            return;
        }
        let mut list = self.list();
        let mut woken = Vec::new();
        let mut at = 0;
        while let Some((place, _)) = list.waiting.get(at) {
            if self.is_open(*place) {
                at += 1;
            } else {
                woken.push(list.waiting.swap_remove(at).1);
            }
        }
        if self.is_whole() {
            woken.append(&mut list.for_all);
        }
        let some = !(list.waiting.is_empty() && list.for_all.is_empty());
        self.waited_for.store(some, Ordering::Relaxed);
        drop(list);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Waits until every answer is known.
    ///
    /// # Errors
    /// The first refusal since this was called; refusals before it were told to their receipts.
    pub fn all_known(self: &Arc<Self>) -> impl Future<Output = Result<(), PublishError>> + use<> {
        let block = self.clone();
        let before = block.list().refusals.len();
        async move {
            std::future::poll_fn(|context| block.poll_whole(context)).await;
            let list = block.list();
            let refused = list.refusals.get(before);
            refused.map_or(Ok(()), |(_, error)| Err(error.clone()))
        }
    }

    fn poll_whole(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_whole() {
            return Poll::Ready(());
        }
        let mut list = self.list();
        if !list.for_all.iter().any(|known| known.will_wake(context.waker())) {
            list.for_all.push(context.waker().clone());
        }
        self.waited_for.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        match self.is_whole() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn is_open(&self, place: usize) -> bool {
        let answer = self.offsets.get(place);
        answer.is_some_and(|answer| answer.load(Ordering::Acquire) == OPEN)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Nothing can panic while it is held.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReceiptBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptBlock")
            .field("known", &self.known.load(Ordering::Relaxed))
            .finish()
    }
}

/// One receipt of a block.
pub(crate) struct Place {
    block: Arc<ReceiptBlock>,
    /// Taken by the answer.
    destination: Option<Arc<str>>,
    place: usize,
    /// Whether a task of it is on the list.
    listed: bool,
}

impl Place {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Position, PublishError>> {
        if let Some(answer) = self.answer() {
            return Poll::Ready(answer);
        }
        let block = self.block.clone();
        let mut list = block.list();
        let listed = std::mem::replace(&mut self.listed, true);
        let mine = listed.then(|| list.waiting.iter_mut().find(|(place, _)| *place == self.place));
        match mine.flatten() {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => list.waiting.push((self.place, context.waker().clone())),
        }
        block.waited_for.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let still_open = block.is_open(self.place);
        drop(list);
        if still_open {
            return Poll::Pending;
        }
        self.answer().map_or(Poll::Pending, Poll::Ready)
    }

    fn answer(&mut self) -> Option<Result<Position, PublishError>> {
        let (offsets, partitions) = (&self.block.offsets, &self.block.partitions);
        let (Some(answer), Some(of)) = (offsets.get(self.place), partitions.get(self.place)) else {
            return Some(Err(PublishError::Closed));
        };
        match answer.load(Ordering::Acquire) {
            OPEN => None,
            REFUSED => Some(Err(self.refusal())),
            offset => {
                let partition = of.load(Ordering::Relaxed);
                let destination = self.destination.take().unwrap_or_default();
                Some(Ok(Position::new(destination, partition, offset)))
            }
        }
    }

    fn refusal(&self) -> PublishError {
        let list = self.block.list();
        let mine = list.refusals.iter().find(|(place, _)| *place == self.place);
        mine.map_or(PublishError::Closed, |(_, error)| error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Counter {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll<F: Future + Unpin>(future: &mut F, counter: &Arc<Counter>) -> Poll<F::Output> {
        let waker = Waker::from(counter.clone());
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn each_receipt_has_its_own_answer_and_only_its_task_is_woken() {
        let block = Arc::new(ReceiptBlock::new());
        let mut receipts: Vec<_> = (0..3)
            .map(|place| block.receipt(place, "orders".into()))
            .collect();
        let tasks: Vec<_> = (0..3).map(|_| Arc::new(Counter::default())).collect();
        for (receipt, task) in receipts.iter_mut().zip(&tasks) {
            assert!(poll(receipt, task).is_pending());
        }
        block.kept(1, 4, 70);
        block.refused(2, PublishError::NoChannel);
        assert_eq!(tasks[1].count(), 0, "nobody is woken before all answers are in");
        block.wake();
        let counts: Vec<_> = tasks.iter().map(|task| task.count()).collect();
        assert_eq!(counts, [0, 1, 1]);
        match poll(&mut receipts[1], &tasks[1]) {
            Poll::Ready(Ok(position)) => assert_eq!(position, Position::new("orders", 4, 70)),
            other => panic!("{other:?}"),
        }
        let refused = poll(&mut receipts[2], &tasks[2]);
        assert!(matches!(refused, Poll::Ready(Err(PublishError::NoChannel))));
        assert!(poll(&mut receipts[0], &tasks[0]).is_pending());
    }

    #[test]
    fn a_receipt_that_moves_to_another_task_wakes_that_one() {
        let block = Arc::new(ReceiptBlock::new());
        let mut receipt = block.receipt(63, "orders".into());
        let (one, other) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        assert!(poll(&mut receipt, &one).is_pending());
        assert!(poll(&mut receipt, &other).is_pending());
        block.kept(63, 0, 0);
        block.wake();
        assert_eq!((one.count(), other.count()), (0, 1));
    }

    #[test]
    fn who_waits_for_all_is_woken_by_the_last_answer_and_told_of_a_refusal() {
        let block = Arc::new(ReceiptBlock::new());
        let task = Arc::new(Counter::default());
        let mut all = Box::pin(block.all_known());
        assert!(poll(&mut all, &task).is_pending());
        block.kept(0, 0, 0);
        block.end_at(2);
        block.wake();
        assert_eq!(task.count(), 0);
        block.refused(1, PublishError::NoChannel);
        block.wake();
        assert_eq!(task.count(), 1);
        let told = poll(&mut all, &task);
        assert!(matches!(told, Poll::Ready(Err(PublishError::NoChannel))));
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        for round in 0..500u64 {
            let block = Arc::new(ReceiptBlock::new());
            let receipt = block.receipt(0, "orders".into());
            let broker = std::thread::spawn({
                let block = block.clone();
                move || {
                    (0..round % 50).for_each(|_| std::hint::spin_loop());
                    block.kept(0, 1, round);
                    block.wake();
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let position = runtime.block_on(receipt).unwrap();
            assert_eq!(position.offset(), round);
            broker.join().unwrap();
        }
    }
}
