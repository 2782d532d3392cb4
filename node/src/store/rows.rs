//! What stands in the rows, and typed access to them.
//!
//! Rows that consensus knows (headers, blocks, leaves, pages) are stored in their canonical bytes; the others are laid
//! out here. Every row is checked on reading: one that does not decode is [`StoreError::Corrupt`].

use std::ops::ControlFlow;

use ledger::{
    block::Header,
    codec::{Decode, DecodeError, Encode, Reader, Writer, decode, encode},
    hash::{BlockHash, Hash, Key, PolicyHash, TxId},
    history::{Node, Position},
    name::Name,
    state::{
        Leaf, NameState,
        tree::{Page, PagePath, value_hash},
        undo::Undo,
    },
};

use super::{error::StoreError, read::Read, schema::Table};

/// Where the tip record stands in [`Table::Meta`].
pub(crate) const TIP_KEY: &[u8] = b"tip";

/// A header with its place in the tree of headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderRow {
    /// The header.
    pub header: Header,
    /// Work of its chain, itself included.
    pub total_work: u128,
    /// Bits of `chain::index::Status`.
    pub status: u8,
}

impl Encode for HeaderRow {
    fn encode(&self, w: &mut Writer) {
        w.put(&self.header).u128(self.total_work).u8(self.status);
    }
}

impl Decode for HeaderRow {
    const MAX_BYTES: usize = Header::WIRE_BYTES + 16 + 1;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { header: r.get()?, total_work: r.u128("total_work")?, status: r.u8("status")? })
    }
}

/// The tip record: which block the state belongs to. Carries its own checksum, so that a damaged one is never followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TipRow {
    /// The tip's height.
    pub height: u32,
    /// The tip.
    pub hash: BlockHash,
    /// Root of the state tree.
    pub state_root: Hash,
}

impl TipRow {
    fn checksum(&self) -> [u8; 8] {
        let mut w = Writer::new();
        w.u32(self.height).raw(self.hash.as_ref()).raw(self.state_root.as_ref());
        value_hash(&w.finish()).0[..8].try_into().expect("eight of 32 bytes")
    }
}

impl Encode for TipRow {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.height).raw(self.hash.as_ref()).raw(self.state_root.as_ref()).raw(&self.checksum());
    }
}

impl Decode for TipRow {
    const MAX_BYTES: usize = 4 + 32 + 32 + 8;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let row = Self { height: r.u32("height")?, hash: r.hash("hash")?, state_root: r.hash("state_root")? };
        let checksum: [u8; 8] = r.array("checksum")?;
        if checksum == row.checksum() { Ok(row) } else { Err(DecodeError::Invalid("checksum")) }
    }
}

/// A transaction of the mempool. `origin` is zero for this node's own, else the peer's number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolRow {
    /// When it came, in Unix seconds.
    pub added_at: u64,
    /// Whether it is this node's own.
    pub is_local: u8,
    /// The transaction's bytes.
    pub transaction: Vec<u8>,
}

impl Encode for PoolRow {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.added_at).u8(self.is_local).b16(&self.transaction);
    }
}

impl Decode for PoolRow {
    const MAX_BYTES: usize = 8 + 1 + 2 + u16::MAX as usize;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            added_at: r.u64("added_at")?,
            is_local: r.u8("is_local")?,
            transaction: r.b16(u16::MAX.into(), "transaction")?.to_vec(),
        })
    }
}

/// Key in [`Table::Bodies`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyKey(pub u32, pub BlockHash);

impl BodyKey {
    /// `height ‖ hash`.
    pub fn to_bytes(self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&self.0.to_be_bytes());
        bytes[4..].copy_from_slice(self.1.as_ref());
        bytes
    }
}

/// Key in [`Table::Expiry`].
pub fn expiry_key(height: u32, key: &Key) -> [u8; 36] {
    BodyKey(height, BlockHash(key.0)).to_bytes()
}

/// Key in [`Table::Owners`].
pub fn owner_key(owner: &PolicyHash, name: &Name) -> Vec<u8> {
    [owner.as_ref(), name.as_bytes()].concat()
}

/// Key in [`Table::History`]. A zero byte ends the name, so that names sort as texts.
pub fn history_key(name: &Name, height: u32) -> Vec<u8> {
    [name.as_bytes(), &[0], &height.to_be_bytes()].concat()
}

/// Reads rows by what they mean.
pub trait Rows: Read {
    /// The tip record.
    fn tip_row(&self) -> Result<Option<TipRow>, StoreError> {
        self.get(Table::Meta, TIP_KEY)?.map(|bytes| parse("the tip record", &bytes)).transpose()
    }

    /// A header of any branch.
    fn header_row(&self, hash: &BlockHash) -> Result<Option<HeaderRow>, StoreError> {
        self.get(Table::Headers, hash.as_ref())?.map(|bytes| parse("a header", &bytes)).transpose()
    }

    /// The active chain's block at `height`.
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, StoreError> {
        let bytes = self.get(Table::Heights, &height.to_be_bytes())?;
        bytes.map(|bytes| Ok(BlockHash(fixed("a height", &bytes)?))).transpose()
    }

    /// The bytes of a block.
    fn body(&self, height: u32, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Table::Bodies, &BodyKey(height, *hash).to_bytes())
    }

    /// The bytes of a leaf: what the state tree commits to.
    fn leaf_bytes(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get(Table::Names, key.as_ref())? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.get(Table::Commits, key.as_ref()),
        }
    }

    /// The leaf at `key`.
    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StoreError> {
        self.leaf_bytes(key)?.map(|bytes| parse("an entry", &bytes)).transpose()
    }

    /// The leaves at `keys`, in their order.
    fn leaves(&self, keys: &[Key]) -> Result<Vec<Option<Leaf>>, StoreError> {
        let raw: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        let mut found = self.get_many(Table::Names, &raw)?;
        let absent: Vec<usize> = (0..keys.len()).filter(|&i| found[i].is_none()).collect();
        let rest: Vec<&[u8]> = absent.iter().map(|&i| raw[i]).collect();
        for (i, bytes) in absent.into_iter().zip(self.get_many(Table::Commits, &rest)?) {
            found[i] = bytes;
        }
        found.into_iter().map(|bytes| bytes.map(|bytes| parse("an entry", &bytes)).transpose()).collect()
    }

    /// The state of a name. Another name with the same key is not this name's state.
    fn name_state(&self, name: &Name) -> Result<Option<NameState>, StoreError> {
        let Some(bytes) = self.get(Table::Names, name.key().as_ref())? else { return Ok(None) };
        match parse::<Leaf>("an entry", &bytes)? {
            Leaf::Name(state) if state.name == *name => Ok(Some(state)),
            Leaf::Name(_) | Leaf::Commit(_) => Ok(None),
        }
    }

    /// A page of the state tree.
    fn page_row(&self, path: &PagePath) -> Result<Option<Page>, StoreError> {
        let bytes = self.get(Table::Tree, &path.to_bytes())?;
        bytes
            .map(|bytes| Page::from_bytes(&bytes).map_err(|error| StoreError::corrupt(format!("page {path}: {error}"))))
            .transpose()
    }

    /// Keys of the leaves that are deleted at `height`.
    fn due(&self, height: u32) -> Result<Vec<Key>, StoreError> {
        let mut keys = Vec::new();
        self.scan_prefix(Table::Expiry, &height.to_be_bytes(), &mut |key, _| {
            keys.push(Key(fixed("an expiry entry", &key[4..])?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }

    /// What takes the active chain's block at `height` back.
    fn undo_row(&self, height: u32) -> Result<Option<Undo>, StoreError> {
        let bytes = self.get(Table::Undo, &height.to_be_bytes())?;
        bytes.map(|bytes| parse(&format!("the undo data of height {height}"), &bytes)).transpose()
    }

    /// A node of the header MMR over the active chain.
    fn mmr_node(&self, position: Position) -> Result<Option<Node>, StoreError> {
        self.get(Table::Mmr, &position.to_bytes())?.map(|bytes| parse("a node of the history", &bytes)).transpose()
    }

    /// Height and place of a transaction of the active chain: the newest, if it stands there more than once.
    fn transaction_place(&self, txid: &TxId) -> Result<Option<(u32, u16)>, StoreError> {
        Ok(self.transaction_places(txid)?.pop())
    }

    /// Height and place of every copy of a transaction in the active chain, lowest first. Only a REVEAL can stand there
    /// twice, each time for a commit that was paid again.
    fn transaction_places(&self, txid: &TxId) -> Result<Vec<(u32, u16)>, StoreError> {
        let Some(bytes) = self.get(Table::Transactions, txid.as_ref())? else { return Ok(Vec::new()) };
        let place = |row: &[u8]| {
            let [a, b, c, d, e, f] = fixed("a transaction's place", row)?;
            Ok((u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])))
        };
        bytes.chunks(PLACE_BYTES).map(place).collect()
    }
}

impl<T: Read + ?Sized> Rows for T {}

/// Decodes a row.
pub(crate) fn parse<T: Decode>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    decode(bytes).map_err(|error| StoreError::corrupt(format!("{what}: {error}")))
}

/// A row of a fixed number of bytes.
pub(crate) fn fixed<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::corrupt(format!("{what} of {} bytes, expected {N}", bytes.len())))
}

/// Bytes of one place in [`Table::Transactions`].
const PLACE_BYTES: usize = 6;

/// The value in [`Table::Transactions`].
pub(crate) fn places_row(places: &[(u32, u16)]) -> Vec<u8> {
    places.iter().flat_map(|(height, index)| [&height.to_be_bytes()[..], &index.to_be_bytes()].concat()).collect()
}

/// The bytes of a row.
pub(crate) fn row(value: &impl Encode) -> Vec<u8> {
    encode(value)
}
