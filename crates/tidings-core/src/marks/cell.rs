//! One mark as it is kept: [`MarkCell`].

use std::sync::atomic::{AtomicU64, Ordering};

/// Set in a cell while the handler waits.
const WAITING: u64 = 1 << 63;
/// Set in a cell while nothing else is handled.
const ALONE: u64 = 1 << 62;
/// The bits of the offset, which is stored plus one: 0 is no mark.
const OFFSET: u64 = ALONE - 1;
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
    #[inline]
    pub fn clear(&self) {
        self.state.store(0, Ordering::Relaxed);
    }

    /// Marks another message of the same lane, handled as one of several and executing.
    #[inline]
    pub fn move_to(&self, offset: u64) {
        self.state.store(encoded(offset), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn set(&self, tag: u64, offset: u64, company: Company) -> MarkStamp {
        let alone = match company {
            Company::Nobody => ALONE,
            Company::Others => 0,
        };
        if self.tag.load(Ordering::Relaxed) != tag {
            // A process that dies in between leaves no mark, never one with the tag of another lane.
            self.state.store(0, Ordering::Relaxed);
            self.tag.store(tag, Ordering::Release);
        }
        let state = match encoded(offset) {
            0 => 0,
            offset => offset | alone,
        };
        self.state.store(state, Ordering::Release);
        MarkStamp(state)
    }

    /// The handler waits.
    pub(super) fn wait(&self) {
        self.change(|state| state | WAITING);
    }

    /// The handler executes again.
    pub(super) fn go_on(&self) {
        self.change(|state| state & !WAITING);
    }

    /// Something else is handled beside it. Said here, also of what another thread handles.
    pub(super) fn has_company(&self) {
        self.state.fetch_and(!ALONE, Ordering::Relaxed);
    }

    /// One thread at a time writes a cell, so nothing comes in between.
    fn change(&self, change: impl FnOnce(u64) -> u64) {
        let state = self.state.load(Ordering::Relaxed);
        if state != 0 {
            self.state.store(change(state), Ordering::Relaxed);
        }
    }

    pub(super) fn wait_in(&self, stamp: MarkStamp) {
        self.change_in(stamp, |state| state | WAITING);
    }

    pub(super) fn go_on_in(&self, stamp: MarkStamp) {
        self.change_in(stamp, |state| state & !WAITING);
    }

    pub(super) fn clear_in(&self, stamp: MarkStamp) {
        self.change_in(stamp, |_| 0);
    }

    /// Unless the mark was cleared, or belongs to another message. It may have got company meanwhile.
    fn change_in(&self, stamp: MarkStamp, change: impl Fn(u64) -> u64) {
        let is_its = |state: u64| state != 0 && state & OFFSET == stamp.0 & OFFSET;
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        // Refused: it is not.
        let _ = self
            .state
            .fetch_update(set, fetch, |state| is_its(state).then(|| change(state)));
    }
}

/// Names a handling that was marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkStamp(u64);

impl MarkStamp {
    /// What was not marked.
    pub(super) const NONE: Self = Self(0);
}

/// An offset as a cell holds it. One that does not fit is not marked; no log gets that far.
#[inline]
fn encoded(offset: u64) -> u64 {
    if offset < OFFSET { offset + 1 } else { 0 }
}

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// The lane, as [`LaneMarks::tag`](crate::LaneMarks::tag) names it.
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
