//! What the fuzz targets of canonical messages check: a decoder neither panics nor accepts two spellings of one value.

use ledger::codec::{Decode, decode, encode};

/// Decodes; what decodes must encode to the same bytes.
pub fn is_canonical<T: Decode>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes) {
        assert_eq!(encode(&value), bytes);
    }
}
