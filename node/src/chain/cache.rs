//! Bounded caches of what the writer needs again soon: tree pages and leaves.
//!
//! Two generations: new entries go to the young one; when it is full it becomes the old one, and what was old is
//! forgotten. An entry found in the old generation is young again. That keeps what is used, without a list to maintain.

use std::{collections::HashMap, hash::Hash};

/// A cache of at most `2 × half` units of weight.
pub(super) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    weight: usize,
    half: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), weight: 0, half: limit.div_ceil(2) }
    }

    pub(super) fn get(&mut self, key: &K, weigh: impl Fn(&V) -> usize) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        let weight = weigh(&value);
        self.put(key.clone(), value.clone(), weight);
        Some(value)
    }

    pub(super) fn put(&mut self, key: K, value: V, weight: usize) {
        if self.weight + weight > self.half {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.young.remove(key);
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
            assert_eq!(cache.get(&0, |_| 1), Some(0), "used all the time");
        }
        assert!(cache.young.len() + cache.old.len() <= 8);
        assert_eq!(cache.get(&50, |_| 1), None);
        assert_eq!(cache.get(&99, |_| 1), Some(99));
    }
}
