//! What a snapshot of the ledger's names is to the resolver.
//!
//! A [`NameView`] is immutable, one for each query, so that a whole answer comes from one height. Everything about time here
//! is block heights.

use ledger::{name::Name, record::Records};

use crate::names::records::{RecordSet, RecordsRef};

/// The longest TTL, in seconds, of a name that is in grace or changed recently.
pub const UNSETTLED_TTL_S: u32 = 60;
/// Blocks after a change during which it counts as recent: a reorganisation could still take it back.
pub const SETTLED_AFTER_BLOCKS: u32 = 720;

/// An immutable snapshot of all names at one height.
pub trait NameView: Send + Sync {
    /// What holds for the whole snapshot.
    fn facts(&self) -> Facts;

    /// The entry of `name`, whatever its status.
    fn lookup(&self, name: &Name) -> Option<Entry>;

    /// The same without a copy, for answering many queries from one snapshot. `name` is any label, lower-cased: what
    /// is no valid name has no entry.
    fn find(&self, name: &[u8]) -> Option<EntryRef<'_>>;
}

/// Facts about a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Height of the newest block in it.
    pub height: u32,
    /// Time of that block, in Unix seconds.
    pub time: u64,
    /// Mean seconds between blocks on this network.
    pub block_interval_s: u32,
    /// Whether answers may be given.
    pub readiness: Readiness,
    /// Number of entries, whatever their status.
    pub names: u64,
    /// Number of records that are in entries but cannot be served.
    pub malformed_records: u64,
    /// Number of peers the node is connected to.
    pub peers: u32,
    /// The newest version of the zone that secondaries can fetch; what the SOA record tells. If there is none, the
    /// serial is the height.
    pub version: Option<Version>,
}

/// One state of the zone, as secondaries know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// The SOA serial: the height, unless a reorganisation needed a larger one.
    pub serial: u32,
    /// Tells the block apart from others at its height; absent if the source knows no block hashes.
    pub tag: Option<u64>,
}

/// Whether a snapshot is fit to answer from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// It is.
    Ready,
    /// The node is syncing, or its tip is stale. A "no such name" would be a guess, so queries fail instead.
    NotReady {
        /// Height reached.
        height: u32,
        /// Height to reach, if a peer told one.
        target: Option<u32>,
    },
}

/// A name's records and the heights between which they are served (protocol §5.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Heights that decide the status.
    pub life: Life,
    /// What the name holds.
    pub records: RecordSet,
}

/// An [`Entry`] in its snapshot.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    /// Heights that decide the status.
    pub life: Life,
    /// What the name holds.
    pub records: RecordsRef<'a>,
}

/// The heights of a name's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// First block of the name being active; before it the registration can still be contested.
    pub active_from: u32,
    /// First block of the grace period.
    pub expires_at: u32,
    /// First block in which the name is released.
    pub grace_until: u32,
    /// If the name is revoked: the first block in which it is released.
    pub revoked_until: Option<u32>,
    /// Block of the last change.
    pub last_change: u32,
}

/// A name's status at one height.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The registration can still be contested: not in DNS yet.
    Pending,
    /// Served.
    Active,
    /// Expired but renewable: served.
    Grace,
    /// Given up by its owner: not in DNS.
    Revoked,
    /// Free again: not in DNS.
    Released,
}

impl Entry {
    /// Makes an entry of what the ledger holds.
    pub fn new(life: Life, records: &Records) -> Self {
        Self { life, records: RecordSet::new(records) }
    }
}

impl Life {
    /// The status in block `height`. Answers use the block after the snapshot's.
    pub fn status(&self, height: u32) -> Status {
        match self.revoked_until {
            Some(until) if height < until => Status::Revoked,
            Some(_) => Status::Released,
            None if height < self.active_from => Status::Pending,
            None if height < self.expires_at => Status::Active,
            None if height < self.grace_until => Status::Grace,
            None => Status::Released,
        }
    }

    /// The TTL, in seconds, to serve a record with that wishes for `ttl_s`.
    ///
    /// Caches must not outlive the next change of status that is already certain, and not trust for long what is about
    /// to vanish or could still be reorganised away.
    pub fn ttl_s(&self, ttl_s: u32, facts: &Facts) -> u32 {
        let height = facts.height.saturating_add(1);
        let boundary = match self.status(height) {
            Status::Grace => self.grace_until,
            _ => self.expires_at,
        };
        let certain_s = boundary.saturating_sub(height).max(1).saturating_mul(facts.block_interval_s);
        self.zone_ttl_s(ttl_s, facts.height).min(certain_s).max(1)
    }

    /// The TTL, in seconds, that secondaries get at tip `height`: like [`Life::ttl_s`], but it does not count down
    /// towards the next change of status, for then every block would change every name.
    pub fn zone_ttl_s(&self, ttl_s: u32, height: u32) -> u32 {
        let height = height.saturating_add(1);
        let is_recent = height.saturating_sub(self.last_change) < SETTLED_AFTER_BLOCKS;
        let trusted_s = if is_recent || self.status(height) == Status::Grace { UNSETTLED_TTL_S } else { u32::MAX };
        ttl_s.min(trusted_s).max(1)
    }

    /// The first block above `height` from which on the zone holds this name otherwise, though no transaction says so.
    pub fn next_turn(&self, height: u32) -> Option<u32> {
        self.turns().into_iter().filter(|&turn| turn > height).min()
    }

    /// Whether the zone of a tip before block `above` may hold this name otherwise than that before block `to`.
    pub fn turns_within(&self, above: u32, to: u32) -> bool {
        self.turns().into_iter().any(|turn| above < turn && turn <= to)
    }

    /// Blocks with which visibility or TTL can change. Revoked names come back by no block.
    pub(crate) fn turns(&self) -> [u32; 4] {
        match self.revoked_until {
            Some(_) => [0; 4],
            None => {
                let settled = self.last_change.saturating_add(SETTLED_AFTER_BLOCKS);
                [self.active_from, self.expires_at, self.grace_until, settled]
            }
        }
    }
}

impl Facts {
    /// How long, in seconds, the absence of something may be cached: the next block can end it.
    pub fn negative_ttl_s(&self) -> u32 {
        self.block_interval_s.clamp(1, UNSETTLED_TTL_S)
    }

    /// The serial of the SOA record.
    pub fn serial(&self) -> u32 {
        self.version.map_or(self.height, |version| version.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Life =
        Life { active_from: 100, expires_at: 5_000, grace_until: 6_000, revoked_until: None, last_change: 100 };

    fn facts(height: u32) -> Facts {
        let readiness = Readiness::Ready;
        Facts {
            height,
            time: 0,
            block_interval_s: 120,
            readiness,
            names: 0,
            malformed_records: 0,
            peers: 0,
            version: None,
        }
    }

    #[test]
    fn status_changes_exactly_at_its_heights() {
        let revoked = Life { revoked_until: Some(3_000), ..LIFE };
        for (life, height, status) in [
            (LIFE, 99, Status::Pending),
            (LIFE, 100, Status::Active),
            (LIFE, 4_999, Status::Active),
            (LIFE, 5_000, Status::Grace),
            (LIFE, 5_999, Status::Grace),
            (LIFE, 6_000, Status::Released),
            (revoked, 99, Status::Revoked),
            (revoked, 2_999, Status::Revoked),
            (revoked, 3_000, Status::Released),
        ] {
            assert_eq!(life.status(height), status, "{height}");
        }
    }

    #[test]
    fn ttl_is_capped_by_age_expiry_and_grace() {
        for (tip, wish, expected) in [
            (200, 3_600, 60),        // changed 101 blocks ago
            (818, 3_600, 60),        // 719 blocks ago
            (819, 3_600, 3_600),     // 720 blocks ago
            (819, 604_800, 501_600), // 4,180 blocks before expiry
            (4_998, 3_600, 120),     // one block before expiry
            (4_999, 3_600, 60),      // grace
            (5_998, 30, 30),
        ] {
            assert_eq!(LIFE.ttl_s(wish, &facts(tip)), expected, "{tip}");
        }
        assert_eq!(facts(1).negative_ttl_s(), 60);
        assert_eq!(Facts { block_interval_s: 2, ..facts(1) }.negative_ttl_s(), 2);
    }
}
