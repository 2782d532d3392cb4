//! What a peer's wrongs cost it. A score that fades, and bans that grow with repetition.
//!
//! Only what no honest peer does costs anything. Slowness, lost connections, empty claims, blocks from the future, unknown
//! parents, and whatever breaks a rule that shows only in its place in the chain are free: who sends it may not know, and
//! a network at five per cent loss must never ban an honest peer.

use std::collections::BTreeMap;

use super::{
    event::{Millis, PeerKey},
    offence::Offence,
};

/// Points at which a peer is banned.
const BAN_AT: u32 = 100;
/// The score halves each time that this has passed, counted from the offence that began it: later ones do not put the
/// next halving off.
const HALF_LIFE_MS: u64 = 600_000;
/// The first ban; each further one is twice as long.
const FIRST_BAN_MS: u64 = 3_600_000;
/// The longest ban.
const LONGEST_BAN_MS: u64 = 86_400_000;
/// Peers with a record; the oldest of those that never led to a ban goes first. A record is 40 bytes.
const MAX_RECORDS: usize = 4_096;

/// A ban that was just imposed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ban {
    /// For how long.
    pub for_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    score: u32,
    /// When the score was last halved, or began.
    halved_at: Millis,
    bans: u32,
    banned_until: Millis,
}

/// The records of all peers, connected or not.
#[derive(Debug)]
pub struct Penalties<P>(BTreeMap<P, Record>);

impl<P> Default for Penalties<P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P: PeerKey> Penalties<P> {
    /// Adds an offence; `Some` if that is one too many.
    pub fn record(&mut self, now: Millis, peer: P, offence: Offence) -> Option<Ban> {
        self.make_room(&peer);
        let fresh = Record { score: 0, halved_at: now, bans: 0, banned_until: Millis(0) };
        let record = self.0.entry(peer).or_insert(fresh);
        record.fade(now);
        record.score = record.score.saturating_add(offence.points());
        if record.score < BAN_AT {
            return None;
        }
        let for_ms = FIRST_BAN_MS.saturating_mul(1 << record.bans.min(10)).min(LONGEST_BAN_MS);
        record.bans += 1;
        record.score = 0;
        record.banned_until = now.after(for_ms);
        Some(Ban { for_ms })
    }

    /// Points against the peer now.
    pub fn score(&self, now: Millis, peer: &P) -> u32 {
        self.0.get(peer).map_or(0, |record| record.faded(now))
    }

    /// Whether the peer is banned now.
    pub fn is_banned(&self, now: Millis, peer: &P) -> bool {
        self.0.get(peer).is_some_and(|record| record.banned_until > now)
    }

    /// Drops records that say nothing any more.
    pub fn forget_old(&mut self, now: Millis) {
        self.0.retain(|_, r| r.banned_until.after(LONGEST_BAN_MS) > now || r.faded(now) > 0);
    }

    fn make_room(&mut self, peer: &P) {
        if self.0.len() < MAX_RECORDS || self.0.contains_key(peer) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, r)| (r.banned_until, r.halved_at)).map(|(key, _)| *key);
        oldest.map(|key| self.0.remove(&key));
    }
}

impl Record {
    /// Takes off what time has taken off. What is left of the running half-life goes on running.
    fn fade(&mut self, now: Millis) {
        self.score = self.faded(now);
        self.halved_at = match self.score {
            0 => now,
            _ => self.halved_at.after(self.halvings(now) * HALF_LIFE_MS),
        };
    }

    fn faded(&self, now: Millis) -> u32 {
        self.score.checked_shr(self.halvings(now).min(32) as u32).unwrap_or(0)
    }

    fn halvings(&self, now: Millis) -> u64 {
        now.since(self.halved_at) / HALF_LIFE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_wrongs_fade_and_great_ones_ban() {
        let mut penalties = Penalties::default();
        for round in 0..50 {
            assert_eq!(penalties.record(Millis(round * 2 * HALF_LIFE_MS), 1, Offence::Unrequested), None);
        }
        let ban = penalties.record(Millis(0), 2, Offence::WrongBody).expect("banned at once");
        assert_eq!(ban.for_ms, FIRST_BAN_MS);
        assert!(penalties.is_banned(Millis(FIRST_BAN_MS - 1), &2));
        assert!(!penalties.is_banned(Millis(FIRST_BAN_MS), &2));
        let again = penalties.record(Millis(FIRST_BAN_MS), 2, Offence::WrongBody).expect("banned again");
        assert_eq!(again.for_ms, 2 * FIRST_BAN_MS);
    }

    /// An offence every nine minutes fades like any other, however often that happens.
    #[test]
    fn offences_closer_than_a_half_life_fade_too() {
        let mut penalties = Penalties::default();
        for round in 0..100 {
            assert_eq!(penalties.record(Millis(round * HALF_LIFE_MS * 9 / 10), 1, Offence::Flood), None);
        }
        let mut flood = (0..).map(|round| penalties.record(Millis(round * HALF_LIFE_MS / 16), 2, Offence::Flood));
        assert_eq!(flood.position(|ban| ban.is_some()), Some(9), "but more often than that adds up");
    }

    #[test]
    fn records_are_bounded() {
        let mut penalties = Penalties::default();
        for peer in 0..2 * MAX_RECORDS {
            penalties.record(Millis(peer as u64), peer, Offence::Flood);
        }
        assert_eq!(penalties.0.len(), MAX_RECORDS);
    }
}
