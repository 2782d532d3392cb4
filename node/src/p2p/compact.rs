//! Compact blocks (protocol §10): a block as its header and short ids of what its readers probably have already.
//!
//! ```text
//! header[248] salt:u64 ids:u16 id[6]… prefilled:u16 { index:u16 transaction }…
//!
//! id = the first six bytes of SipHash-2-4 of the wtxid under the key H("sid", block_hash ‖ salt)[..16], little-endian
//! ```
//!
//! A block of n transactions has n entries in its order: those at an `index`, ascending, are prefilled, and the ids
//! stand for the others.
//!
//! For: the layout, and putting a block together from transactions that are here and some that have to be asked for.
//! Not for: whom to ask, and when (`service::rebuilding`); whether the block is right (the chain).
//!
//! Guarantees: decoding never allocates more than the bytes received justify. Putting together takes one pass over
//! the candidates. Short ids may collide, by chance one block in millions: then the block's roots do not match, which
//! the chain notices, and the whole body is asked for. The key depends on the block's hash, so that nobody can make a
//! transaction that collides before the block is there.

use std::collections::{BTreeMap, btree_map::Entry as Slot};

use ledger::{
    block::{Block, Header},
    codec::{Decode, DecodeError, Encode, Reader, Writer},
    hash::{self, BlockHash, Tag, WitnessTxId},
    params::{MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS},
    rules::block::Content,
    transaction::Transaction,
};
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;

/// No compact block is longer (protocol §10).
pub const MAX_COMPACT_BYTES: usize = 65_000;
/// Bytes of transactions that a compact block may carry besides its ids: what a reader lacks is asked for in one
/// question, and every reader gets a compact block several times.
const MAX_PREFILLED_BYTES: usize = 16_384;
/// Most transactions asked for one by one: half of the largest block. From there on the whole block is asked for.
pub const MAX_MISSING: usize = MAX_BLOCK_TRANSACTIONS / 2;

/// The first 48 bits of a keyed hash of a transaction's exact bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShortId([u8; 6]);

/// What turns transactions into short ids, for one compact block.
#[derive(Clone, Copy, Debug)]
struct ShortIds(SipHasher24);

impl ShortIds {
    fn new(block: &BlockHash, salt: u64) -> Self {
        let key = hash::hash(Tag::ShortId, &[block.as_ref(), &salt.to_le_bytes()]);
        let key = key.0.first_chunk::<16>().expect("a hash has 32 bytes");
        Self(SipHasher24::new_with_key(key))
    }

    fn of(&self, wtxid: &WitnessTxId) -> ShortId {
        let mut hasher = self.0;
        hasher.write(wtxid.as_ref());
        let [a, b, c, d, e, f, _, _] = hasher.finish().to_le_bytes();
        ShortId([a, b, c, d, e, f])
    }
}

/// One transaction of a compact block.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    Id(ShortId),
    Whole(Box<Transaction>),
}

/// A block with short ids in place of transactions that readers probably have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompactBlock {
    /// The header.
    pub header: Header,
    salt: u64,
    /// One per transaction, in the block's order.
    entries: Vec<Entry>,
}

impl CompactBlock {
    /// A block for readers that have its transactions, but for those of which `is_rare` says that they may not. If
    /// those are too many bytes, readers ask for the rest.
    pub fn new(block: &Block, salt: u64, is_rare: impl Fn(&WitnessTxId) -> bool) -> Self {
        let (ids, mut prefilled) = (ShortIds::new(&block.hash(), salt), 0);
        let mut entry = |tx: &Transaction| {
            let (wtxid, bytes) = (tx.wtxid(), tx.byte_len());
            if is_rare(&wtxid) && prefilled + bytes <= MAX_PREFILLED_BYTES {
                prefilled += bytes;
                Entry::Whole(Box::new(tx.clone()))
            } else {
                Entry::Id(ids.of(&wtxid))
            }
        };
        Self { header: block.header, salt, entries: block.transactions.iter().map(&mut entry).collect() }
    }

    /// A block of which nothing has to be asked for. For tests and for whoever plays a peer: the bytes are capped.
    pub fn whole(block: &Block) -> Self {
        let entries = block.transactions.iter().cloned().map(Box::new).map(Entry::Whole).collect();
        Self { header: block.header, salt: 0, entries }
    }

    /// A header whose readers have to ask for as many transactions as are said. For whoever plays a peer.
    pub fn without_body(header: Header, transactions: u16) -> Self {
        let ids = ShortIds::new(&header.hash(), 0);
        let nameless = |number: u16| Entry::Id(ids.of(&hash::hash(Tag::GossipId, &[&number.to_le_bytes()]).0.into()));
        Self { header, salt: 0, entries: (0..transactions).map(nameless).collect() }
    }

    /// Whether what it carries can be the body that the header commits to: always while something is missing, whoever
    /// passes it on cannot know.
    pub fn may_be_right(&self) -> bool {
        let whole = self.entries.iter().map(|entry| match entry {
            Entry::Whole(tx) => Some(tx.as_ref()),
            Entry::Id(_) => None,
        });
        let Some(all) = whole.collect::<Option<Vec<_>>>() else { return true };
        let (content, ext) = (Content::of(all), &self.header.ext);
        (content.tx_root, content.witness_root) == (ext.tx_root, ext.witness_root)
    }

    /// Puts the block together from `candidates`, as far as they go.
    pub fn rebuild<'a>(self, candidates: impl Iterator<Item = (WitnessTxId, &'a Transaction)>) -> Rebuild {
        let ids = ShortIds::new(&self.header.hash(), self.salt);
        // `None` for an id that stands for several entries or candidates: which one is meant is not known.
        let mut wanted: BTreeMap<ShortId, Option<usize>> = BTreeMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let Entry::Id(id) = entry else { continue };
            match wanted.entry(*id) {
                Slot::Vacant(slot) => drop(slot.insert(Some(index))),
                Slot::Occupied(mut slot) => drop(slot.insert(None)),
            }
        }
        let mut found: BTreeMap<ShortId, (WitnessTxId, &Transaction)> = BTreeMap::new();
        for (wtxid, transaction) in candidates {
            let id = ids.of(&wtxid);
            let Some(place @ Some(_)) = wanted.get_mut(&id) else { continue };
            match found.entry(id) {
                Slot::Vacant(slot) => drop(slot.insert((wtxid, transaction))),
                Slot::Occupied(slot) if slot.get().0 == wtxid => {}
                Slot::Occupied(_) => *place = None,
            }
        }
        let mut transactions: Vec<_> = self.entries.iter().map(Entry::whole).collect();
        for (id, (_, transaction)) in found {
            if let Some(Some(index)) = wanted.get(&id) {
                transactions[*index] = Some(transaction.clone());
            }
        }
        Rebuild { header: self.header, transactions }
    }
}

impl Entry {
    fn whole(&self) -> Option<Transaction> {
        match self {
            Self::Whole(transaction) => Some(transaction.as_ref().clone()),
            Self::Id(_) => None,
        }
    }
}

impl Encode for CompactBlock {
    fn encode(&self, w: &mut Writer) {
        let (mut ids, mut prefilled) = (Vec::new(), Vec::new());
        for (index, entry) in (0u16..).zip(&self.entries) {
            match entry {
                Entry::Id(id) => ids.push(id),
                Entry::Whole(transaction) => prefilled.push((index, transaction.as_ref())),
            }
        }
        w.put(&self.header).u64(self.salt).u16(ids.len() as u16);
        ids.into_iter().for_each(|ShortId(id)| {
            w.raw(id);
        });
        w.u16(prefilled.len() as u16);
        prefilled.into_iter().for_each(|(index, transaction)| {
            w.u16(index).put(transaction);
        });
    }
}

impl Decode for CompactBlock {
    const MAX_BYTES: usize = MAX_COMPACT_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (header, salt) = (r.get()?, r.u64("salt")?);
        let ids = usize::from(r.u16("ids")?);
        if ids > MAX_BLOCK_TRANSACTIONS {
            return Err(DecodeError::Invalid("ids"));
        }
        let mut ids = r.raw(ids * 6, "ids")?.chunks_exact(6).map(|id| Entry::Id(ShortId(id.try_into().expect("six"))));
        let prefilled = usize::from(r.u16("prefilled")?);
        let total = ids.len() + prefilled;
        if total > MAX_BLOCK_TRANSACTIONS {
            return Err(DecodeError::Invalid("prefilled"));
        }
        let mut entries = Vec::with_capacity(ids.len() + prefilled.min(r.remaining() / 50));
        for _ in 0..prefilled {
            let index = usize::from(r.u16("index")?);
            // As many ids as lie between; fewer means that the index is beyond the end, or not above the last one.
            let gap = index.checked_sub(entries.len()).ok_or(DecodeError::Invalid("index"))?;
            entries.extend(ids.by_ref().take(gap));
            if entries.len() != index {
                return Err(DecodeError::Invalid("index"));
            }
            entries.push(Entry::Whole(Box::new(r.get()?)));
        }
        entries.extend(ids);
        Ok(Self { header, salt, entries })
    }
}

/// A block that is being put together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuild {
    header: Header,
    transactions: Vec<Option<Transaction>>,
}

/// What to do next about a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// It is complete; whether it is right shows when it is judged.
    Judge(Block),
    /// Ask for the transactions at these indexes.
    Ask(Rebuild, Vec<u16>),
    /// So much is missing that the whole block is asked for.
    Fetch(Header),
}

impl Rebuild {
    /// What to do next.
    pub fn next(self) -> Next {
        let missing: Vec<u16> =
            (0u16..).zip(&self.transactions).filter(|(_, tx)| tx.is_none()).map(|(index, _)| index).collect();
        if missing.len() * 2 > self.transactions.len() || !self.fits() {
            return Next::Fetch(self.header);
        }
        if !missing.is_empty() {
            return Next::Ask(self, missing);
        }
        Next::Judge(Block { header: self.header, transactions: self.transactions.into_iter().flatten().collect() })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether what is there can be in one block: ids may name any transactions of the mempool.
    fn fits(&self) -> bool {
        self.transactions.iter().flatten().map(Transaction::byte_len).sum::<usize>() <= MAX_BLOCK_BYTES
    }

    /// Puts in what was asked for, in order. `None` if it is not as many as are missing, or too much for a block.
    ///
    /// Whether they fit their ids is not looked at: who gives them may speak of the right block, and who made the ids not.
    pub fn fill(self, answer: Vec<Transaction>) -> Option<Block> {
        let mut answer = answer.into_iter();
        let transactions = self.transactions.into_iter().map(|transaction| transaction.or_else(|| answer.next()));
        let whole = Self { header: self.header, transactions: transactions.collect() };
        if answer.next().is_some() || !whole.fits() {
            return None;
        }
        let transactions = whole.transactions.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Block { header: whole.header, transactions })
    }
}

#[cfg(test)]
mod tests;
