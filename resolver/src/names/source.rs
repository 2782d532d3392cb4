//! What the resolver needs from the ledger: [`NameSource`], implemented by the node or by
//! [`SharedTable`](crate::names::table::SharedTable).
//!
//! A source gives out [`NameView`]s: immutable snapshots, one per query, so that a whole answer comes from one height.
//! The resolver knows no database, no peer and no clock; everything about time here is block heights.

use std::sync::Arc;

use crate::names::table::history::Published;
pub use crate::names::view::{
    Entry, EntryRef, Facts, Life, NameView, Readiness, SETTLED_AFTER_BLOCKS, Status, UNSETTLED_TTL_S, Version,
};

/// Gives the newest snapshot.
pub trait NameSource: Send + Sync + 'static {
    /// The snapshot to answer from. Called for each query: it must neither block nor copy names.
    fn view(&self) -> Arc<dyn NameView>;

    /// The newest version of the zone for secondaries, if the source keeps versions.
    fn published(&self) -> Option<Arc<Published>> {
        None
    }
}
