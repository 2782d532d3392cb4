//! What the zone holds: the records of one entry at one height, and all of a snapshot, one shard at a time.
//!
//! A secondary follows the RFCs, so it answers as [`answer`](crate::zones::answer) does if it is given exactly what that would
//! find: nothing that a cut, a CNAME or a DNAME hides, except addresses below a cut, which are glue there. It depends
//! on nothing but the entry and the height, not even on the suffix.
//!
//! TTLs do not count down towards the next change of status ([`Life::zone_ttl_s`](crate::names::source::Life::zone_ttl_s)).

use std::{collections::VecDeque, sync::Arc};

use crate::{
    dns::{
        name::{Dname, ancestors},
        rrset::RrSet,
        rtype,
    },
    names::{
        records::RecordRef,
        source::NameView as _,
        table::{SHARDS, Table},
        view::{EntryRef, Status},
    },
    zones::{answer::is_single, sign::canonical::canonical_data, site::Zone},
};

/// One record of a zone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ZoneRecord {
    /// Owner below the apex, in wire labels without the root byte; empty for the apex.
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) ttl_s: u32,
    pub(crate) data: Vec<u8>,
}

/// The records of `name` that the zone holds at tip `height`: sets together, each record once.
pub(crate) fn records_of(name: &[u8], entry: EntryRef<'_>, height: u32) -> Vec<ZoneRecord> {
    if !matches!(entry.life.status(height.saturating_add(1)), Status::Active | Status::Grace) {
        return Vec::new();
    }
    let all: Vec<RecordRef<'_>> = entry.records.iter().collect();
    let mut records: Vec<ZoneRecord> = Vec::with_capacity(all.len());
    for record in all.iter().filter(|record| is_visible(record, &all)) {
        let owner = [record.sub, &[name.len() as u8], name].concat();
        let ttl_s = entry.life.zone_ttl_s(record.ttl_s, height);
        let in_set = |one: &ZoneRecord| one.owner == owner && one.rtype == record.rtype;
        let first = records.iter().rposition(in_set).map(|last| {
            let before = records[..last].iter().rev().take_while(|one| in_set(one)).count();
            last - before
        });
        let mut new = ZoneRecord { owner: owner.clone(), rtype: record.rtype, ttl_s, data: record.data.to_vec() };
        if let Some(first) = first {
            if is_single(record.rtype) {
                continue;
            }
            // A set has one TTL, the shortest (RFC 2181 §5.2).
            let set = &mut records[first..];
            let shortest = set[0].ttl_s.min(ttl_s);
            set.iter_mut().for_each(|one| one.ttl_s = shortest);
            new.ttl_s = shortest;
            let is_same = |one: &ZoneRecord| {
                one.data == new.data || canonical_data(one.rtype, &one.data) == canonical_data(new.rtype, &new.data)
            };
            if set.iter().any(is_same) {
                continue;
            }
        }
        records.push(new);
    }
    records
}

/// Whether the walk to the owner of `record` gets there and finds it (see `answer/entry.rs`), or whether it is glue.
fn is_visible(record: &RecordRef<'_>, all: &[RecordRef<'_>]) -> bool {
    let has = |at: &[u8], rtype: u16| all.iter().any(|other| other.rtype == rtype && other.sub == at);
    let is_address = matches!(record.rtype, rtype::A | rtype::AAAA);
    let path: Vec<&[u8]> = ancestors(record.sub).collect();
    for &at in path.iter().rev() {
        if has(at, rtype::NS) {
            let at_cut = at == record.sub && matches!(record.rtype, rtype::NS | rtype::DS);
            return at_cut || is_address && !ends_in_wildcard(record.sub);
        }
        let is_alias = has(at, rtype::CNAME);
        if at == record.sub {
            return record.rtype == rtype::CNAME || !is_alias;
        }
        if !is_alias && has(at, rtype::DNAME) {
            return false;
        }
    }
    // Unreachable: the last step of the path is the owner itself.
    false
}

fn ends_in_wildcard(sub: &[u8]) -> bool {
    ancestors(sub).any(|at| at.starts_with(b"\x01*"))
}

/// The records at the zone's own names but the SOA record.
pub(crate) fn apex_records(zone: &Zone, table: &Table) -> Vec<ZoneRecord> {
    let facts = table.facts();
    let sets = zone.apex_sets(&facts).into_iter().filter(|set| set.rtype == rtype::NS).chain(zone.name_server_sets());
    sets.flat_map(|set| of_set(&set, zone.apex())).collect()
}

/// The SOA record.
pub(crate) fn soa(zone: &Zone, table: &Table) -> ZoneRecord {
    let set = zone.soa(&table.facts());
    ZoneRecord { owner: Vec::new(), rtype: rtype::SOA, ttl_s: set.ttl_s, data: set.data.concat() }
}

fn of_set(set: &RrSet, apex: &Dname) -> Vec<ZoneRecord> {
    let owner = set.owner.relative_to(apex).unwrap_or_default();
    let record = |data: &bytes::Bytes| ZoneRecord {
        owner: owner.to_vec(),
        rtype: set.rtype,
        ttl_s: set.ttl_s,
        data: data.to_vec(),
    };
    set.data.iter().map(record).collect()
}

/// The records of all names of a snapshot. Holds those of one shard at a time.
pub(crate) struct AllNames {
    table: Arc<Table>,
    shard: usize,
    ready: VecDeque<ZoneRecord>,
}

impl AllNames {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, shard: 0, ready: VecDeque::new() }
    }
}

impl Iterator for AllNames {
    type Item = ZoneRecord;

    fn next(&mut self) -> Option<ZoneRecord> {
        let height = self.table.facts().height;
        while self.ready.is_empty() && self.shard < SHARDS {
            let entries = self.table.shard(self.shard);
            self.ready.extend(entries.flat_map(|(name, entry)| records_of(name, entry, height)));
            self.shard += 1;
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use ledger::record::{Record, Records};

    use super::*;
    use crate::names::view::{Entry, Life};

    const LIFE: Life =
        Life { active_from: 100, expires_at: 5_000, grace_until: 6_000, revoked_until: None, last_change: 100 };

    fn show(life: Life, records: &[(&str, u16, u32, &[u8])], height: u32) -> Vec<String> {
        let record = |(sub, rtype, ttl, data): &(&str, u16, u32, &[u8])| {
            let wire = sub.parse::<Dname>().expect("a name").as_wire().to_vec();
            Record { sub: wire[..wire.len() - 1].to_vec(), rtype: *rtype, ttl: *ttl, rdata: data.to_vec() }
        };
        let entry = Entry::new(life, &Records::new(records.iter().map(record).collect()).expect("canonical"));
        let entry = EntryRef { life, records: crate::names::records::RecordsRef::new(entry.records.as_bytes()) };
        let text = |record: &ZoneRecord| {
            let owner = Dname::from_wire(&[&record.owner[..], &[0]].concat()).expect("a name");
            format!("{owner} {} {}", record.ttl_s, record.rtype)
        };
        records_of(b"n", entry, height).iter().map(text).collect()
    }

    const A: (&str, u16, u32, &[u8]) = (".", rtype::A, 3_600, b"abcd");

    #[test]
    fn a_name_is_there_from_its_first_active_block_to_the_end_of_grace() {
        for (height, expected) in
            [(98, &[][..]), (99, &["n. 60 1"]), (818, &["n. 60 1"]), (819, &["n. 3600 1"]), (4_998, &["n. 3600 1"])]
        {
            assert_eq!(show(LIFE, &[A], height), expected, "{height}");
        }
        assert_eq!(show(LIFE, &[A], 4_999), ["n. 60 1"]);
        assert_eq!(show(LIFE, &[A], 5_998), ["n. 60 1"]);
        assert!(show(LIFE, &[A], 5_999).is_empty());
        assert!(show(Life { revoked_until: Some(9_000), ..LIFE }, &[A], 1_000).is_empty());
    }

    #[test]
    fn each_turn_is_announced() {
        for (height, turn) in [(0, 100), (100, 820), (820, 5_000), (5_000, 6_000)] {
            assert_eq!(LIFE.next_turn(height), Some(turn));
            assert!(LIFE.turns_within(turn - 1, turn) && !LIFE.turns_within(turn, turn));
        }
        assert_eq!(LIFE.next_turn(6_000), None);
    }

    #[test]
    fn what_is_hidden_stays_here() {
        const TXT: u16 = rtype::TXT;
        let cut = [
            (".", rtype::A, 300, &b"abcd"[..]),
            ("a", rtype::NS, 300, b"\x01x\0"),
            ("a", rtype::DS, 300, b"\0\0\0\x09\x01"),
            ("a", TXT, 300, b"\x01t"),
            ("x.a", TXT, 300, b"\x01t"),
            ("ns.a", rtype::AAAA, 300, &[0; 16]),
            ("*.a", rtype::AAAA, 300, &[0; 16]),
        ];
        assert_eq!(show(LIFE, &cut, 1_000), ["n. 300 1", "a.n. 300 2", "a.n. 300 43", "ns.a.n. 300 28"]);
        let alias = [
            ("c", rtype::A, 300, &b"abcd"[..]),
            ("c", rtype::CNAME, 200, b"\x01x\0"),
            ("c", rtype::CNAME, 100, b"\x01y\0"),
            ("c", rtype::DNAME, 300, b"\x01x\0"),
            ("below.c", TXT, 300, b"\x01t"),
        ];
        assert_eq!(show(LIFE, &alias, 1_000), ["c.n. 200 5", "below.c.n. 300 16"]);
        let dname =
            [("d", TXT, 300, &b"\x01t"[..]), ("d", rtype::DNAME, 300, b"\x01x\0"), ("below.d", TXT, 300, b"\x01t")];
        assert_eq!(show(LIFE, &dname, 1_000), ["d.n. 300 16", "d.n. 300 39"]);
    }

    #[test]
    fn a_set_has_one_ttl_and_no_record_twice() {
        let set = [
            (".", rtype::NS, 300, &b"\x01A\0"[..]),
            (".", rtype::NS, 200, b"\x01a\0"),
            (".", rtype::NS, 400, b"\x01b\0"),
        ];
        assert_eq!(show(LIFE, &set, 1_000), ["n. 200 2", "n. 200 2"]);
    }
}
