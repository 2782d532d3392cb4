//! Bounded caches of what the writer needs again soon: tree pages, leaves, header contexts, checked transactions.
//!
//! Two generations: new entries go to the young one; when it is full it becomes the old one, and what was old is
//! forgotten. An entry found in the old generation is young again. That keeps what is used, without a list to maintain.

use std::{collections::HashMap, hash::Hash};

/// A cache of entries that weigh at most `limit` together, in whatever unit the caller weighs.
pub(super) struct Cache<K, V> {
    young: HashMap<K, Weighed<V>>,
    old: HashMap<K, Weighed<V>>,
    /// Of the young ones.
    weight: usize,
    half: usize,
}

struct Weighed<V> {
    value: V,
    weight: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), weight: 0, half: limit.div_ceil(2) }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(found) = self.young.get(key) {
            return Some(found.value.clone());
        }
        let Weighed { value, weight } = self.old.remove(key)?;
        self.put(key.clone(), value.clone(), weight);
        Some(value)
    }

    pub(super) fn put(&mut self, key: K, value: V, weight: usize) {
        self.forget(&key);
        if self.weight + weight > self.half {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.young.insert(key, Weighed { value, weight });
    }

    pub(super) fn forget(&mut self, key: &K) {
        if let Some(gone) = self.young.remove(key) {
            self.weight -= gone.weight;
        }
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut cache = Cache::new(8);
        for n in 0..100 {
            cache.put(n, n, 1);
            assert_eq!(cache.get(&0), Some(0), "used all the time");
        }
        assert!(cache.young.len() + cache.old.len() <= 8);
        assert_eq!(cache.get(&50), None);
        assert_eq!(cache.get(&99), Some(99));
    }

    #[test]
    fn writing_an_entry_again_takes_no_more_room() {
        let mut cache = Cache::new(8);
        for n in 0..3 {
            cache.put(n, n, 1);
        }
        for n in 0..100 {
            cache.put(0, n, 1);
        }
        assert_eq!([0, 1, 2].map(|key| cache.get(&key)), [Some(99), Some(1), Some(2)]);
        cache.forget(&0);
        assert_eq!(cache.get(&0), None);
    }
}
