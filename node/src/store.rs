//! The database: the only place that knows RocksDB.
//!
//! For: keeping everything that must outlive the process, in the tables that [`TABLES`] lists, and for reading it back
//! from any thread. Not for: deciding what to keep; the chain writes blocks, other parts write their own key-value
//! space ([`Kv`]).
//!
//! Guarantees: a [`Batch`] is written whole or not at all, across all tables, whatever happens to the machine. A
//! database of another format or another network is refused with a sentence that says so. Bytes that do not pass
//! their checksum are an error, never an answer. Memory is bounded by the constants in `options`.

mod batch;
mod closed;
mod database;
mod error;
mod framing;
mod identity;
mod kv;
mod open;
mod options;
mod read;
mod rows;
mod schema;
mod snapshot;
mod stall;

pub use batch::{Batch, Durability};
pub use closed::Closed;
pub use database::Store;
pub use error::StoreError;
pub use identity::FORMAT;
pub use kv::Kv;
pub use options::OPEN_FILES;
pub use read::{Direction, Flow, Read, Visit};
pub use rows::{BodyKey, HeaderRow, PoolRow, Rows, TipRow, expiry_key, history_key, owner_key};
pub(crate) use rows::{TIP_KEY, fixed, parse, places_row, row};
pub use schema::{TABLES, Table};
pub use snapshot::Snapshot;

#[cfg(test)]
mod tests;
