//! One token bucket in one atomic word, and a table of them.
//!
//! A bucket is kept as the time at which it will be full again (the virtual scheduling form of a leaky bucket): time
//! alone refills it, nothing has to be swept, and a word that nobody has touched is a full bucket. All orderings are
//! relaxed: a word stands for itself, and no other memory depends on it.
//!
//! Tokens can also be reserved that are not there yet. The time at which the bucket will be full then lies further ahead
//! than an empty bucket needs, and whoever comes next waits for later tokens: a line, first come first served, without a
//! list of who stands in it.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use foldhash::quality::RandomState;
use std::hash::BuildHasher;

use crate::zones::query::Transport;

/// Bits of a word that count refusals; the others are nanoseconds.
const COUNT_BITS: u32 = 4;
/// Buckets in a table: 2 MB of address space, of which only touched pages are memory. Buckets are found by hash and
/// have no tag, so two clients can share one: then both are limited sooner, but no flood ever gets more.
const TABLE_BUCKETS: usize = 1 << 18;

/// A token bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicU64);

/// What a bucket grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rate {
    /// How long it takes until one token more is there.
    token_ns: u64,
    /// How long it takes until an empty bucket is full.
    full_ns: u64,
}

/// Buckets by a hash that nobody outside can compute.
#[derive(Debug)]
pub(crate) struct Table {
    buckets: Box<[Bucket]>,
    hasher: RandomState,
}

/// What a bucket of a table is about. The number of tokens in each is its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Subject {
    /// Answers to one host.
    HostAnswers,
    /// Answers to one network.
    NetworkAnswers,
    /// Bytes to one network.
    NetworkBytes,
    /// Signatures for one network, for datagrams or for connections: a datagram's source can be forged, and must not
    /// cost those who are connected anything.
    NetworkSignatures(Transport),
}

impl Rate {
    /// `per_second` tokens per second, and `burst` of them at once. `None` if the rate is 0.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        let token_ns = 1_000_000_000_u64.checked_div(u64::from(per_second))?.max(1);
        Some(Self { token_ns, full_ns: token_ns * u64::from(burst) })
    }

    /// How long it takes until `tokens` more are there.
    pub(crate) fn duration_ns(self, tokens: u32) -> u64 {
        self.token_ns.saturating_mul(u64::from(tokens))
    }
}

impl Bucket {
    /// Takes one token, or says in how many nanoseconds there will be one.
    pub(crate) fn take(&self, rate: Rate, now_ns: u64) -> Result<(), u64> {
        self.spend(rate, 1, now_ns)
    }

    /// Takes `tokens`, or says in how many nanoseconds there will be enough. A negative number gives tokens back, up to
    /// a full bucket, and always succeeds.
    pub(crate) fn spend(&self, rate: Rate, tokens: i64, now_ns: u64) -> Result<(), u64> {
        self.charge(rate, tokens, 0, now_ns).map(drop)
    }

    /// Takes `tokens` that are there now, or will be within `patience_ns`: they are the caller's, who must wait for as
    /// many nanoseconds as this says. Else nothing is taken, and this says how long the wait would be.
    pub(crate) fn reserve(&self, rate: Rate, tokens: u32, patience_ns: u64, now_ns: u64) -> Result<u64, u64> {
        self.charge(rate, i64::from(tokens), patience_ns, now_ns)
    }

    fn charge(&self, rate: Rate, tokens: i64, patience_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let mut missing_ns = 0;
        let cost_ns = rate.token_ns.saturating_mul(tokens.unsigned_abs());
        let charged = self.0.fetch_update(Relaxed, Relaxed, |word| {
            // How far from full.
            let used_ns = (word >> COUNT_BITS).saturating_sub(now_ns);
            let used_ns = if tokens < 0 { used_ns.saturating_sub(cost_ns) } else { used_ns.saturating_add(cost_ns) };
            missing_ns = used_ns.saturating_sub(rate.full_ns);
            let is_granted = tokens <= 0 || missing_ns <= patience_ns;
            is_granted.then(|| pack(now_ns.saturating_add(used_ns), word))
        });
        charged.map(|_| missing_ns).map_err(|_| missing_ns)
    }

    /// Counts a refusal, and says whether it is the last of `every`; then counting begins anew.
    pub(crate) fn refuse(&self, every: u8) -> bool {
        let mut is_last = false;
        let count = |word: u64| {
            let count = (word & ((1 << COUNT_BITS) - 1)) + 1;
            is_last = count >= u64::from(every);
            Some((word >> COUNT_BITS << COUNT_BITS) | if is_last { 0 } else { count })
        };
        let _always = self.0.fetch_update(Relaxed, Relaxed, count);
        is_last
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        let buckets = std::iter::repeat_with(Bucket::default).take(TABLE_BUCKETS).collect();
        Self { buckets, hasher: RandomState::default() }
    }

    /// The bucket of the client at `address`.
    pub(crate) fn bucket(&self, subject: Subject, address: IpAddr) -> &Bucket {
        let prefix = match (address.to_canonical(), subject) {
            (IpAddr::V4(v4), Subject::HostAnswers) => u64::from(v4.to_bits()),
            (IpAddr::V4(v4), _) => u64::from(v4.to_bits() >> 8),
            (IpAddr::V6(v6), Subject::HostAnswers) => (v6.to_bits() >> 64) as u64 | 1 << 63,
            (IpAddr::V6(v6), _) => (v6.to_bits() >> 72) as u64 | 1 << 63,
        };
        let hash = self.hasher.hash_one((subject, prefix));
        &self.buckets[(hash as usize) & (TABLE_BUCKETS - 1)]
    }
}

fn pack(full_at_ns: u64, word: u64) -> u64 {
    (full_at_ns << COUNT_BITS) | (word & ((1 << COUNT_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_rate_of_nothing_is_no_rate() {
        assert_eq!(Rate::new(0, 5), None);
        assert_eq!(Rate::new(4, 5), Some(Rate { token_ns: SECOND / 4, full_ns: SECOND / 4 * 5 }));
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10, 3).expect("a rate"));
        let now = 100 * SECOND;
        assert_eq!([(); 5].map(|()| bucket.take(rate, now).is_ok()), [true, true, true, false, false]);
        assert_eq!(bucket.take(rate, now), Err(SECOND / 10));
        assert_eq!(bucket.take(rate, now + SECOND / 10 - 1), Err(1));
        assert_eq!(bucket.take(rate, now + SECOND / 10), Ok(()));
        assert!(bucket.take(rate, now + SECOND / 10).is_err());
        // An hour refills it, and no more than that.
        let later = now + 3_600 * SECOND;
        assert_eq!((0..10).filter(|_| bucket.take(rate, later).is_ok()).count(), 3);
    }

    #[test]
    fn who_reserves_waits_in_line() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10, 3).expect("a rate"));
        let (now, tenth, patience) = (100 * SECOND, SECOND / 10, SECOND / 2);
        assert_eq!(bucket.reserve(rate, 3, patience, now), Ok(0));
        assert_eq!([1, 2].map(|tokens| bucket.reserve(rate, tokens, patience, now)), [Ok(tenth), Ok(3 * tenth)]);
        // Three would be there too late, and asking for them takes nothing.
        assert_eq!(bucket.reserve(rate, 3, patience, now), Err(6 * tenth));
        assert_eq!(bucket.reserve(rate, 1, patience, now + tenth), Ok(3 * tenth));
        // Nobody passes those who wait.
        assert_eq!(bucket.take(rate, now + 4 * tenth), Err(tenth));
        assert_eq!(bucket.take(rate, now + 5 * tenth), Ok(()));
        // What is given back shortens the line.
        assert_eq!(bucket.reserve(rate, 4, patience, now + 5 * tenth), Ok(4 * tenth));
        assert_eq!(bucket.spend(rate, -4, now + 5 * tenth), Ok(()));
        assert_eq!(bucket.reserve(rate, 1, patience, now + 5 * tenth), Ok(tenth));
    }

    #[test]
    fn every_second_refusal_and_every_fifteenth() {
        let bucket = Bucket::default();
        assert_eq!([(); 5].map(|()| bucket.refuse(2)), [false, true, false, true, false]);
        let bucket = Bucket::default();
        assert_eq!([(); 3].map(|()| bucket.refuse(1)), [true; 3]);
        let bucket = Bucket::default();
        assert_eq!((0..150).filter(|_| bucket.refuse(15)).count(), 10);
        // Counting refusals leaves the tokens alone.
        let rate = Rate::new(1, 2).expect("a rate");
        assert_eq!([(); 3].map(|()| bucket.take(rate, SECOND).is_ok()), [true, true, false]);
        bucket.refuse(15);
        assert_eq!(bucket.take(rate, SECOND + SECOND), Ok(()));
    }

    #[test]
    fn clients_are_told_apart_by_network() {
        let table = Table::new();
        let bucket = |subject, address: &str| {
            let address: IpAddr = address.parse().expect("an address");
            std::ptr::from_ref(table.bucket(subject, address))
        };
        use Subject::{HostAnswers, NetworkAnswers, NetworkBytes};
        assert_eq!(bucket(NetworkAnswers, "192.0.2.1"), bucket(NetworkAnswers, "192.0.2.200"));
        assert_eq!(bucket(NetworkAnswers, "192.0.2.1"), bucket(NetworkAnswers, "::ffff:192.0.2.1"));
        assert_eq!(bucket(HostAnswers, "2001:db8::1"), bucket(HostAnswers, "2001:db8::ffff:1"));
        assert_eq!(bucket(NetworkBytes, "2001:db8::1"), bucket(NetworkBytes, "2001:db8:0:ff::1"));
        // These could share one by chance, but hardly ever all of them.
        let pairs = [
            (bucket(HostAnswers, "192.0.2.1"), bucket(HostAnswers, "192.0.2.2")),
            (bucket(NetworkAnswers, "192.0.2.1"), bucket(NetworkAnswers, "192.0.3.1")),
            (bucket(NetworkAnswers, "192.0.2.1"), bucket(NetworkBytes, "192.0.2.1")),
            (bucket(HostAnswers, "2001:db8::1"), bucket(HostAnswers, "2001:db8:0:1::1")),
            (bucket(NetworkBytes, "2001:db8::1"), bucket(NetworkBytes, "2001:db8:0:100::1")),
        ];
        assert!(pairs.iter().filter(|(one, other)| one != other).count() >= 4);
    }

    proptest! {
        /// Whatever is asked for, waited for and given back: what was granted, less what was given back, is at most a
        /// full bucket and what time adds until the end of the wait.
        #[test]
        fn no_more_is_granted_than_time_allows(
            steps in vec((0..SECOND, -2_000..2_000_i64, 0..3 * SECOND), 1..200),
            per_second in 1..10_000_u32, burst in 1..5_000_u32,
        ) {
            let (bucket, rate) = (Bucket::default(), Rate::new(per_second, burst).expect("a rate"));
            let (begin, mut now, mut granted) = (SECOND, SECOND, 0_i64);
            for (pause, tokens, patience) in steps {
                now += pause;
                let wait = match u32::try_from(tokens) {
                    Ok(tokens) if patience > SECOND => bucket.reserve(rate, tokens, patience, now),
                    _ => bucket.spend(rate, tokens, now).map(|()| 0),
                };
                if let Ok(wait) = wait {
                    granted += tokens;
                    prop_assert!(tokens <= 0 || wait <= patience);
                    if tokens > 0 {
                        let time_adds = ((now + wait - begin) / rate.token_ns) as i64 + 1;
                        prop_assert!(granted <= i64::from(burst) + time_adds, "{granted} granted");
                    }
                }
            }
        }

        /// First come, first served: no turn comes before that of somebody who came earlier.
        #[test]
        fn turns_come_in_order(
            steps in vec((0..SECOND / 100, 1..5_u32), 1..200), per_second in 1..2_000_u32, burst in 5..50_u32,
        ) {
            let (bucket, rate) = (Bucket::default(), Rate::new(per_second, burst).expect("a rate"));
            let (mut now, mut last) = (SECOND, 0);
            for (pause, tokens) in steps {
                now += pause;
                if let Ok(wait) = bucket.reserve(rate, tokens, 2 * SECOND, now) {
                    prop_assert!(now + wait >= last && wait <= 2 * SECOND);
                    last = now + wait;
                }
            }
        }
    }
}
