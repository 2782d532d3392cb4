//! Operations on disk: one row each, keyed by id, JSON inside (they are few, and a person may have to read one).

use tracing::error;

use super::{OpId, record::Record};
use crate::store::{Durability, Kv, StoreError};

/// Rows read at start: all that could ever be there, with room.
const MAX_ROWS: usize = 4 * (super::MAX_ACTIVE + super::MAX_FINISHED);

/// The table of operations.
pub(super) struct Journal {
    rows: Kv,
}

impl Journal {
    pub(super) fn new(rows: Kv) -> Self {
        Self { rows }
    }

    /// Writes a row; it survives a power failure when this returns.
    pub(super) fn put(&self, record: &Record) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).expect("a record has string keys and no custom failing serialiser");
        self.rows.put(&record.id.to_bytes(), &bytes, Durability::Synced)
    }

    /// Deletes a row.
    pub(super) fn delete(&self, id: OpId) -> Result<(), StoreError> {
        self.rows.delete(&id.to_bytes(), Durability::Buffered)
    }

    /// All rows, ascending by id. A row that cannot be read is reported and left alone.
    pub(super) fn load(&self) -> Result<Vec<Record>, StoreError> {
        let rows = self.rows.list(&[], MAX_ROWS)?;
        Ok(rows.into_iter().filter_map(|(key, value)| parse(&key, &value)).collect())
    }
}

fn parse(key: &[u8], value: &[u8]) -> Option<Record> {
    match serde_json::from_slice::<Record>(value) {
        Ok(record) => Some(record),
        Err(error) => {
            error!(key = %ledger::hash::to_hex(key), %error, "an operation's row cannot be read");
            None
        }
    }
}
