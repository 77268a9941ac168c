//! Marks that outlive the process: which messages were being handled when it died.
//!
//! A message can kill the process that handles it: a handler aborts, overflows its stack, takes all memory. Nothing that
//! is written afterwards can tell of it, so it is noted before. A [`MarkBoard`] is memory that the operating system keeps
//! when the process dies, such as a mapped file. Setting a mark is two plain stores, moving it one.
//!
//! A mark says whether the message's handler was *executing* or *waiting* (for a timer, the network, a thread). That is
//! what keeps innocent messages apart: of all that are being handled only those that execute can have aborted, and there
//! are never more of them than threads.

use crate::gate::Gate;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Set in a cell while the handler waits.
const WAITING: u64 = 1 << 63;
/// Set in a cell while nothing else is handled.
const ALONE: u64 = 1 << 62;
/// The bits of the offset, which is stored plus one: 0 is no mark.
const OFFSET: u64 = ALONE - 1;
/// Cells that share a cache line belong to one subscription: threads must not take it from each other per message.
const LINE: usize = 4;

/// Room for one mark: 16 bytes, all zero when there is none.
#[derive(Debug, Default)]
#[repr(C)]
pub struct MarkCell {
    tag: AtomicU64,
    state: AtomicU64,
}

impl MarkCell {
    /// Reads the mark.
    pub fn read(&self) -> Option<Marked> {
        let state = self.state.load(Ordering::Acquire);
        let offset = (state & OFFSET).checked_sub(1)?;
        Some(Marked {
            tag: self.tag.load(Ordering::Relaxed),
            offset,
            activity: if state & WAITING == 0 {
                Activity::Executing
            } else {
                Activity::Waiting
            },
            company: if state & ALONE == 0 {
                Company::Others
            } else {
                Company::Nobody
            },
        })
    }

    /// A cell as a file has it: the tag, then what is handled, both as this machine writes numbers.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [tag, state] = [0, 8].map(|start| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[start..start + 8]);
            AtomicU64::new(u64::from_ne_bytes(number))
        });
        Self { tag, state }
    }

    /// Removes the mark.
    pub fn clear(&self) {
        self.state.store(0, Ordering::Relaxed);
    }

    /// Marks another message of the same lane, handled as one of several and executing.
    #[inline]
    pub fn move_to(&self, offset: u64) {
        self.state.store(encoded(offset), Ordering::Relaxed);
    }

    fn set(&self, tag: u64, offset: u64, company: Company) -> u64 {
        let alone = match company {
            Company::Nobody => ALONE,
            Company::Others => 0,
        };
        // A process that dies in between leaves no mark, never one with the tag of another lane.
        self.state.store(0, Ordering::Relaxed);
        self.tag.store(tag, Ordering::Release);
        let state = encoded(offset) | alone;
        self.state.store(state, Ordering::Release);
        state
    }

    /// One thread at a time writes a cell, so nothing comes in between.
    fn change(&self, change: impl FnOnce(u64) -> u64) {
        let state = self.state.load(Ordering::Relaxed);
        if state != 0 {
            self.state.store(change(state), Ordering::Relaxed);
        }
    }
}

/// An offset as a cell holds it. One that does not fit is not marked; no log gets that far.
fn encoded(offset: u64) -> u64 {
    if offset < OFFSET { offset + 1 } else { 0 }
}

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// The lane, as [`LaneMarks::tag`] names it.
    pub tag: u64,
    /// The message.
    pub offset: u64,
    /// Whether its handler was executing.
    pub activity: Activity,
    /// Whether others were handled beside it.
    pub company: Company,
}

/// What a handler that has not returned is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It executes: if the process ends itself now, it may be the reason.
    Executing,
    /// It waits for something: a timer, the network, a thread of its own.
    Waiting,
}

/// Whether other messages are handled at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Others may be handled too.
    Others,
    /// Nothing else is handled in any subscription of the broker.
    Nobody,
}

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
    memory: Box<dyn MarkMemory>,
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
            memory: Box::new(memory),
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
                line: line.clone(),
                cell,
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
    line: Arc<Line>,
    cell: usize,
}

impl Mark {
    /// The cell, to move the mark along a stretch of messages.
    pub fn cell(&self) -> Option<&MarkCell> {
        self.line.board.memory.cells().get(self.cell)
    }

    /// A handler begins to execute. What is returned names this handling in [`wait_in`](Self::wait_in).
    pub fn set(&self, tag: u64, offset: u64, company: Company) -> Handling {
        Handling(self.cell().map_or(0, |cell| cell.set(tag, offset, company)))
    }

    /// The handler waits.
    pub fn wait(&self) {
        if let Some(cell) = self.cell() {
            cell.change(|state| state | WAITING);
        }
    }

    /// The handler executes again.
    pub fn go_on(&self) {
        if let Some(cell) = self.cell() {
            cell.change(|state| state & !WAITING);
        }
    }

    /// Something else is handled beside it from now on.
    pub fn has_company(&self) {
        if let Some(cell) = self.cell() {
            cell.change(|state| state & !ALONE);
        }
    }

    /// The handler has returned.
    pub fn clear(&self) {
        if let Some(cell) = self.cell() {
            cell.clear();
        }
    }

    /// As [`wait`](Self::wait), for a handling on another thread: does nothing if the mark is another handling's by now.
    pub fn wait_in(&self, handling: Handling) {
        self.swap(handling.0, handling.0 | WAITING);
    }

    /// As [`go_on`](Self::go_on), for a handling on another thread.
    pub fn go_on_in(&self, handling: Handling) {
        self.swap(handling.0 | WAITING, handling.0);
    }

    fn swap(&self, from: u64, to: u64) {
        if let Some(cell) = self.cell()
            && from & OFFSET != 0
        {
            // Lost: the mark was cleared, or belongs to another message.
            let _ = cell
                .state
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Names a handling that was marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handling(u64);

/// How the messages of a lane are marked.
#[derive(Debug, Clone)]
pub struct LaneMarks {
    /// Where.
    pub board: Arc<MarkBoard>,
    /// What names the lane to whoever reads the marks later. None for a lane whose messages are not marked, as that of a
    /// subscription without a group: it only respects the gate.
    pub tag: Option<u64>,
}

/// How often a process died while it handled a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deaths {
    /// The message.
    pub offset: u64,
    /// Its handler was executing, others were handled too.
    pub executing: u32,
    /// Its handler was waiting, others were handled too.
    pub waiting: u32,
    /// Its handler was executing, and nothing else was handled.
    pub executing_alone: u32,
    /// Its handler was waiting, and nothing else was handled.
    pub waiting_alone: u32,
}

impl Deaths {
    /// None yet.
    pub fn of(offset: u64) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }

    /// One more.
    pub fn add(&mut self, activity: Activity, company: Company) {
        let count = match (activity, company) {
            (Activity::Executing, Company::Others) => &mut self.executing,
            (Activity::Waiting, Company::Others) => &mut self.waiting,
            (Activity::Executing, Company::Nobody) => &mut self.executing_alone,
            (Activity::Waiting, Company::Nobody) => &mut self.waiting_alone,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    pub fn count(&self) -> u32 {
        let all = [self.executing, self.waiting, self.executing_alone, self.waiting_alone];
        all.into_iter().fold(0, u32::saturating_add)
    }
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
        marks.map(|mark| (mark.offset, mark.activity, mark.company)).collect()
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
        let handling = mark.set(1, 5, Company::Others);
        mark.wait_in(handling);
        assert_eq!(read(&cells), [(5, Activity::Waiting, Company::Others)]);
        mark.go_on_in(handling);
        mark.set(1, 6, Company::Others);
        mark.wait_in(handling);
        assert_eq!(read(&cells), [(6, Activity::Executing, Company::Others)]);
        mark.clear();
        mark.wait_in(handling);
        assert_eq!(read(&cells), []);
    }
}
