//! A key-value space for a part of the node that keeps rows of its own.

use super::{
    batch::Durability,
    database::Store,
    error::StoreError,
    read::{Direction, Read},
    schema::Table,
};

/// One entry: key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Access to one table, whose owner alone knows its rows. Usable from any thread, beside the chain.
#[derive(Clone, Debug)]
pub struct Kv {
    store: Store,
    table: Table,
}

impl Store {
    /// Where the durable operations are kept.
    pub fn operations(&self) -> Kv {
        Kv { store: self.clone(), table: Table::Ops }
    }
}

impl Kv {
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
