//! The table of keys: for each the last offset at which it was seen.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What a key takes at most: two hashes and an offset, a seventh more for the table's free room, twice that because a
/// table doubles when it grows, and a control byte. The old table while it is copied into the new one is within it.
const BYTES_PER_KEY: usize = 64;

/// Keys by a hash of 128 bits under a random secret: nobody can make two keys look the same, and by chance it happens to
/// none of 10^15. The keys themselves would take memory without a bound.
pub(crate) struct KeyTable {
    last: HashMap<[u64; 2], u64, BuildNothing>,
    secrets: [RandomState; 2],
    limit: usize,
}

/// The table has no room for another key.
pub(crate) struct Full;

impl KeyTable {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            last: HashMap::default(),
            secrets: [RandomState::new(), RandomState::new()],
            limit: (max_bytes / BYTES_PER_KEY).max(1),
        }
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.secrets.each_ref().map(|secret| {
            let mut hasher = secret.build_hasher();
            hasher.write(key);
            hasher.finish()
        })
    }

    /// Notes that the key is at this offset, which is higher than those before.
    pub(crate) fn note(&mut self, key: &[u8], offset: u64) -> Result<(), Full> {
        let hash = self.hash(key);
        if let Some(last) = self.last.get_mut(&hash) {
            *last = offset;
            return Ok(());
        }
        if self.last.len() >= self.limit {
            return Err(Full);
        }
        self.last.insert(hash, offset);
        Ok(())
    }

    /// Whether the key was seen at a later offset.
    pub(crate) fn is_superseded(&self, key: &[u8], offset: u64) -> bool {
        self.last.get(&self.hash(key)).is_some_and(|last| *last > offset)
    }
}

/// What is hashed already needs no hash.
#[derive(Default, Clone)]
struct BuildNothing;

#[derive(Default)]
struct Nothing(u64);

impl BuildHasher for BuildNothing {
    type Hasher = Nothing;

    fn build_hasher(&self) -> Nothing {
        Nothing::default()
    }
}

impl Hasher for Nothing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }

    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_counts_and_a_full_table_says_so() {
        let mut keys = KeyTable::new(2 * BYTES_PER_KEY);
        assert!(keys.note(b"a", 1).is_ok() && keys.note(b"b", 2).is_ok() && keys.note(b"a", 3).is_ok());
        assert!(keys.note(b"c", 4).is_err());
        assert!(keys.is_superseded(b"a", 1) && !keys.is_superseded(b"a", 3));
        assert!(!keys.is_superseded(b"b", 2) && !keys.is_superseded(b"c", 0));
    }

    #[test]
    fn a_table_of_many_keys_stays_within_its_bytes() {
        let mut keys = KeyTable::new(64 << 10);
        let taken = (0_u64..10_000)
            .take_while(|key| keys.note(&key.to_le_bytes(), *key).is_ok())
            .count();
        assert_eq!(taken, 1_024);
        // Entries of 24 bytes and a control byte each.
        assert!(keys.last.capacity() * 8 / 7 * 25 <= 64 << 10);
    }
}
