//! Which slots have a handler, and the marks of what it handles.

use super::{Handler, Slot, Slots};
use crate::marking::Message;
use std::sync::Arc;
use tidings_core::{Mark, MarkBoard, MarkStamp};

impl<W> Slots<W> {
    /// A handler is about to be called in a slot that was taken.
    #[inline]
    pub(crate) fn begin(&mut self, slot: usize, message: Message) {
        self.handling += 1;
        let state = &mut self.slots[slot];
        debug_assert!(state.taken && state.handler == Handler::None);
        state.handler = Handler::Here;
        let Some(tag) = message.tag else { return };
        if state.mark.is_none() {
            state.mark = self.marking.take();
        }
        if let Some(mark) = &state.mark {
            mark.set(tag, message.offset, message.company);
        }
    }

    /// The handler in a slot has returned, and is about to be called for the next message of the lane.
    #[inline]
    pub(crate) fn begin_next(&mut self, slot: usize, message: Message) {
        let state = &self.slots[slot];
        debug_assert!(state.taken && state.handler == Handler::Here);
        if let Some(mark) = state.mark.as_ref().filter(|_| message.tag.is_some()) {
            mark.move_to(message.offset);
        }
    }

    /// Another message is handled by the same call.
    pub(crate) fn begin_another(&mut self, slot: usize, message: Message) {
        if let Some((tag, mark)) = message.tag.zip(self.marking.take()) {
            mark.set(tag, message.offset, message.company);
            self.slots[slot].others.push(mark);
        }
    }

    /// The handler in a slot executes on another thread; what it has to mark there.
    pub(crate) fn go_elsewhere(&mut self, slot: usize, messages: &[Message]) -> Vec<(Mark, MarkStamp)> {
        let state = &mut self.slots[slot];
        state.handler = Handler::Elsewhere;
        let marked = state.marks().zip(messages);
        let again = |(mark, message): (&Mark, &Message)| {
            let stamp = mark.set(message.tag?, message.offset, message.company);
            Some((mark.clone(), stamp))
        };
        marked.filter_map(again).collect()
    }

    /// Whether the handler in a slot executes on another thread, or has until it returned there.
    pub(crate) fn is_elsewhere(&self, slot: usize) -> bool {
        self.slots[slot].handler == Handler::Elsewhere
    }

    /// What another thread had to do in a slot is done; it has taken its marks away, and there is more to do here.
    pub(crate) fn come_here(&mut self, slot: usize, messages: &[Message]) {
        let state = &mut self.slots[slot];
        state.handler = Handler::Here;
        for (mark, message) in state.marks().zip(messages) {
            if let Some(tag) = message.tag {
                mark.set(tag, message.offset, message.company);
            }
        }
    }

    /// The handler in a slot has returned, or was stopped.
    #[inline]
    pub(crate) fn end(&mut self, slot: usize) {
        let state = &mut self.slots[slot];
        if state.handler == Handler::None {
            return;
        }
        state.handler = Handler::None;
        self.handling -= 1;
        if let Some(mark) = &state.mark {
            mark.clear();
        }
        if !state.others.is_empty() {
            self.put_back_others(slot);
        }
    }

    fn put_back_others(&mut self, slot: usize) {
        for mark in self.slots[slot].others.drain(..) {
            self.marking.put_back(mark);
        }
    }

    /// How many handlers were called and have not returned.
    pub(crate) fn handling(&self) -> usize {
        self.handling
    }

    /// The mark of a slot, to be moved along a stretch.
    pub(crate) fn mark(&self, slot: usize) -> Option<Mark> {
        self.slots[slot].mark.clone()
    }

    /// Marks something that is no call of a handler.
    pub(crate) fn mark_for<T>(&mut self, message: Message, work: impl FnOnce() -> T) -> T {
        let mark = message.tag.and_then(|tag| Some((tag, self.marking.take()?)));
        if let Some((tag, mark)) = &mark {
            mark.set(*tag, message.offset, message.company);
        }
        let done = work();
        if let Some((_, mark)) = mark {
            self.marking.put_back(mark);
        }
        done
    }

    /// Where to mark from now on.
    pub(crate) fn mark_on(&mut self, board: &Arc<MarkBoard>) {
        self.marking.on(board);
    }

    /// What is handled has company from now on.
    pub(crate) fn have_company(&self) {
        let marks = self.slots.iter().flat_map(Slot::marks);
        marks.for_each(Mark::has_company);
    }

    /// Whoever stops a process on purpose may kill it in the end, and that tells nothing of what is being handled.
    pub(crate) fn end_marking(&mut self) {
        self.marking.end();
        for slot in &mut self.slots {
            slot.marks().for_each(Mark::clear);
            slot.mark = None;
            slot.others.clear();
        }
    }
}
