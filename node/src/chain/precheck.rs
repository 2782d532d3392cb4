//! What can be checked of a block without the state (protocol §6, level 2): the expensive part, made for worker threads.
//!
//! No signature and no work is verified twice: transactions that were checked before (in the mempool, or in a block
//! that was taken back) are looked up by their exact bytes *and* the anchor block that they were checked against, since
//! the bytes name only eight bytes of the anchor's hash.

use std::{collections::BTreeMap, sync::Arc};

use ledger::{
    block::Block,
    codec::encode,
    hash::{BlockHash, Hash},
    params::Params,
    rules::{
        Violation,
        block::{Content, check_body},
        context::anchor_height_is_allowed,
        transaction::{AnchorBlock, CheckedTransaction, check},
    },
    transaction::Transaction,
};

use crate::headers::with_scratch;

use super::known::Known;

/// The blocks that a block's transactions are anchored at, looked up on that block's own branch.
#[derive(Clone, Debug, Default)]
pub struct Anchors(BTreeMap<u32, AnchorBlock>);

impl Anchors {
    /// Asks `find` once for each anchor height in `block`.
    pub fn of(block: &Block, mut find: impl FnMut(u32) -> Option<AnchorBlock>) -> Self {
        let mut anchors = BTreeMap::new();
        for transaction in &block.transactions {
            let height = transaction.anchor().height;
            if !anchors.contains_key(&height) {
                anchors.extend(find(height).map(|anchor| (height, anchor)));
            }
        }
        Self(anchors)
    }

    fn get(&self, params: &Params, height: u32, transaction: &Transaction) -> Result<&AnchorBlock, Violation> {
        let at = transaction.anchor().height;
        anchor_height_is_allowed(params, height, transaction)?;
        self.0.get(&at).ok_or(Violation::AncestorUnknown { height: at })
    }
}

/// A block whose body follows every rule that needs no state.
#[derive(Clone, Debug)]
pub struct Prechecked {
    pub(super) block: Arc<Block>,
    pub(super) hash: BlockHash,
    pub(super) checked: Vec<CheckedTransaction>,
    pub(super) bytes: Vec<u8>,
}

impl Prechecked {
    /// The block.
    pub fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// Memory that it takes, roughly.
    pub(super) fn weight(&self) -> usize {
        // The transactions stand in the block, in the checked list and in the bytes.
        1_000 + 3 * self.bytes.len()
    }
}

/// Why a body is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum BodyFault {
    /// It is not the body that the header commits to: the header may still be right.
    NotThisBody(Violation),
    /// It is, and it breaks a rule: so does the header.
    BreaksRule(Violation),
}

/// What checking shares with other checks.
pub(super) struct PrecheckContext<'a> {
    pub(super) params: &'static Params,
    pub(super) chain_id: &'a Hash,
    /// Finds a transaction that was checked before.
    pub(super) known: &'a Known,
    /// Threads to use on a single large block.
    pub(super) threads: usize,
}

/// A block with fewer unknown transactions than this per thread is not worth starting threads for (some 20 ms).
const TRANSACTIONS_PER_THREAD: usize = 64;

/// Checks a block as far as no state is needed.
pub(super) fn precheck(
    cx: &PrecheckContext<'_>,
    block: Arc<Block>,
    anchors: &Anchors,
) -> Result<Prechecked, BodyFault> {
    check_body(&block.header, &block.transactions).map_err(|violation| classify(&block, violation))?;
    let checked = check_all(cx, &block, anchors).map_err(BodyFault::BreaksRule)?;
    let bytes = encode(&*block);
    Ok(Prechecked { hash: block.hash(), checked, bytes, block })
}

/// Whether a body that does not fit its header is the one that the header commits to.
fn classify(block: &Block, violation: Violation) -> BodyFault {
    let content = Content::of(&block.transactions);
    let ext = &block.header.ext;
    if (content.tx_root, content.witness_root) == (ext.tx_root, ext.witness_root) {
        BodyFault::BreaksRule(violation)
    } else {
        BodyFault::NotThisBody(violation)
    }
}

fn check_all(cx: &PrecheckContext<'_>, block: &Block, anchors: &Anchors) -> Result<Vec<CheckedTransaction>, Violation> {
    let (height, all) = (block.header.core.height, &block.transactions[..]);
    let threads = cx.threads.min(all.len() / TRANSACTIONS_PER_THREAD);
    if threads <= 1 {
        return check_run(cx, height, all, anchors);
    }
    let runs = std::thread::scope(|scope| {
        let run = |part| scope.spawn(move || check_run(cx, height, part, anchors));
        let running: Vec<_> = all.chunks(all.len().div_ceil(threads)).map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("checking does not panic")).collect::<Vec<_>>()
    });
    let mut checked = Vec::with_capacity(all.len());
    for run in runs {
        checked.extend(run?);
    }
    Ok(checked)
}

fn check_run(
    cx: &PrecheckContext<'_>,
    height: u32,
    transactions: &[Transaction],
    anchors: &Anchors,
) -> Result<Vec<CheckedTransaction>, Violation> {
    let one = |transaction: &Transaction| {
        let anchor = anchors.get(cx.params, height, transaction)?;
        match cx.known.find(transaction, anchor) {
            Some(checked) => Ok(checked),
            None => with_scratch(|scratch| check(cx.params, cx.chain_id, transaction.clone(), anchor, scratch)),
        }
    };
    transactions.iter().map(one).collect()
}
