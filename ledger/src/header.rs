//! Headers (protocol §3.1): layouts only. What makes them valid is in `rules`.

use crate::{
    codec::{Decode, DecodeError, Encode, Reader, Writer, encode},
    hash::{self, BlockHash, Hash, Tag},
};

/// The 128 bytes that work is done on and that the block hash covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderCore {
    /// Work function in the top byte, format version 1 below.
    pub version: u32,
    /// Distance from genesis.
    pub height: u32,
    /// Unix time, in seconds.
    pub time: u64,
    /// Difficulty clock: seconds since block 1 with each gap clipped.
    pub vtime: u32,
    /// Compact target.
    pub bits: u32,
    /// Hash of the parent.
    pub prev: BlockHash,
    /// Commitment to the [`HeaderExt`].
    pub ext_root: Hash,
    /// The operation that this work also pays for, or zeros.
    pub share_commit: Hash,
    /// Free for the work search.
    pub nonce: u64,
}

impl HeaderCore {
    /// Bytes of the layout.
    pub const BYTES: usize = 128;

    /// The first fields, up to `bits`: headers on the wire, their batches and shares have the same.
    pub(crate) fn encode_front(&self, w: &mut Writer) {
        w.u32(self.version).u32(self.height).u64(self.time).u32(self.vtime).u32(self.bits);
    }

    /// Reads those fields; the others are zero.
    pub(crate) fn decode_front(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: r.u32("version")?,
            height: r.u32("height")?,
            time: r.u64("time")?,
            vtime: r.u32("vtime")?,
            bits: r.u32("bits")?,
            prev: BlockHash::ZERO,
            ext_root: Hash::ZERO,
            share_commit: Hash::ZERO,
            nonce: 0,
        })
    }
}

impl Encode for HeaderCore {
    fn encode(&self, w: &mut Writer) {
        self.encode_front(w);
        w.raw(self.prev.as_ref()).raw(self.ext_root.as_ref()).raw(self.share_commit.as_ref()).u64(self.nonce);
    }
}

/// The 152 bytes that commit to content and state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeaderExt {
    /// Merkle root of the transaction ids.
    pub tx_root: Hash,
    /// Merkle root of the witness transaction ids.
    pub witness_root: Hash,
    /// Root of the state tree after this block.
    pub state_root: Hash,
    /// Root of the header MMR over blocks 0 to height − 1.
    pub history_root: Hash,
    /// Bytes of all transactions.
    pub weight: u32,
    /// Number of COMMIT transactions.
    pub commit_count: u32,
    /// Price of bytes for transactions anchored at this block, in 1/256.
    pub price_bytes: u32,
    /// Price of commits for transactions anchored at this block, in 1/256.
    pub price_commit: u32,
    /// Name leaves after this block.
    pub name_count: u64,
}

impl HeaderExt {
    /// Bytes of the layout.
    pub const BYTES: usize = 152;

    /// `H("ext", ext)`.
    pub fn root(&self) -> Hash {
        hash::hash(Tag::Extension, &[&encode(self)])
    }
}

impl Encode for HeaderExt {
    fn encode(&self, w: &mut Writer) {
        w.raw(self.tx_root.as_ref()).raw(self.witness_root.as_ref());
        w.raw(self.state_root.as_ref()).raw(self.history_root.as_ref());
        w.u32(self.weight).u32(self.commit_count).u32(self.price_bytes).u32(self.price_commit).u64(self.name_count);
    }
}

impl Decode for HeaderExt {
    const MAX_BYTES: usize = Self::BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            tx_root: r.hash("tx_root")?,
            witness_root: r.hash("witness_root")?,
            state_root: r.hash("state_root")?,
            history_root: r.hash("history_root")?,
            weight: r.u32("weight")?,
            commit_count: r.u32("commit_count")?,
            price_bytes: r.u32("price_bytes")?,
            price_commit: r.u32("price_commit")?,
            name_count: r.u64("name_count")?,
        })
    }
}

/// A header: core and extension. By construction `core.ext_root` is the extension's root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What work is done on.
    pub core: HeaderCore,
    /// What the core's `ext_root` commits to.
    pub ext: HeaderExt,
}

impl Header {
    /// Bytes on the wire: everything but the derived `ext_root`.
    pub const WIRE_BYTES: usize = HeaderCore::BYTES - 32 + HeaderExt::BYTES;

    /// The block hash.
    pub fn hash(&self) -> BlockHash {
        hash::hash(Tag::Header, &[&encode(&self.core)]).into_other()
    }

    /// What follows the core's first fields and `prev` on the wire.
    fn encode_rest(&self, w: &mut Writer) {
        w.raw(self.core.share_commit.as_ref()).u64(self.core.nonce).put(&self.ext);
    }

    /// Reads that.
    fn decode_rest(core: HeaderCore, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (share_commit, nonce) = (r.hash("share_commit")?, r.u64("nonce")?);
        let ext: HeaderExt = r.get()?;
        Ok(Self { core: HeaderCore { share_commit, nonce, ext_root: ext.root(), ..core }, ext })
    }
}

/// The wire form: the core without `ext_root`, then the extension.
impl Encode for Header {
    fn encode(&self, w: &mut Writer) {
        self.core.encode_front(w);
        w.raw(self.core.prev.as_ref());
        self.encode_rest(w);
    }
}

impl Decode for Header {
    const MAX_BYTES: usize = Self::WIRE_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let core = HeaderCore::decode_front(r)?;
        let prev = r.hash("prev")?;
        Self::decode_rest(HeaderCore { prev, ..core }, r)
    }
}

/// A run of headers, each the parent of the next: the first in wire form, the others without `prev`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderBatch(pub Vec<Header>);

impl HeaderBatch {
    /// Most headers in one batch.
    pub const MAX_HEADERS: usize = 2_000;
}

impl Encode for HeaderBatch {
    fn encode(&self, w: &mut Writer) {
        w.u16(u16::try_from(self.0.len()).expect("a batch holds at most 2,000 headers"));
        for (index, header) in self.0.iter().enumerate() {
            if index == 0 {
                w.raw(header.core.prev.as_ref());
            }
            header.core.encode_front(w);
            header.encode_rest(w);
        }
    }
}

impl Decode for HeaderBatch {
    const MAX_BYTES: usize = 2 + 32 + Self::MAX_HEADERS * (Header::WIRE_BYTES - 32);

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = usize::from(r.u16("header count")?);
        if count > Self::MAX_HEADERS {
            return Err(DecodeError::Invalid("header count"));
        }
        let mut headers = Vec::with_capacity(count.min(r.remaining() / 200));
        let mut prev = if count > 0 { r.hash("prev")? } else { BlockHash::ZERO };
        for _ in 0..count {
            let core = HeaderCore::decode_front(r)?;
            let header = Header::decode_rest(HeaderCore { prev, ..core }, r)?;
            prev = header.hash();
            headers.push(header);
        }
        Ok(Self(headers))
    }
}
