//! The schema, as one list.

/// A table of the database: a column family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[allow(missing_docs)] // The list below says what each holds.
pub enum Table {
    Headers,
    Heights,
    Bodies,
    Names,
    Commits,
    Tree,
    Expiry,
    Undo,
    Mmr,
    Owners,
    History,
    Transactions,
    Pool,
    Ops,
    Meta,
}

/// How a table is read, which decides how it is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Single entries at hashed keys, often absent ones: a Bloom filter answers those without a read.
    Points,
    /// Runs of neighbouring keys.
    Ranges,
    /// Few large values, written in key order and rarely read.
    Bulk,
}

/// One line of the schema.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// The table.
    pub table: Table,
    /// Its column family's name on disk.
    pub name: &'static str,
    pub(super) shape: Shape,
}

const fn spec(table: Table, name: &'static str, shape: Shape) -> TableSpec {
    TableSpec { table, name, shape }
}

/// Every table, in the order of [`Table`]. Integers in keys are big-endian, so that they sort.
pub const TABLES: [TableSpec; 15] = [
    // block hash → header in wire form ‖ total work ‖ status
    spec(Table::Headers, "headers", Shape::Points),
    // height → hash of the active chain's block
    spec(Table::Heights, "heights", Shape::Ranges),
    // height ‖ block hash → block. By height first, so that bodies arrive nearly in order and old ones go as a range.
    spec(Table::Bodies, "bodies", Shape::Bulk),
    // key → leaf of a name
    spec(Table::Names, "names", Shape::Points),
    // key → leaf of a commit
    spec(Table::Commits, "commits", Shape::Points),
    // page path → page of the state tree
    spec(Table::Tree, "tree", Shape::Points),
    // deletion height ‖ key → nothing
    spec(Table::Expiry, "expiry", Shape::Ranges),
    // height → entries as they were before that block of the active chain
    spec(Table::Undo, "undo", Shape::Bulk),
    // position → node of the header MMR over the active chain
    spec(Table::Mmr, "mmr", Shape::Ranges),
    // policy hash ‖ name → nothing, for the owner and for the next owner of a pending transfer
    spec(Table::Owners, "owners", Shape::Ranges),
    // name ‖ 0 ‖ height → what changed the name in that block; also the index of names by spelling
    spec(Table::History, "history", Shape::Ranges),
    // txid → height ‖ place in the block, for each copy in the active chain, lowest first
    spec(Table::Transactions, "transactions", Shape::Points),
    // wtxid → a transaction of the mempool
    spec(Table::Pool, "pool", Shape::Points),
    // the durable operations' own
    spec(Table::Ops, "ops", Shape::Ranges),
    // format, network, CHAIN_ID, tip record
    spec(Table::Meta, "meta", Shape::Ranges),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_the_enum() {
        for (index, spec) in TABLES.iter().enumerate() {
            assert_eq!(spec.table as usize, index, "{}", spec.name);
        }
    }
}
