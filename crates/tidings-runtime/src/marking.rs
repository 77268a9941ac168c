//! The marks of a subscription: [`Marking`] has the room for them, [`Marked`] is a handling on another thread.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tidings_core::{BoxFuture, Company, Mark, MarkBoard, MarkStamp};

/// What is to be marked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    /// The lane's name in the marks; none for a lane that is not marked.
    pub(crate) tag: Option<u64>,
    pub(crate) offset: u64,
    pub(crate) company: Company,
}

/// Room for marks.
#[derive(Debug, Default)]
pub(crate) struct Marking {
    board: Option<Arc<MarkBoard>>,
    spare: Vec<Mark>,
    /// It was said that the board is full.
    told: bool,
}

impl Marking {
    /// Takes room there from now on.
    pub(crate) fn on(&mut self, board: &Arc<MarkBoard>) {
        self.board.get_or_insert_with(|| board.clone());
    }

    /// Marks nothing more.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }

    /// Room for one mark. None if nothing is to be marked, or the board is full.
    pub(crate) fn take(&mut self) -> Option<Mark> {
        if self.spare.is_empty()
            && let Some(board) = &self.board
        {
            self.spare = board.take();
            if self.spare.is_empty() && !std::mem::replace(&mut self.told, true) {
                tracing::warn!(
                    "there is no room for more marks: some messages are not found out if they kill the process"
                );
            }
        }
        self.spare.pop()
    }

    /// Takes room back.
    pub(crate) fn put_back(&mut self, mark: Mark) {
        mark.clear();
        if self.board.is_some() {
            self.spare.push(mark);
        }
    }
}

/// A handler on another thread, whose marks say what it does there.
pub(crate) struct Marked<T> {
    // In this order: what its destructor does is the handler's too.
    future: BoxFuture<'static, T>,
    marks: Stamped,
}

/// The marks of a handling on another thread. When they are dropped it is over: whoever started it may hear of that much
/// later, and a process that dies in between has not died of it.
#[derive(Debug)]
struct Stamped(Vec<(Mark, MarkStamp)>);

impl Stamped {
    fn go_on(&self) {
        self.0.iter().for_each(|(mark, stamp)| mark.go_on_in(*stamp));
    }

    fn wait(&self) {
        self.0.iter().for_each(|(mark, stamp)| mark.wait_in(*stamp));
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        self.0.iter().for_each(|(mark, stamp)| mark.clear_in(*stamp));
    }
}

impl<T> Marked<T> {
    /// As a future like the one that is marked.
    pub(crate) fn around(
        future: BoxFuture<'static, T>,
        marks: Vec<(Mark, MarkStamp)>,
    ) -> BoxFuture<'static, T>
    where
        T: 'static,
    {
        if marks.is_empty() {
            return future;
        }
        let marks = Stamped(marks);
        // Until its first poll.
        marks.wait();
        Box::pin(Self { future, marks })
    }
}

impl<T> Future for Marked<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.marks.go_on();
        let polled = self.future.as_mut().poll(context);
        if polled.is_pending() {
            self.marks.wait();
        }
        polled
    }
}

impl<T> fmt::Debug for Marked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marked")
            .field("marks", &self.marks)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::task::Waker;
    use tidings_core::{Activity, MarkCell, MarkMemory};

    #[derive(Debug)]
    struct Cells(Vec<MarkCell>);

    impl MarkMemory for Cells {
        fn cells(&self) -> &[MarkCell] {
            &self.0
        }
    }

    /// What is marked when it is dropped.
    struct Dropped(Arc<MarkBoard>, Arc<Mutex<Vec<u64>>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = offsets(&self.0);
        }
    }

    fn offsets(board: &MarkBoard) -> Vec<u64> {
        board.marked().iter().map(|mark| mark.offset).collect()
    }

    #[tokio::test]
    async fn what_returned_on_another_thread_is_not_marked_until_somebody_asks_for_it() {
        let board = MarkBoard::new(Cells((0..4).map(|_| MarkCell::default()).collect()));
        let marks = board.take();
        let stamped = |offset| (marks[0].clone(), marks[0].set(7, offset, Company::Nobody));
        let dropped = Arc::<Mutex<Vec<u64>>>::default();
        let (guard, looked) = (Dropped(board.clone(), dropped.clone()), board.clone());
        let handling = async move {
            assert_eq!(looked.marked()[0].activity, Activity::Executing);
            tokio::task::yield_now().await;
            assert_eq!(offsets(&looked), [3]);
            drop(looked);
            let _kept_until_the_end = &guard;
        };
        let handle = tokio::spawn(Marked::around(Box::pin(handling), vec![stamped(3)]));
        assert_eq!(board.marked()[0].activity, Activity::Waiting);
        while !handle.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(offsets(&board).is_empty(), "nobody has looked at its result yet");
        assert_eq!(*dropped.lock().unwrap(), [3], "its destructor is the handler's");
        handle.await.unwrap();

        // One that is stopped is over as well.
        let mut stopped = Marked::around(Box::pin(std::future::pending::<()>()), vec![stamped(4)]);
        let polled = stopped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        assert_eq!(offsets(&board), [4]);
        drop(stopped);
        assert!(offsets(&board).is_empty());
    }
}
