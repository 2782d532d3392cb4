//! Whose claims of more work are believed (protocol §7): those of peers that answer for them.
//!
//! A claim counts until three questions for its headers, 10 s apart or more, came to nothing. Then what the peer claims
//! and nobody has shown is left out of account for ten minutes, whatever it says meanwhile, and whether or not it
//! connects anew. That is no offence: an honest peer may be busy, and a claim that is shown after all counts by itself.

use std::collections::BTreeMap;

use super::event::{Millis, PeerKey};

/// Questions in vain after which a claim is dropped.
const STRIKES: u32 = 3;
/// Questions closer together than this count as one.
const APART_MS: u64 = 10_000;
/// How long claims of the peer are not believed then.
const DROPPED_MS: u64 = 600_000;
/// Peers remembered. Each must have connected and claimed more work than ours; a record is 40 bytes.
const MAX_RECORDS: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Record {
    strikes: u32,
    last: Millis,
    dropped_until: Millis,
}

/// What became of claims lately, by peer, connected or not.
#[derive(Debug)]
pub struct Trust<P>(BTreeMap<P, Record>);

impl<P> Default for Trust<P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P: PeerKey> Trust<P> {
    /// A question about a claim came to nothing. Returns whether that was one too many.
    pub fn question_in_vain(&mut self, now: Millis, peer: P) -> bool {
        self.make_room(&peer);
        let fresh = Record { strikes: 0, last: now, dropped_until: Millis(0) };
        let record = self.0.entry(peer).or_insert(fresh);
        if record.dropped_until > now || record.strikes > 0 && now.since(record.last) < APART_MS {
            return false;
        }
        (record.strikes, record.last) = (record.strikes + 1, now);
        if record.strikes < STRIKES {
            return false;
        }
        (record.strikes, record.dropped_until) = (0, now.after(DROPPED_MS));
        true
    }

    /// The peer has shown what it claimed.
    pub fn kept_word(&mut self, peer: &P) {
        self.0.remove(peer);
    }

    /// Questions in vain that count against the peer now.
    pub fn strikes(&self, peer: &P) -> u32 {
        self.0.get(peer).map_or(0, |record| record.strikes)
    }

    /// Whether what the peer claims and nobody has shown is left out of account.
    pub fn is_dropped(&self, now: Millis, peer: &P) -> bool {
        self.0.get(peer).is_some_and(|record| record.dropped_until > now)
    }

    /// Drops records that say nothing any more.
    pub fn forget_old(&mut self, now: Millis) {
        self.0.retain(|_, record| record.dropped_until > now || now.since(record.last) < DROPPED_MS);
    }

    fn make_room(&mut self, peer: &P) {
        if self.0.len() < MAX_RECORDS || self.0.contains_key(peer) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, record)| (record.dropped_until, record.last)).map(|(key, _)| *key);
        oldest.map(|key| self.0.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_strikes_apart_drop_a_claim_for_ten_minutes() {
        let mut trust = Trust::default();
        for at in [0, 1_000, 9_999, 10_000, 19_999] {
            assert!(!trust.question_in_vain(Millis(at), 1), "{at}");
        }
        assert!(!trust.is_dropped(Millis(19_999), &1));
        assert!(trust.question_in_vain(Millis(20_000), 1));
        assert!(trust.is_dropped(Millis(619_999), &1) && !trust.is_dropped(Millis(620_000), &1));
        assert!(!trust.question_in_vain(Millis(100_000), 1), "it is dropped already");
        assert!(!trust.question_in_vain(Millis(620_000), 1), "and counts from the beginning afterwards");
    }

    #[test]
    fn a_kept_word_clears_the_record() {
        let mut trust = Trust::default();
        for round in 0..20 {
            assert!(!trust.question_in_vain(Millis(round * 40_000), 1));
            assert!(!trust.question_in_vain(Millis(round * 40_000 + 20_000), 1));
            trust.kept_word(&1);
        }
    }

    #[test]
    fn records_are_bounded() {
        let mut trust = Trust::default();
        for peer in 0..2 * MAX_RECORDS {
            trust.question_in_vain(Millis(peer as u64), peer);
        }
        assert_eq!(trust.0.len(), MAX_RECORDS);
        trust.forget_old(Millis(2 * DROPPED_MS));
        assert!(trust.0.is_empty());
    }
}
