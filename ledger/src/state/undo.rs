//! Taking a block back: the entries that it changed, as they were before.
//!
//! The root of the tree depends on the set of entries only (protocol §5.2), so writing the old entries back is all
//! there is to it. The caller compares the resulting root with the parent's.

use super::{Leaf, delta::Delta};
use crate::{
    codec::{Decode, DecodeError, Encode, Reader, Writer},
    hash::Key,
};

/// Entries before a block, ascending by key; `None` where there was none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Undo(pub Vec<(Key, Option<Leaf>)>);

impl Undo {
    /// What takes `delta` back.
    pub fn of(delta: &Delta) -> Self {
        Self(delta.changes.iter().map(|change| (change.key, change.before.clone())).collect())
    }
}

impl Encode for Undo {
    fn encode(&self, w: &mut Writer) {
        w.u32(u32::try_from(self.0.len()).expect("a block changes far fewer entries than 2^32"));
        for (key, leaf) in &self.0 {
            w.raw(key.as_ref()).u8(u8::from(leaf.is_some()));
            if let Some(leaf) = leaf {
                w.put(leaf);
            }
        }
    }
}

impl Decode for Undo {
    /// A block's transactions touch at most 4,096 entries. Entries due at one height can come from several years of
    /// renewals that were aligned on purpose, each year adding about 1.5 MB; undo data is read from our own disk only.
    const MAX_BYTES: usize = 64 << 20;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.u32("undo count")? as usize;
        let mut entries = Vec::with_capacity(count.min(r.remaining() / 33));
        for _ in 0..count {
            let key = r.hash("undo key")?;
            let leaf = match r.u8("undo presence")? {
                0 => None,
                1 => Some(r.get()?),
                _ => return Err(DecodeError::Invalid("undo presence")),
            };
            entries.push((key, leaf));
        }
        Ok(Self(entries))
    }
}
