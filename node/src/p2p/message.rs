//! What peers ask each other and answer (protocol §10), as canonical bytes.
//!
//! For: the shapes and their layouts, written through [`ledger::codec`], with a maximum for every list. Not for: how the
//! bytes travel (`transport`), who may ask how often (`limits`), or what an answer means (`sync`).
//!
//! ```text
//! message = kind:u8 ‖ payload                    request and response kinds number the same topics
//! 0 status    Status                             → Status
//! 1 headers   count:u8 hash[32]… max:u16         → HeaderBatch
//! 2 bodies    count:u8 hash[32]…                 → count:u8 { length:u32 block[length] }…    length 0 = not here
//! 3 txs       count:u8 wtxid[32]…                → count:u8 { B16 }…
//! 4 proof     key[32] has_at:u8 at[32]           → found:u8 [HeaderBatch proof:u32-prefixed]
//! 5 addresses                                    → count:u8 { B8 }…
//! 6, 7        reserved: fly, snapshot
//! 8 start     hash[32]                           → found:u8 [HeaderBatch Peaks]
//! 16 parts    hash[32] count:u16 index:u16…      → found:u8 [count:u16 { B16 }…]    transactions of a block, all of them
//! 255                                            → refused: reason:u8
//! ```
//!
//! Guarantees: decoding never allocates more than the bytes received justify, and accepts one spelling per message.

use ledger::{
    block::{Header, HeaderBatch},
    codec::{Decode, DecodeError, Encode, Reader, Writer},
    hash::{BlockHash, Hash, Key, WitnessTxId},
    history::Peaks,
    params::{MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES},
};

use super::compact::MAX_MISSING;

/// Most hashes in a locator: ten single steps and then doubling ones reach back 2^50 blocks.
pub const MAX_LOCATOR: usize = 64;
/// Most bodies asked for at once: sixteen are in flight per peer at most (protocol §9).
pub const MAX_BODIES: usize = 16;
/// Most transactions asked for at once.
pub const MAX_TRANSACTIONS: usize = 64;
/// Most addresses in one answer: enough to bootstrap, too few to flood an address book.
pub const MAX_ADDRESSES: usize = 64;
/// Longest address, in bytes of its binary multiaddr form.
pub const MAX_ADDRESS_BYTES: usize = 128;
/// A body answer stops growing here; at least one block always fits.
pub const MAX_BODIES_BYTES: usize = 2 << 20;
/// A proof answer carries the header that is proven against and those above it.
pub const MAX_PROOF_HEADERS: usize = 13;
/// Longest proof: 256 siblings and the largest value the tree can hold.
const MAX_PROOF_BYTES: usize = 80_000;

/// What a node says of itself when a connection opens, and from time to time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The whole chain id: the protocol name carries only its first digits.
    pub chain_id: Hash,
    /// Height of the best block with a body.
    pub height: u32,
    /// Hash of that block.
    pub hash: BlockHash,
    /// Work of its chain.
    pub work: u128,
    /// The sender's clock, Unix seconds.
    pub time: u64,
    /// The lowest height from which on the sender keeps every body (protocol §9).
    pub lowest_body: u32,
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// "This is my chain; which is yours?"
    Status(Status),
    /// Headers after the newest hash of the locator that the other side has on its best chain.
    Headers {
        /// Known hashes, newest first, thinning out towards genesis.
        locator: Vec<BlockHash>,
        /// Send no more than this many.
        max: u16,
    },
    /// The blocks with these hashes.
    Bodies(Vec<BlockHash>),
    /// The pooled transactions with these ids, or some of the pool if there are none.
    Transactions(Vec<WitnessTxId>),
    /// A proof of what a key holds.
    Proof {
        /// The key.
        key: Key,
        /// The block whose state root to prove against; the newest if `None`.
        at: Option<BlockHash>,
    },
    /// Addresses of other peers.
    Addresses,
    /// What is needed to check the headers that follow this block of the best chain, for whoever trusts its hash.
    Start(BlockHash),
    /// Some transactions of a block, by their places in it, ascending.
    Parts {
        /// The block.
        block: BlockHash,
        /// The places, counted from 0.
        indexes: Vec<u16>,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// The answerer's chain.
    Status(Status),
    /// Headers in order; empty if nothing follows the locator.
    Headers(HeaderBatch),
    /// One entry per hash asked for, in order, `None` for a block that is not here. May be shorter than the question: the
    /// rest did not fit.
    Bodies(Vec<Option<Vec<u8>>>),
    /// The encoded transactions that were found, in any order.
    Transactions(Vec<Vec<u8>>),
    /// The proof, or `None` if there is none against that root.
    Proof(Option<ProofAnswer>),
    /// Binary multiaddrs, each ending in a peer id.
    Addresses(Vec<Vec<u8>>),
    /// The block's header and what came before it, or `None` if it is not on the answerer's chain.
    Start(Option<Box<StartAnswer>>),
    /// The encoded transactions in the order asked for, or `None` if the block is not here.
    Parts(Option<Vec<Vec<u8>>>),
    /// No answer, and why.
    Refused(Refusal),
}

/// A proof with the headers it hangs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofAnswer {
    /// The header whose `state_root` is proven against, then those above it up to the tip.
    pub headers: HeaderBatch,
    /// Bytes of a `ledger::state::tree::Proof`.
    pub proof: Vec<u8>,
}

/// Where a chain of headers can be checked from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartAnswer {
    /// The header asked for.
    pub header: Header,
    /// Peaks over all headers before it: its `history_root` commits to them, and to the work in them.
    pub peaks: Peaks,
}

/// Why a request was not served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Asked too often or at a bad moment; try again later.
    Busy,
    /// This node does not serve that.
    Unsupported,
}

impl Request {
    /// Short name, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Headers { .. } => "headers",
            Self::Bodies(_) => "bodies",
            Self::Transactions(_) => "txs",
            Self::Proof { .. } => "proof",
            Self::Addresses => "addresses",
            Self::Start(_) => "start",
            Self::Parts { .. } => "parts",
        }
    }
}

impl Encode for Status {
    fn encode(&self, w: &mut Writer) {
        w.raw(self.chain_id.as_ref()).u32(self.height).raw(self.hash.as_ref()).u128(self.work).u64(self.time);
        w.u32(self.lowest_body);
    }
}

impl Decode for Status {
    const MAX_BYTES: usize = 96;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain_id: r.hash("chain_id")?,
            height: r.u32("height")?,
            hash: r.hash("hash")?,
            work: r.u128("work")?,
            time: r.u64("time")?,
            lowest_body: r.u32("lowest_body")?,
        })
    }
}

impl Encode for Request {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Status(status) => w.u8(0).put(status),
            Self::Headers { locator, max } => {
                w.u8(1);
                put_hashes(w, locator);
                w.u16(*max)
            }
            Self::Bodies(hashes) => {
                w.u8(2);
                put_hashes(w, hashes)
            }
            Self::Transactions(ids) => {
                w.u8(3);
                put_hashes(w, ids)
            }
            Self::Proof { key, at } => {
                w.u8(4).raw(key.as_ref()).u8(at.is_some().into());
                w.raw(at.as_ref().map_or(&[], |hash| hash.as_ref()))
            }
            Self::Addresses => w.u8(5),
            Self::Start(hash) => w.u8(8).raw(hash.as_ref()),
            Self::Parts { block, indexes } => {
                w.u8(16).raw(block.as_ref());
                put_long_count(w, indexes.len());
                indexes.iter().for_each(|index| {
                    w.u16(*index);
                });
                w
            }
        };
    }
}

impl Decode for Request {
    const MAX_BYTES: usize = 1 + 32 + 2 + 2 * MAX_MISSING;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8("kind")? {
            0 => Self::Status(r.get()?),
            1 => Self::Headers { locator: hashes(r, MAX_LOCATOR)?, max: r.u16("max")? },
            2 => Self::Bodies(hashes(r, MAX_BODIES)?),
            3 => Self::Transactions(hashes(r, MAX_TRANSACTIONS)?),
            4 => Self::Proof { key: r.hash("key")?, at: flag(r, "has_at")?.then(|| r.hash("at")).transpose()? },
            5 => Self::Addresses,
            8 => Self::Start(r.hash("hash")?),
            16 => Self::Parts { block: r.hash("hash")?, indexes: indexes(r)? },
            _ => return Err(DecodeError::Invalid("kind")),
        })
    }
}

impl Encode for Response {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Status(status) => {
                w.u8(0).put(status);
            }
            Self::Headers(batch) => {
                w.u8(1).put(batch);
            }
            Self::Bodies(bodies) => {
                put_count(w.u8(2), bodies.len());
                bodies.iter().for_each(|body| put_long(w, body.as_deref().unwrap_or_default()));
            }
            Self::Transactions(transactions) => {
                put_count(w.u8(3), transactions.len());
                transactions.iter().for_each(|tx| {
                    w.b16(tx);
                });
            }
            Self::Proof(answer) => encode_proof(w.u8(4), answer.as_ref()),
            Self::Addresses(addresses) => {
                put_count(w.u8(5), addresses.len());
                addresses.iter().for_each(|address| {
                    w.b8(address);
                });
            }
            Self::Start(answer) => {
                w.u8(8).u8(answer.is_some().into());
                if let Some(answer) = answer {
                    w.put(&HeaderBatch(vec![answer.header])).put(&answer.peaks);
                }
            }
            Self::Parts(answer) => {
                w.u8(16).u8(answer.is_some().into());
                if let Some(transactions) = answer {
                    put_long_count(w, transactions.len());
                    transactions.iter().for_each(|tx| {
                        w.b16(tx);
                    });
                }
            }
            Self::Refused(reason) => {
                w.u8(255).u8(reason.id());
            }
        }
    }
}

impl Decode for Response {
    const MAX_BYTES: usize = MAX_BODIES_BYTES + MAX_BLOCK_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8("kind")? {
            0 => Self::Status(r.get()?),
            1 => Self::Headers(r.get()?),
            2 => Self::Bodies(list(r, MAX_BODIES, |r| {
                let body = long(r, MAX_BLOCK_BYTES)?;
                Ok((!body.is_empty()).then(|| body.to_vec()))
            })?),
            3 => Self::Transactions(list(r, MAX_TRANSACTIONS, |r| {
                Ok(r.b16(MAX_TRANSACTION_BYTES, "transaction")?.to_vec())
            })?),
            4 => Self::Proof(decode_proof(r)?),
            5 => Self::Addresses(list(r, MAX_ADDRESSES, |r| Ok(r.b8(MAX_ADDRESS_BYTES, "address")?.to_vec()))?),
            8 => Self::Start(flag(r, "found")?.then(|| decode_start(r)).transpose()?.map(Box::new)),
            16 => Self::Parts(flag(r, "found")?.then(|| decode_parts(r)).transpose()?),
            255 => Self::Refused(Refusal::from_id(r.u8("reason")?)?),
            _ => return Err(DecodeError::Invalid("kind")),
        })
    }
}

impl Refusal {
    fn id(self) -> u8 {
        match self {
            Self::Busy => 0,
            Self::Unsupported => 1,
        }
    }

    fn from_id(id: u8) -> Result<Self, DecodeError> {
        match id {
            0 => Ok(Self::Busy),
            1 => Ok(Self::Unsupported),
            _ => Err(DecodeError::Invalid("reason")),
        }
    }
}

fn encode_proof(w: &mut Writer, answer: Option<&ProofAnswer>) {
    w.u8(answer.is_some().into());
    if let Some(answer) = answer {
        w.put(&answer.headers);
        put_long(w, &answer.proof);
    }
}

fn decode_proof(r: &mut Reader<'_>) -> Result<Option<ProofAnswer>, DecodeError> {
    if !flag(r, "found")? {
        return Ok(None);
    }
    let headers: HeaderBatch = r.get()?;
    if headers.0.is_empty() || headers.0.len() > MAX_PROOF_HEADERS {
        return Err(DecodeError::Invalid("proof headers"));
    }
    Ok(Some(ProofAnswer { headers, proof: long(r, MAX_PROOF_BYTES)?.to_vec() }))
}

fn decode_start(r: &mut Reader<'_>) -> Result<StartAnswer, DecodeError> {
    match r.get()? {
        HeaderBatch(headers) if headers.len() == 1 => Ok(StartAnswer { header: headers[0], peaks: r.get()? }),
        HeaderBatch(_) => Err(DecodeError::Invalid("start header")),
    }
}

fn decode_parts(r: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, DecodeError> {
    let count = usize::from(r.u16("count")?);
    if count > MAX_MISSING {
        return Err(DecodeError::Invalid("count"));
    }
    (0..count).map(|_| Ok(r.b16(MAX_TRANSACTION_BYTES, "transaction")?.to_vec())).collect()
}

/// Places in a block: at least one, ascending, so that a question has one spelling and asks for nothing twice.
fn indexes(r: &mut Reader<'_>) -> Result<Vec<u16>, DecodeError> {
    let count = usize::from(r.u16("count")?);
    if count == 0 || count > MAX_MISSING {
        return Err(DecodeError::Invalid("count"));
    }
    let indexes = (0..count).map(|_| r.u16("index")).collect::<Result<Vec<_>, _>>()?;
    let ascend = indexes.is_sorted_by(|one, next| one < next);
    if ascend { Ok(indexes) } else { Err(DecodeError::Invalid("index")) }
}

fn put_long_count(w: &mut Writer, count: usize) {
    w.u16(u16::try_from(count).expect("a block has far less than 65,536 transactions"));
}

fn put_count(w: &mut Writer, count: usize) {
    w.u8(u8::try_from(count).expect("lists in messages are capped far below 256"));
}

fn put_hashes<'w, T: AsRef<[u8]>>(w: &'w mut Writer, hashes: &[T]) -> &'w mut Writer {
    put_count(w, hashes.len());
    hashes.iter().for_each(|hash| {
        w.raw(hash.as_ref());
    });
    w
}

fn put_long(w: &mut Writer, bytes: &[u8]) {
    w.u32(u32::try_from(bytes.len()).expect("bodies and proofs are far below 4 GiB"));
    w.raw(bytes);
}

fn long<'a>(r: &mut Reader<'a>, max: usize) -> Result<&'a [u8], DecodeError> {
    let len = r.u32("length")? as usize;
    if len > max { Err(DecodeError::Invalid("length")) } else { r.raw(len, "bytes") }
}

fn flag(r: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match r.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid(field)),
    }
}

fn hashes<T: From<[u8; 32]>>(r: &mut Reader<'_>, max: usize) -> Result<Vec<T>, DecodeError> {
    list(r, max, |r| r.hash("hash"))
}

fn list<T>(
    r: &mut Reader<'_>,
    max: usize,
    item: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = usize::from(r.u8("count")?);
    if count > max {
        return Err(DecodeError::Invalid("count"));
    }
    (0..count).map(|_| item(r)).collect()
}

#[cfg(test)]
mod tests {
    use ledger::{
        codec::{decode, encode},
        history::Leaf,
        params::Network,
    };
    use rand::{Rng, SeedableRng};

    use super::*;

    fn requests() -> Vec<Request> {
        let status = Status {
            chain_id: Hash([1; 32]),
            height: 7,
            hash: BlockHash([2; 32]),
            work: 1 << 90,
            time: 9,
            lowest_body: 3,
        };
        vec![
            Request::Status(status),
            Request::Headers { locator: vec![BlockHash([3; 32]); MAX_LOCATOR], max: 2_000 },
            Request::Bodies(vec![BlockHash([4; 32]); MAX_BODIES]),
            Request::Transactions(vec![WitnessTxId([5; 32]); MAX_TRANSACTIONS]),
            Request::Proof { key: Key([6; 32]), at: None },
            Request::Proof { key: Key([6; 32]), at: Some(BlockHash([7; 32])) },
            Request::Addresses,
            Request::Start(BlockHash([8; 32])),
            Request::Parts { block: BlockHash([9; 32]), indexes: (1_000..).take(MAX_MISSING).collect() },
        ]
    }

    fn responses() -> Vec<Response> {
        let headers = HeaderBatch(vec![Network::Local.params().genesis()]);
        vec![
            Response::Headers(headers.clone()),
            Response::Bodies(vec![Some(vec![1; 300]), None]),
            Response::Transactions(vec![vec![2; 90]]),
            Response::Proof(None),
            Response::Proof(Some(ProofAnswer { headers, proof: vec![3; 1_000] })),
            Response::Addresses(vec![vec![4; 40]]),
            Response::Start(None),
            Response::Start(Some(Box::new(StartAnswer { header: Network::Local.params().genesis(), peaks: peaks() }))),
            Response::Parts(None),
            Response::Parts(Some(vec![vec![5; 90], vec![6; 200]])),
            Response::Refused(Refusal::Busy),
            Response::Refused(Refusal::Unsupported),
        ]
    }

    fn peaks() -> Peaks {
        let leaf = |height| Leaf { block_hash: BlockHash([9; 32]), height, time: 1, vtime: 2, bits: 3, work: 4 };
        let mut peaks = Peaks::new();
        (0..11).for_each(|height| drop(peaks.append(&leaf(height)).expect("in turn")));
        peaks
    }

    #[test]
    fn messages_survive_the_wire() {
        for request in requests() {
            assert_eq!(decode(&encode(&request)), Ok(request));
        }
        for response in responses() {
            assert_eq!(decode(&encode(&response)), Ok(response));
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        for bytes in requests().iter().map(encode) {
            (0..bytes.len()).for_each(|cut| assert!(decode::<Request>(&bytes[..cut]).is_err()));
        }
        for bytes in responses().iter().map(encode) {
            (0..bytes.len()).for_each(|cut| assert!(decode::<Response>(&bytes[..cut]).is_err()));
        }
    }

    /// Random damage: never a panic, and whatever still decodes is spelled canonically.
    #[test]
    fn damaged_messages_are_refused_or_canonical() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(5);
        let originals: Vec<_> = responses().iter().map(encode).chain(requests().iter().map(encode)).collect();
        for round in 0..20_000 {
            let mut bytes = originals[round % originals.len()].clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            bytes.truncate(rng.random_range(1..=bytes.len()));
            if let Ok(request) = decode::<Request>(&bytes) {
                assert_eq!(encode(&request), bytes);
            }
            if let Ok(response) = decode::<Response>(&bytes) {
                assert_eq!(encode(&response), bytes);
            }
        }
    }

    #[test]
    fn lists_above_their_maximum_are_refused() {
        let many = vec![BlockHash::ZERO; MAX_BODIES + 1];
        assert!(decode::<Request>(&encode(&Request::Bodies(many))).is_err());
        let locator = vec![BlockHash::ZERO; MAX_LOCATOR + 1];
        assert!(decode::<Request>(&encode(&Request::Headers { locator, max: 1 })).is_err());
        let parts = |indexes| decode::<Request>(&encode(&Request::Parts { block: BlockHash::ZERO, indexes }));
        for wrong in [vec![], vec![3, 3], vec![4, 3], (0..=MAX_MISSING as u16).collect()] {
            assert!(parts(wrong).is_err());
        }
        assert!(parts(vec![0, u16::MAX]).is_ok());
    }
}
