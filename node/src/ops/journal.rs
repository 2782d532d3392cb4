//! Operations on disk: one row each, keyed by id, JSON inside (they are few, and a person may have to read one).

use tracing::error;

use super::{
    id::OpId,
    limits::{MAX_ACTIVE, MAX_FINISHED},
    record::Record,
};
use crate::store::{Durability, Kv, StoreError};

/// Rows read at start: all that could ever be there, with room.
const MAX_ROWS: usize = 4 * (MAX_ACTIVE + MAX_FINISHED);

/// Key and value.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// Where the rows are kept: in the database, or for a test in something that fails when it is told to.
pub(super) trait Rows: Send {
    /// Writes a row; it survives a power failure when this returns.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Deletes a row, if it is there.
    fn delete(&self, key: &[u8]) -> Result<(), StoreError>;

    /// All rows, ascending, at most `max`.
    fn list(&self, max: usize) -> Result<Vec<Row>, StoreError>;
}

impl Rows for Kv {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        Kv::put(self, key, value, Durability::Synced)
    }

    fn delete(&self, key: &[u8]) -> Result<(), StoreError> {
        Kv::delete(self, key, Durability::Buffered)
    }

    fn list(&self, max: usize) -> Result<Vec<Row>, StoreError> {
        Kv::list(self, &[], max)
    }
}

/// The table of operations.
pub(super) struct Journal {
    rows: Box<dyn Rows>,
}

impl Journal {
    pub(super) fn new(rows: Box<dyn Rows>) -> Self {
        Self { rows }
    }

    /// Writes a row; it survives a power failure when this returns.
    pub(super) fn put(&self, record: &Record) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).expect("a record has string keys and no custom failing serialiser");
        self.rows.put(&record.id.to_bytes(), &bytes)
    }

    /// Deletes a row.
    pub(super) fn delete(&self, id: OpId) -> Result<(), StoreError> {
        self.rows.delete(&id.to_bytes())
    }

    /// All rows, ascending by id. A row that cannot be read is reported and left alone.
    pub(super) fn load(&self) -> Result<Vec<Record>, StoreError> {
        let rows = self.rows.list(MAX_ROWS)?;
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
