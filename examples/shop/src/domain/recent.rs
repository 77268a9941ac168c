//! A map that remembers only the last so many entries: how this shop bounds what it keeps in memory.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The last `limit` entries, by when their keys were first seen.
#[derive(Debug, Clone)]
pub struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// An empty one that never holds more than `limit` entries.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            limit: limit.max(1),
        }
    }

    /// What is remembered of this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// Sets what is remembered of this key and returns what that was before. A new key makes the oldest one forgotten
    /// if there are too many.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.entries.insert(key.clone(), value);
        if before.is_none() {
            self.order.push_back(key);
            self.forget_oldest();
        }
        before
    }

    /// What is remembered of this key, to be changed; for a new key what `new` makes.
    pub fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(&key) {
            self.insert(key.clone(), new());
        }
        self.entries
            .get_mut(&key)
            .expect("the newest entry is never the one that is forgotten")
    }

    /// The keys, newest first.
    pub fn newest(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order
            .iter()
            .rev()
            .filter_map(|key| Some((key, self.entries.get(key)?)))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn forget_oldest(&mut self) {
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_is_forgotten_when_there_are_too_many() {
        let mut recent = Recent::with_limit(2);
        for key in ["a", "b", "a", "c"] {
            *recent.entry(key, || 0) += 1;
        }
        assert_eq!(recent.get(&"a"), None);
        assert_eq!(recent.newest().collect::<Vec<_>>(), [(&"c", &1), (&"b", &1)]);
        assert_eq!(recent.len(), 2);
    }
}
