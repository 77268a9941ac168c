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
    future: BoxFuture<'static, T>,
    marks: Vec<(Mark, MarkStamp)>,
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
        // Until its first poll.
        marks.iter().for_each(|(mark, stamp)| mark.wait_in(*stamp));
        Box::pin(Self { future, marks })
    }
}

impl<T> Future for Marked<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.marks.iter().for_each(|(mark, stamp)| mark.go_on_in(*stamp));
        let polled = self.future.as_mut().poll(context);
        if polled.is_pending() {
            self.marks.iter().for_each(|(mark, stamp)| mark.wait_in(*stamp));
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
