//! Counts allocations, while it is asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The system's allocator. While nothing is counted it costs one load and a branch more, in every arm alike.
#[derive(Debug)]
struct Counting;

fn note() {
    if COUNTING.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator with the arguments it came with, so its contract is kept;
// counting touches two atomics, allocates nothing and cannot unwind.
#[allow(
    unsafe_code,
    reason = "the trait of an allocator is unsafe to implement; nothing else here is"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the pointer came from `System` with that layout, because every allocation here does.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Starts to count, from zero, the allocations of all threads.
pub(crate) fn start() {
    COUNT.store(0, Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
}

/// Stops counting and returns how many there were. Growing a block in place counts as one.
pub(crate) fn stop() -> u64 {
    COUNTING.store(false, Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_between_start_and_stop_is_counted() {
        start();
        let boxes: Vec<Box<u64>> = (0..100).map(Box::new).collect();
        let count = stop();
        assert!(count >= 101, "{count}");
        drop(boxes);
        let after = COUNT.load(Ordering::Relaxed);
        drop(vec![0u8; 10]);
        assert_eq!(COUNT.load(Ordering::Relaxed), after);
    }
}
