//! What entries can be read from, and how.

use super::{error::StoreError, schema::Table};

/// Which way a scan goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Ascending keys.
    Up,
    /// Descending keys.
    Down,
}

/// Whether a scan goes on.
pub type Flow = std::ops::ControlFlow<()>;

/// Called with each entry of a scan: key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Flow, StoreError> + 'a;

/// Something entries can be read from.
pub trait Read {
    /// The entry at `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The entries at `keys`, in their order.
    fn get_many(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Visits the entries with `from ≤ key < to`, in one direction, until `visit` breaks.
    fn scan(
        &self,
        table: Table,
        range: (&[u8], &[u8]),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;

    /// Visits the entries whose key starts with `prefix`.
    fn scan_prefix(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.scan(table, (prefix, &after_prefix(prefix)), Direction::Up, visit)
    }
}

/// The first key behind all keys that start with `prefix`; empty, which means no end, if there is none.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        for (prefix, end) in [(&b"ab"[..], &b"ac"[..]), (b"a\xff", b"b"), (b"\xff\xff", b""), (b"", b"")] {
            assert_eq!(after_prefix(prefix), end);
        }
    }
}
