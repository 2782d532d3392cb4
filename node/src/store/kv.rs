//! Key-value spaces for parts of the node that keep their own rows.

use super::{
    batch::Durability,
    database::Store,
    error::StoreError,
    read::{Direction, Read},
    schema::Table,
};

/// A key-value space. Each has one owner, who alone knows its rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// The address book and bans.
    Peers,
    /// Durable operations.
    Ops,
}

impl Space {
    fn table(self) -> Table {
        match self {
            Self::Peers => Table::Peers,
            Self::Ops => Table::Ops,
        }
    }
}

/// One entry: key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Access to one [`Space`]. Usable from any thread, beside the chain.
#[derive(Clone, Debug)]
pub struct Kv {
    store: Store,
    table: Table,
}

impl Store {
    /// A key-value space for another part of the node.
    pub fn kv(&self, space: Space) -> Kv {
        Kv { store: self.clone(), table: space.table() }
    }
}

impl Kv {
    /// The value at `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(self.table, key)
    }

    /// Writes one entry.
    pub fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<(), StoreError> {
        self.write(&[(key, Some(value))], durability)
    }

    /// Deletes one entry, if it is there.
    pub fn delete(&self, key: &[u8], durability: Durability) -> Result<(), StoreError> {
        self.write(&[(key, None)], durability)
    }

    /// Writes and deletes (`None`) several entries together or not at all.
    pub fn write(&self, changes: &[(&[u8], Option<&[u8]>)], durability: Durability) -> Result<(), StoreError> {
        let mut batch = self.store.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(self.table, key, value),
                None => batch.delete(self.table, key),
            }
        }
        batch.write(durability)
    }

    /// Up to `limit` entries with `from ≤ key`, ascending.
    pub fn list(&self, from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        self.store.scan(self.table, (from, &[]), Direction::Up, &mut |key, value| {
            if entries.len() == limit {
                return Ok(std::ops::ControlFlow::Break(()));
            }
            entries.push((key.to_vec(), value.to_vec()));
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }
}
