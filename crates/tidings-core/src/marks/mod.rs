//! Marks that outlive the process: which messages were being handled when it died.
//!
//! A message can kill the process that handles it: a handler aborts, overflows its stack, takes all memory. Nothing that
//! is written afterwards can tell of it, so it is noted before. A [`MarkBoard`] is memory that the operating system keeps
//! when the process dies, such as a mapped file. Setting a mark is two plain stores, moving it one.
//!
//! A mark says whether the message's handler was *executing* or *waiting* (for a timer, the network, a thread). That is
//! what keeps innocent messages apart: of all that are being handled only those that execute can have aborted, and there
//! are never more of them than threads.

mod cell;
mod deaths;

pub use cell::{Activity, Company, MarkCell, MarkStamp, Marked};
pub use deaths::Deaths;

use crate::gate::Gate;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Cells that share a cache line belong to one subscription: threads must not take it from each other per message.
const LINE: usize = 4;

/// Memory that is still there when the process has died.
pub trait MarkMemory: Send + Sync + fmt::Debug {
    /// The cells; always the same.
    fn cells(&self) -> &[MarkCell];
}

/// No memory: nothing is marked.
#[derive(Debug)]
struct Nowhere;

impl MarkMemory for Nowhere {
    fn cells(&self) -> &[MarkCell] {
        &[]
    }
}

/// Where the marks of a broker's subscriptions are, and the [`Gate`] that they share.
#[derive(Debug)]
pub struct MarkBoard {
    memory: Arc<dyn MarkMemory>,
    /// The first cells of lines that nobody has.
    free: Mutex<Vec<usize>>,
    gate: Arc<Gate>,
}

impl MarkBoard {
    /// A board on that memory. A line of four cells is the least that a subscription takes.
    pub fn new(memory: impl MarkMemory + 'static) -> Arc<Self> {
        let lines = memory.cells().len() / LINE;
        Arc::new(Self {
            free: Mutex::new((0..lines).rev().map(|line| line * LINE).collect()),
            memory: Arc::new(memory),
            gate: Arc::default(),
        })
    }

    /// A board without room, for a broker whose memory cannot be had: its subscriptions still share a gate.
    pub fn without_memory() -> Arc<Self> {
        Self::new(Nowhere)
    }

    /// What keeps a suspect message alone.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// What is marked at this moment.
    pub fn marked(&self) -> Vec<Marked> {
        self.memory.cells().iter().filter_map(MarkCell::read).collect()
    }

    /// Removes every mark.
    pub fn clear(&self) {
        self.memory.cells().iter().for_each(MarkCell::clear);
    }

    /// Room for a few marks; none if all is taken: then their messages go unmarked.
    pub fn take(self: &Arc<Self>) -> Vec<Mark> {
        let first = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(first) = first else { return Vec::new() };
        let line = Arc::new(Line {
            board: self.clone(),
            first,
        });
        let cells = (first..first + LINE).rev();
        cells
            .map(|cell| Mark {
                memory: self.memory.clone(),
                cell,
                line: line.clone(),
            })
            .collect()
    }
}

/// Cells of one subscription. They are cleared and given back when nobody uses them any more.
#[derive(Debug)]
struct Line {
    board: Arc<MarkBoard>,
    first: usize,
}

impl Drop for Line {
    fn drop(&mut self) {
        let cells = self.board.memory.cells();
        let own = cells.iter().skip(self.first).take(LINE);
        own.for_each(MarkCell::clear);
        let mut free = self.board.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(self.first);
    }
}

/// Room for one mark. Clones are the same room; it is free again when the last is dropped.
#[derive(Debug, Clone)]
pub struct Mark {
    /// That of the line's board: several times a message it is reached from here, not by way of the line.
    memory: Arc<dyn MarkMemory>,
    cell: usize,
    /// Kept until the last user is gone.
    #[allow(dead_code, reason = "dropping it is what it is for")]
    line: Arc<Line>,
}

impl Mark {
    /// The cell, to move the mark along a stretch of messages.
    #[inline]
    pub fn cell(&self) -> Option<&MarkCell> {
        self.memory.cells().get(self.cell)
    }

    /// A handler begins to execute. What is returned names this handling in [`wait_in`](Self::wait_in).
    #[inline]
    pub fn set(&self, tag: u64, offset: u64, company: Company) -> MarkStamp {
        self.cell()
            .map_or(MarkStamp::NONE, |cell| cell.set(tag, offset, company))
    }

    /// The same handling goes on to another message of its lane.
    #[inline]
    pub fn move_to(&self, offset: u64) {
        if let Some(cell) = self.cell() {
            cell.move_to(offset);
        }
    }

    /// The handler waits.
    pub fn wait(&self) {
        if let Some(cell) = self.cell() {
            cell.wait();
        }
    }

    /// The handler executes again.
    pub fn go_on(&self) {
        if let Some(cell) = self.cell() {
            cell.go_on();
        }
    }

    /// Something else is handled beside it from now on.
    pub fn has_company(&self) {
        if let Some(cell) = self.cell() {
            cell.has_company();
        }
    }

    /// The handler has returned.
    #[inline]
    pub fn clear(&self) {
        if let Some(cell) = self.cell() {
            cell.clear();
        }
    }

    /// As [`wait`](Self::wait), for a handling on another thread: does nothing if the mark is another handling's by now.
    pub fn wait_in(&self, stamp: MarkStamp) {
        if let Some(cell) = self.cell() {
            cell.wait_in(stamp);
        }
    }

    /// As [`go_on`](Self::go_on), for a handling on another thread.
    pub fn go_on_in(&self, stamp: MarkStamp) {
        if let Some(cell) = self.cell() {
            cell.go_on_in(stamp);
        }
    }

    /// As [`clear`](Self::clear), for a handling on another thread.
    pub fn clear_in(&self, stamp: MarkStamp) {
        if let Some(cell) = self.cell() {
            cell.clear_in(stamp);
        }
    }
}

/// How the messages of a lane are marked.
#[derive(Debug, Clone)]
pub struct LaneMarks {
    /// Where.
    pub board: Arc<MarkBoard>,
    /// What names the lane to whoever reads the marks later. None for a lane whose messages are not marked, as that of a
    /// subscription without a group: it only respects the gate.
    pub tag: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Kept(Arc<Vec<MarkCell>>);

    impl MarkMemory for Kept {
        fn cells(&self) -> &[MarkCell] {
            &self.0
        }
    }

    fn board(cells: usize) -> (Arc<MarkBoard>, Arc<Vec<MarkCell>>) {
        let cells = Arc::new((0..cells).map(|_| MarkCell::default()).collect::<Vec<_>>());
        (MarkBoard::new(Kept(cells.clone())), cells)
    }

    fn read(cells: &[MarkCell]) -> Vec<(u64, Activity, Company)> {
        let marks = cells.iter().filter_map(MarkCell::read);
        marks
            .map(|mark| (mark.offset, mark.activity, mark.company))
            .collect()
    }

    #[test]
    fn a_mark_says_what_is_handled_and_whether_it_executes() {
        let (board, cells) = board(8);
        let marks = board.take();
        marks[0].set(7, 0, Company::Others);
        assert_eq!(cells.iter().find_map(MarkCell::read).unwrap().tag, 7);
        assert_eq!(read(&cells), [(0, Activity::Executing, Company::Others)]);
        marks[0].wait();
        assert_eq!(read(&cells), [(0, Activity::Waiting, Company::Others)]);
        marks[0].cell().unwrap().move_to(1);
        assert_eq!(read(&cells), [(1, Activity::Executing, Company::Others)]);
        marks[0].set(7, 2, Company::Nobody);
        marks[0].wait();
        assert_eq!(read(&cells), [(2, Activity::Waiting, Company::Nobody)]);
        marks[0].go_on();
        marks[0].has_company();
        assert_eq!(read(&cells), [(2, Activity::Executing, Company::Others)]);
        marks[0].clear();
        marks[0].wait();
        assert_eq!(read(&cells), []);
        marks[0].set(7, u64::MAX, Company::Others);
        assert_eq!(read(&cells), [], "an offset that does not fit goes unmarked");
    }

    #[test]
    fn room_is_cleared_and_given_back_with_its_last_user() {
        let (board, cells) = board(8);
        let (first, second) = (board.take(), board.take());
        assert_eq!((first.len(), second.len(), board.take().len()), (4, 4, 0));
        let user = first[3].clone();
        user.set(1, 5, Company::Others);
        drop(first);
        assert!(board.take().is_empty());
        drop(user);
        assert_eq!(read(&cells), []);
        assert_eq!(board.take().len(), 4);
    }

    #[test]
    fn another_thread_changes_only_the_mark_of_its_own_handling() {
        let (board, cells) = board(4);
        let mark = board.take().remove(0);
        let stamp = mark.set(1, 5, Company::Others);
        mark.wait_in(stamp);
        assert_eq!(read(&cells), [(5, Activity::Waiting, Company::Others)]);
        mark.go_on_in(stamp);
        mark.set(1, 6, Company::Others);
        mark.wait_in(stamp);
        mark.clear_in(stamp);
        assert_eq!(read(&cells), [(6, Activity::Executing, Company::Others)]);
        mark.clear();
        mark.wait_in(stamp);
        assert_eq!(read(&cells), []);
    }

    #[test]
    fn a_handling_on_another_thread_that_gets_company_still_says_what_it_does() {
        let (board, cells) = board(4);
        let mark = board.take().remove(0);
        for waits in [false, true] {
            let stamp = mark.set(1, 5, Company::Nobody);
            mark.has_company();
            mark.wait_in(stamp);
            assert_eq!(read(&cells), [(5, Activity::Waiting, Company::Others)]);
            if !waits {
                mark.go_on_in(stamp);
                assert_eq!(read(&cells), [(5, Activity::Executing, Company::Others)]);
            }
            mark.clear_in(stamp);
            assert_eq!(read(&cells), []);
            mark.go_on_in(stamp);
            assert_eq!(read(&cells), [], "what was cleared stays so");
        }
    }
}
