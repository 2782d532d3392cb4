//! How often something may be done, per peer, per address group or at all.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Buckets remembered of one kind. A bucket is forgotten when it is full again; with so many in use nobody new gets any.
const MAX_BUCKETS: usize = 1_024;

/// How often something may be done: so often at once, then once per interval.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// For one more.
    pub interval: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    /// Since when the next token has been coming.
    since: Instant,
}

/// Buckets of one kind.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    spent: HashMap<K, Bucket>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// All of them full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, spent: HashMap::new() }
    }

    /// Whether there is a token. Nothing is remembered of it.
    pub fn is_open(&self, key: &K, now: Instant) -> bool {
        self.spent.get(key).is_none_or(|bucket| {
            let mut bucket = *bucket;
            bucket.refill(self.rate, now);
            bucket.tokens > 0
        })
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, key: K, now: Instant) -> bool {
        let rate = self.rate;
        if self.spent.len() >= MAX_BUCKETS && !self.spent.contains_key(&key) {
            self.spent.retain(|_, bucket| {
                bucket.refill(rate, now);
                bucket.tokens < rate.burst
            });
            if self.spent.len() >= MAX_BUCKETS {
                return false;
            }
        }
        let bucket = self.spent.entry(key).or_insert(Bucket { tokens: rate.burst, since: now });
        bucket.refill(rate, now);
        let is_open = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        is_open
    }
}

impl Bucket {
    fn refill(&mut self, rate: Rate, now: Instant) {
        let gained = now.saturating_duration_since(self.since).as_millis() / rate.interval.as_millis();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(gained) >= rate.burst {
            (self.tokens, self.since) = (rate.burst, now);
        } else {
            self.tokens += gained;
            self.since += rate.interval * gained;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(10) };

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let (mut buckets, start) = (Buckets::new(RATE), Instant::now());
        let got: Vec<_> = (0..60).filter(|second| buckets.take((), start + Duration::from_secs(*second))).collect();
        assert_eq!(got, [0, 1, 2, 10, 20, 30, 40, 50]);
        assert!((0..3).all(|_| buckets.take((), start + Duration::from_secs(3_600))), "it fills again");
        assert!(!buckets.take((), start + Duration::from_secs(3_600)));
    }

    #[test]
    fn a_crowd_of_identities_does_not_fill_the_memory() {
        let (mut buckets, now) = (Buckets::new(RATE), Instant::now());
        let mut numbers = 0..;
        let mut number = || numbers.next().unwrap_or(0u64);
        let got = (0..10_000).filter(|_| buckets.take(number(), now)).count();
        assert_eq!((got, buckets.spent.len()), (MAX_BUCKETS, MAX_BUCKETS));
        assert!(buckets.take(number(), now + RATE.interval), "they are forgotten");
        assert_eq!(buckets.spent.len(), 1);
    }
}
