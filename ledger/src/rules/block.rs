//! Rules for a block's content against its header (protocol §4.6, §6), and the making of such headers.

use super::violation::{GotExpected, Violation};
use crate::{
    block::{Header, HeaderCore, HeaderExt},
    codec::encode,
    difficulty::{expected_bits, vtime_after},
    hash::{Hash, TxId},
    merkle,
    params::{MAX_BLOCK_BYTES, MAX_BLOCK_CLAIMS, MAX_BLOCK_ROLLS, MAX_BLOCK_TRANSACTIONS, Params},
    price::prices_after,
    rules::header::HeaderContext,
    state::delta::Delta,
    transaction::{Body, Transaction},
};

/// The parts of a header that follow from the transactions alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    /// Merkle root of the txids.
    pub tx_root: Hash,
    /// Merkle root of the wtxids.
    pub witness_root: Hash,
    /// Bytes of all transactions.
    pub weight: u32,
    /// Number of COMMITs.
    pub commit_count: u32,
}

impl Content {
    /// Computes the parts for `transactions`, which should be ascending by txid.
    pub fn of<'a>(transactions: impl IntoIterator<Item = &'a Transaction>) -> Self {
        let (mut txids, mut wtxids) = (Vec::new(), Vec::new());
        let (mut weight, mut commit_count) = (0, 0);
        for tx in transactions {
            txids.push(tx.txid().0);
            wtxids.push(tx.wtxid().0);
            weight += tx.byte_len() as u32;
            commit_count += u32::from(matches!(tx.body(), Body::Commit { .. }));
        }
        Self { tx_root: merkle::root(txids), witness_root: merkle::root(wtxids), weight, commit_count }
    }
}

/// Checks the transactions of a block against its header, as far as no state is needed.
///
/// The roots come first: until they match, the body is not the one that the header commits to, and nothing wrong with
/// it may be held against the header ([`Violation::is_of_the_body_only`]). Otherwise anybody could have a valid header
/// marked invalid by handing over a mangled body.
pub fn check_body(header: &Header, transactions: &[Transaction]) -> Result<(), Violation> {
    transactions_are_few_enough(transactions)?;
    let content = Content::of(transactions);
    let ext = &header.ext;
    equal(ext.tx_root, content.tx_root).map_err(Violation::TxRoot)?;
    equal(ext.witness_root, content.witness_root).map_err(Violation::WitnessRoot)?;
    transactions_ascend(transactions)?;
    block_is_small_enough(content.weight)?;
    claims_are_few_enough(transactions)?;
    rolls_are_few_enough(transactions)?;
    equal(ext.weight, content.weight).map_err(Violation::Weight)?;
    equal(ext.commit_count, content.commit_count).map_err(Violation::CommitCount)
}

/// Checks what applying the block gave against its header.
pub fn results_match(header: &Header, delta: &Delta, state_root: Hash) -> Result<(), Violation> {
    equal(header.ext.name_count, delta.name_count).map_err(Violation::NameCount)?;
    equal(header.ext.state_root, state_root).map_err(Violation::StateRoot)
}

fn equal<T: PartialEq>(got: T, expected: T) -> Result<(), GotExpected<T>> {
    if got == expected { Ok(()) } else { Err(GotExpected { got, expected }) }
}

/// §4.6: at most 2,048 transactions.
fn transactions_are_few_enough(transactions: &[Transaction]) -> Result<(), Violation> {
    let (got, max) = (transactions.len(), MAX_BLOCK_TRANSACTIONS);
    if got <= max { Ok(()) } else { Err(Violation::BlockTransactions { got, max }) }
}

/// §4.6: the body is sorted by txid, each once.
fn transactions_ascend(transactions: &[Transaction]) -> Result<(), Violation> {
    let ids: Vec<TxId> = transactions.iter().map(Transaction::txid).collect();
    match ids.windows(2).position(|pair| pair[0] >= pair[1]) {
        None => Ok(()),
        Some(before) => Err(Violation::TransactionOrder { index: before + 1 }),
    }
}

/// §4.6: the whole encoded block has at most 262,144 bytes.
fn block_is_small_enough(weight: u32) -> Result<(), Violation> {
    let (got, max) = (BLOCK_OVERHEAD_BYTES + weight as usize, MAX_BLOCK_BYTES);
    if got <= max { Ok(()) } else { Err(Violation::BlockBytes { got, max }) }
}

/// §4.6: at most 4 claims.
fn claims_are_few_enough(transactions: &[Transaction]) -> Result<(), Violation> {
    let got = transactions.iter().filter(|tx| matches!(tx.body(), Body::Claim { .. })).count();
    let max = MAX_BLOCK_CLAIMS;
    if got <= max { Ok(()) } else { Err(Violation::BlockClaims { got, max }) }
}

/// §4.6: at most one ROLL.
fn rolls_are_few_enough(transactions: &[Transaction]) -> Result<(), Violation> {
    let got = transactions.iter().filter(|tx| matches!(tx.body(), Body::Roll { .. })).count();
    let max = MAX_BLOCK_ROLLS;
    if got <= max { Ok(()) } else { Err(Violation::BlockRolls { got, max }) }
}

/// Bytes of a block that are not transactions: header and count.
pub const BLOCK_OVERHEAD_BYTES: usize = Header::WIRE_BYTES + 2;

/// The header of a block to be mined on `parent` at `time`, without work: nonce zero.
pub fn assemble(
    params: &Params,
    parent: &HeaderContext,
    time: u64,
    content: &Content,
    name_count: u64,
    state_root: Hash,
    share_commit: Hash,
) -> Header {
    let prices = prices_after(params, parent.header());
    let ext = HeaderExt {
        tx_root: content.tx_root,
        witness_root: content.witness_root,
        state_root,
        history_root: parent.peaks().root().expect("MIN_TARGET bounds the work of 2^32 headers"),
        weight: content.weight,
        commit_count: content.commit_count,
        price_bytes: prices.bytes,
        price_commit: prices.commit,
        name_count,
    };
    let core = HeaderCore {
        version: params.header_version(),
        height: parent.height() + 1,
        time,
        vtime: vtime_after(params, &parent.header().core, time),
        bits: expected_bits(params, &parent.header().core, time),
        prev: parent.hash(),
        ext_root: ext.root(),
        share_commit,
        nonce: 0,
    };
    Header { core, ext }
}

/// Length of a transaction in a block, in bytes.
pub fn weight_of(transaction: &Transaction) -> u32 {
    encode(transaction).len() as u32
}
