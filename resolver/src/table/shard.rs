//! One packed piece of a [`Table`](super::Table): entries in name order in one run of bytes, and where each begins.
//!
//! The layout is private to this process: `name length · name · five heights of 4 bytes · records`.

use bytes::Bytes;
use ledger::name::Name;

use crate::{
    records::RecordSet,
    source::{Entry, Life},
};

/// Bytes of the heights of a [`Life`].
const LIFE_BYTES: usize = 5 * 4;
/// Stands for "not revoked". No height reaches it: at two seconds a block that takes 272 years.
const NOT_REVOKED: u32 = u32::MAX;

/// Entries in name order.
#[derive(Default)]
pub(super) struct Shard {
    starts: Box<[u32]>,
    bytes: Bytes,
    malformed_records: u64,
}

/// A shard while it is written.
#[derive(Default)]
struct Builder {
    starts: Vec<u32>,
    bytes: Vec<u8>,
    malformed_records: u64,
}

impl Shard {
    /// The entry of `name`.
    pub(super) fn get(&self, name: &Name) -> Option<Entry> {
        let index = self.starts.partition_point(|&start| name_at(&self.bytes[start as usize..]) < name.as_bytes());
        let packed = self.packed(index)?;
        (name_at(packed) == name.as_bytes()).then(|| self.unpack(packed))
    }

    /// The shard after `changes`, which come in name order, each name once.
    pub(super) fn with_changes<'a>(&self, changes: impl Iterator<Item = (&'a Name, Option<&'a Entry>)>) -> Self {
        let mut builder = Builder::default();
        let mut old = (0..self.starts.len()).filter_map(|index| self.packed(index)).peekable();
        for (name, change) in changes {
            while let Some(packed) = old.next_if(|packed| name_at(packed) < name.as_bytes()) {
                builder.push_packed(packed);
            }
            old.next_if(|packed| name_at(packed) == name.as_bytes());
            if let Some(entry) = change {
                builder.push(name, entry);
            }
        }
        old.for_each(|packed| builder.push_packed(packed));
        builder.finish()
    }

    pub(super) fn names(&self) -> u64 {
        self.starts.len() as u64
    }

    pub(super) fn malformed_records(&self) -> u64 {
        self.malformed_records
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.starts)
    }

    fn packed(&self, index: usize) -> Option<&[u8]> {
        let start = *self.starts.get(index)? as usize;
        let end = self.starts.get(index + 1).map_or(self.bytes.len(), |&next| next as usize);
        Some(&self.bytes[start..end])
    }

    fn unpack(&self, packed: &[u8]) -> Entry {
        let (life, records) = packed[1 + name_at(packed).len()..].split_at(LIFE_BYTES);
        Entry { life: read_life(life), records: RecordSet::from_bytes(self.bytes.slice_ref(records)) }
    }
}

impl Builder {
    fn push(&mut self, name: &Name, entry: &Entry) {
        self.starts.push(self.bytes.len() as u32);
        self.bytes.push(name.as_bytes().len() as u8);
        self.bytes.extend_from_slice(name.as_bytes());
        let life = &entry.life;
        let revoked = life.revoked_until.unwrap_or(NOT_REVOKED);
        for height in [life.active_from, life.expires_at, life.grace_until, revoked, life.last_change] {
            self.bytes.extend_from_slice(&height.to_le_bytes());
        }
        self.bytes.extend_from_slice(entry.records.as_bytes());
        self.malformed_records += u64::from(entry.records.skipped());
    }

    fn push_packed(&mut self, packed: &[u8]) {
        self.starts.push(self.bytes.len() as u32);
        self.bytes.extend_from_slice(packed);
        let skipped = packed.get(1 + name_at(packed).len() + LIFE_BYTES).copied().unwrap_or(0);
        self.malformed_records += u64::from(skipped);
    }

    fn finish(mut self) -> Shard {
        self.bytes.shrink_to_fit();
        Shard { starts: self.starts.into(), bytes: self.bytes.into(), malformed_records: self.malformed_records }
    }
}

fn name_at(packed: &[u8]) -> &[u8] {
    &packed[1..1 + usize::from(packed[0])]
}

fn read_life(bytes: &[u8]) -> Life {
    let height = |index: usize| {
        let at = index * 4;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    Life {
        active_from: height(0),
        expires_at: height(1),
        grace_until: height(2),
        revoked_until: Some(height(3)).filter(|&until| until != NOT_REVOKED),
        last_change: height(4),
    }
}
