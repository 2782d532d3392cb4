//! What changes between two record sets.

use ledger::record::{Record, Records};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A record is new.
    Added(Record),
    /// A record goes.
    Removed(Record),
    /// The only record of its owner and type gets other data or another TTL.
    Replaced(Record, Record),
}

/// All changes, in canonical order of the records.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Diff {
    /// The changes.
    pub changes: Vec<Change>,
    /// Records before.
    pub before: usize,
}

impl Diff {
    /// The changes that lead from `old` to `new`.
    pub fn between(old: &Records, new: &Records) -> Self {
        let missing_in = |set: &Records, record: &Record| !set.as_slice().contains(record);
        let mut removed: Vec<&Record> = old.as_slice().iter().filter(|record| missing_in(new, record)).collect();
        let mut changes = Vec::new();
        for record in new.as_slice().iter().filter(|record| missing_in(old, record)) {
            match removed.iter().position(|other| replaces(record, other, old, new)) {
                Some(index) => changes.push(Change::Replaced(removed.remove(index).clone(), record.clone())),
                None => changes.push(Change::Added(record.clone())),
            }
        }
        changes.extend(removed.into_iter().cloned().map(Change::Removed));
        changes.sort_by(|a, b| order(a).cmp(&order(b)));
        Self { changes, before: old.as_slice().len() }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many records are added, replaced and removed.
    pub fn counts(&self) -> (usize, usize, usize) {
        self.changes.iter().fold((0, 0, 0), |(added, replaced, removed), change| match change {
            Change::Added(_) => (added + 1, replaced, removed),
            Change::Replaced(..) => (added, replaced + 1, removed),
            Change::Removed(_) => (added, replaced, removed + 1),
        })
    }

    /// Whether more than 30 % of the records go: more often an incomplete file than a wish.
    pub fn deletes_much(&self) -> bool {
        let (_, _, removed) = self.counts();
        removed * 10 > self.before * 3
    }
}

/// The same data with another TTL, or the only record of this owner and type before and after.
fn replaces(new: &Record, old: &Record, before: &Records, after: &Records) -> bool {
    let alike = |record: &&Record| (&record.sub, record.rtype) == (&new.sub, new.rtype);
    let single = |set: &Records| set.as_slice().iter().filter(alike).count() == 1;
    alike(&old) && (old.rdata == new.rdata || (single(before) && single(after)))
}

fn order(change: &Change) -> (&[u8], u16, &[u8]) {
    let (Change::Added(record) | Change::Removed(record) | Change::Replaced(_, record)) = change;
    (&record.sub, record.rtype, &record.rdata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sub: &[u8], last: u8, ttl: u32) -> Record {
        Record { sub: sub.to_vec(), rtype: 1, ttl, rdata: vec![192, 0, 2, last] }
    }

    fn set(records: &[Record]) -> Records {
        Records::new(records.to_vec()).expect("canonical")
    }

    #[test]
    fn changes() {
        let (www, other) = (b"\x03www", b"\x05other");
        let old = set(&[record(b"", 1, 300), record(www, 1, 300), record(www, 2, 300)]);
        let new = set(&[record(b"", 9, 300), record(www, 1, 600), record(other, 3, 300)]);
        let diff = Diff::between(&old, &new);
        assert_eq!(
            diff.changes,
            [
                Change::Replaced(record(b"", 1, 300), record(b"", 9, 300)),
                Change::Replaced(record(www, 1, 300), record(www, 1, 600)),
                Change::Removed(record(www, 2, 300)),
                Change::Added(record(other, 3, 300)),
            ]
        );
        assert_eq!(diff.counts(), (1, 2, 1));
        assert!(diff.deletes_much(), "one of three");
        assert!(Diff::between(&old, &old).is_empty() && !Diff::between(&old, &old).deletes_much());
        assert!(!Diff::between(&Records::empty(), &new).deletes_much());
    }
}
