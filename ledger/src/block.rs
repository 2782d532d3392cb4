//! Blocks (protocol §4.6): the layout only. What makes them valid is in `rules`.

use crate::{
    codec::{Decode, DecodeError, Encode, Reader, Writer},
    hash::BlockHash,
    params::{MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS},
    transaction::Transaction,
};

pub use crate::header::{Header, HeaderBatch, HeaderCore, HeaderExt};

/// A block: header and transactions ascending by txid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions.
    pub transactions: Vec<Transaction>,
}

impl Block {
    /// Hash of the header.
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }
}

/// The header's wire form, a `u16` count, and the transactions one after the other.
impl Encode for Block {
    fn encode(&self, w: &mut Writer) {
        w.put(&self.header);
        w.u16(u16::try_from(self.transactions.len()).expect("a block holds at most 2,048 transactions"));
        self.transactions.iter().for_each(|tx| tx.encode(w));
    }
}

impl Decode for Block {
    const MAX_BYTES: usize = MAX_BLOCK_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = r.get()?;
        let count = usize::from(r.u16("transaction count")?);
        if count > MAX_BLOCK_TRANSACTIONS {
            return Err(DecodeError::Invalid("transaction count"));
        }
        let mut transactions = Vec::with_capacity(count.min(r.remaining() / 50));
        for _ in 0..count {
            transactions.push(r.get()?);
        }
        Ok(Self { header, transactions })
    }
}
