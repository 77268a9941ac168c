//! Memory of batches, used again: [`Pool`].
//!
//! A batch has more than a hundred KiB. Freed and asked for again, the allocator gives so much back to the system at
//! each turn, and every page of it is faulted in anew: that costs more than the copy into it.

use crate::lock::lock;
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, Mutex};

/// How many pieces are kept. What is handled fast needs few; a backlog in memory is given back when it is handled.
const KEPT: usize = 8;
/// Larger pieces are made for single large messages and are not worth keeping.
const MAX_BYTES: usize = 512 * 1024;
/// A piece is used for what is at most so many times smaller: who waits for long with a small message would hold a large
/// piece, and nobody counts what is not filled.
const MAX_WASTE: usize = 4;
/// Pieces below this are not worth a thought.
const SMALL: usize = 4 * 1024;

/// Pieces of memory that no batch uses at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// Memory that goes back to its pool when the last view of it is gone.
struct Lent {
    memory: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// An empty piece with at least so much room.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let most = bytes.max(SMALL).saturating_mul(MAX_WASTE);
        let mut kept = lock(&self.0);
        let fitting = kept.iter().rposition(|memory| memory.capacity() <= most);
        let taken = fitting.map(|index| kept.swap_remove(index));
        drop(kept);
        let mut memory = taken.unwrap_or_default();
        memory.reserve(bytes);
        memory
    }

    /// The bytes, shared from now on.
    pub(crate) fn share(&self, memory: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent {
            memory,
            pool: self.clone(),
        })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        let mut kept = lock(&self.pool.0);
        if kept.len() < KEPT && memory.capacity() <= MAX_BYTES {
            memory.clear();
            kept.push(memory);
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("bytes", &self.memory.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_looks_at_it_any_more() {
        let pool = Pool::default();
        let mut memory = pool.take(1_000);
        memory.extend_from_slice(b"first");
        let place = memory.as_ptr();
        let shared = pool.share(memory);
        let view = shared.slice(1..);
        drop(shared);
        let other = pool.take(1_000);
        assert_ne!(other.as_ptr(), place, "it is looked at");
        assert_eq!(&view[..], b"irst");
        drop(view);
        let again = pool.take(1_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn a_small_batch_that_waits_for_long_holds_no_large_piece() {
        let pool = Pool::default();
        let mut waiting = Vec::new();
        for _ in 0..100 {
            // A large message is handled at once, the small one after it waits.
            drop(pool.share(pool.take(MAX_BYTES)));
            let small = pool.take(100);
            waiting.push((small.capacity(), pool.share(small)));
        }
        let held: usize = waiting.iter().map(|(bytes, _)| *bytes).sum();
        assert!(held <= 100 * SMALL * MAX_WASTE, "{held} bytes for 10,000");
    }

    #[test]
    fn no_more_is_kept_than_is_worth_it() {
        let pool = Pool::default();
        let all: Vec<_> = (0..KEPT + 3).map(|_| pool.share(pool.take(100))).collect();
        drop(all);
        assert_eq!(lock(&pool.0).len(), KEPT);
        drop(lock(&pool.0).pop());
        drop(pool.share(Vec::with_capacity(MAX_BYTES + 1)));
        assert_eq!(lock(&pool.0).len(), KEPT - 1);
    }
}
