//! Rules for one transaction alone (protocol §4), given the block that it is anchored at.
//!
//! This is where signatures and work are verified, once: the result remembers that it was done.

use primitive_types::U256;

use super::violation::{GotExpected, Violation};
use crate::{
    hash::{BlockHash, Hash, PolicyHash, TxId, WitnessTxId},
    key::{Witness, sighash},
    name::Name,
    params::Params,
    pow::{Scratch, meets, pow_value},
    price::{Prices, required_work},
    transaction::{Body, Share, Transaction, share_commit},
};

/// Price classes that a commit may pay (protocol §4.2).
pub const CLASSES: [u8; 7] = [0, 1, 2, 4, 6, 8, 10];

/// The block that a transaction is anchored at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnchorBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// Its prices.
    pub prices: Prices,
}

/// A transaction that follows every rule that can be judged from itself and its anchor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedTransaction {
    transaction: Transaction,
    txid: TxId,
    wtxid: WitnessTxId,
    anchor: BlockHash,
    signer: PolicyHash,
    work_ratio: u64,
}

impl CheckedTransaction {
    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Its id.
    pub fn txid(&self) -> TxId {
        self.txid
    }

    /// The id of its exact bytes.
    pub fn wtxid(&self) -> WitnessTxId {
        self.wtxid
    }

    /// Hash of the block that it was checked against as its anchor.
    pub fn anchor(&self) -> BlockHash {
        self.anchor
    }

    /// Work shown over work required, in 1/256; 256 where none is required.
    pub fn work_ratio(&self) -> u64 {
        self.work_ratio
    }

    /// What it says of itself, which is true.
    pub fn stated(&self) -> Stated<'_> {
        Stated { transaction: &self.transaction, anchor: self.anchor, signer: self.signer }
    }

    /// Hash of the policy that signed it; zero for transactions without a signature.
    pub fn signer(&self) -> PolicyHash {
        self.signer
    }
}

/// A transaction as it presents itself: who is said to have signed it, and which block its anchor is taken for. Enough
/// to ask whether the state would take it, before its signatures and its work are checked.
#[derive(Clone, Copy, Debug)]
pub struct Stated<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// Hash of the block that it is anchored at.
    pub anchor: BlockHash,
    /// Hash of the policy in its witness; zero for transactions without a signature.
    pub signer: PolicyHash,
}

impl<'a> Stated<'a> {
    /// What `transaction` says of itself, anchored at the block with this hash.
    pub fn of(transaction: &'a Transaction, anchor: BlockHash) -> Self {
        let signer = transaction.witness().map_or(PolicyHash::ZERO, Witness::signer);
        Self { transaction, anchor, signer }
    }
}

/// A transaction that follows every rule that can be judged from itself and its anchor, but those on signatures.
#[derive(Clone, Debug)]
pub struct WorkedTransaction {
    transaction: Transaction,
    txid: TxId,
    anchor: BlockHash,
    work_ratio: u64,
}

impl WorkedTransaction {
    /// Work shown over work required, in 1/256; 256 where none is required.
    pub fn work_ratio(&self) -> u64 {
        self.work_ratio
    }

    /// Checks the signatures.
    pub fn verify(self, chain_id: &Hash) -> Result<CheckedTransaction, Violation> {
        let Self { transaction, txid, anchor, work_ratio } = self;
        signatures_verify(chain_id, &transaction, &anchor, &txid)?;
        let wtxid = transaction.wtxid();
        let signer = Stated::of(&transaction, anchor).signer;
        Ok(CheckedTransaction { transaction, txid, wtxid, anchor, signer, work_ratio })
    }
}

/// Checks `transaction` against the block that it is anchored at. The caller looked `anchor` up by the transaction's
/// anchor height; a tag of another block is refused here.
pub fn check(
    params: &Params,
    chain_id: &Hash,
    transaction: Transaction,
    anchor: &AnchorBlock,
    scratch: &mut Scratch,
) -> Result<CheckedTransaction, Violation> {
    check_work(params, chain_id, transaction, anchor, scratch)?.verify(chain_id)
}

/// The part of [`check`] before the signatures, the cheapest rules first: work is the last of them, evaluated once.
pub fn check_work(
    params: &Params,
    chain_id: &Hash,
    transaction: Transaction,
    anchor: &AnchorBlock,
    scratch: &mut Scratch,
) -> Result<WorkedTransaction, Violation> {
    let body = transaction.body();
    reveal_is_anchored_at_genesis(&transaction, anchor)?;
    anchor_tag_is_of(&transaction, anchor)?;
    type_is_active(body)?;
    body_is_registrable(params, body)?;
    reveal_is_signed_by_its_owner(body, &Stated::of(&transaction, anchor.hash).signer)?;
    let txid = transaction.txid();
    let mut work_ratio = NEEDED;
    if let (Some(share), Some(needed)) = (transaction.share(), required_work(params, body, anchor.prices)) {
        share_is_of_this_network(params, share)?;
        let commit = share_commit(chain_id, &anchor.hash, &txid);
        work_ratio = share_meets_price(params, chain_id, share, commit, needed, scratch)?;
    }
    Ok(WorkedTransaction { transaction, txid, anchor: anchor.hash, work_ratio })
}

/// The ratio of work that is just enough, in 1/256.
const NEEDED: u64 = 256;

/// §4.1: a REVEAL's anchor is genesis, height 0 and its tag, and nothing else. Every node knows that block, so a wrong
/// tag is no sign of another fork.
fn reveal_is_anchored_at_genesis(transaction: &Transaction, anchor: &AnchorBlock) -> Result<(), Violation> {
    let stated = transaction.anchor();
    match transaction.body() {
        Body::Reveal { .. } if stated.height != 0 || !stated.matches(&anchor.hash) => {
            Err(Violation::RevealAnchor { height: stated.height })
        }
        _ => Ok(()),
    }
}

/// §4.1: the tag matches the active chain; another tag means another fork.
fn anchor_tag_is_of(transaction: &Transaction, anchor: &AnchorBlock) -> Result<(), Violation> {
    let stated = transaction.anchor();
    if stated.matches(&anchor.hash) { Ok(()) } else { Err(Violation::AnchorTag { height: stated.height }) }
}

/// §4.2: types 8 and 10 violate until their activation heights.
fn type_is_active(body: &Body) -> Result<(), Violation> {
    match body {
        Body::Claim { .. } | Body::Roll { .. } => Err(Violation::TypeNotActive { type_id: body.type_id() }),
        Body::Commit { .. }
        | Body::Reveal { .. }
        | Body::Update { .. }
        | Body::Transfer { .. }
        | Body::Cancel { .. }
        | Body::Renew { .. }
        | Body::Revoke { .. } => Ok(()),
    }
}

/// The rules on classes, names and owners that a body shows by itself.
fn body_is_registrable(params: &Params, body: &Body) -> Result<(), Violation> {
    match body {
        Body::Commit { class, .. } => class_exists(*class),
        Body::Reveal { class, name, owner, .. } => {
            class_exists(*class)?;
            name_is_not_reserved(name)?;
            name_is_not_locked(params, name)?;
            class_pays_for_name(*class, name)?;
            owner_is_somebody(owner)
        }
        Body::Transfer { owner, .. } | Body::Claim { owner, .. } => owner_is_somebody(owner),
        Body::Renew { name, .. } => name_renews_by_work(params, name),
        Body::Update { .. } | Body::Cancel { .. } | Body::Revoke { .. } | Body::Roll { .. } => Ok(()),
    }
}

/// §4.2: `class ∈ {0,1,2,4,6,8,10}`.
fn class_exists(class: u8) -> Result<(), Violation> {
    if CLASSES.contains(&class) { Ok(()) } else { Err(Violation::Class { class }) }
}

/// §2.4: RESERVED is never registrable.
fn name_is_not_reserved(name: &Name) -> Result<(), Violation> {
    if name.is_reserved() { Err(Violation::NameReserved { name: name.clone() }) } else { Ok(()) }
}

/// §11: a locked name can only be obtained by CLAIM.
fn name_is_not_locked(params: &Params, name: &Name) -> Result<(), Violation> {
    match params.locked_domain(name.as_str()) {
        Some(domain) => Err(Violation::NameLocked { name: name.clone(), domain }),
        None => Ok(()),
    }
}

/// §11: a locked name is renewed by CLAIM only.
fn name_renews_by_work(params: &Params, name: &Name) -> Result<(), Violation> {
    match params.locked_domain(name.as_str()) {
        Some(domain) => Err(Violation::RenewNeedsClaim { name: name.clone(), domain }),
        None => Ok(()),
    }
}

/// §6: class ≥ need(name).
fn class_pays_for_name(class: u8, name: &Name) -> Result<(), Violation> {
    let needed = name.price_class();
    if class >= needed { Ok(()) } else { Err(Violation::ClassTooLow { name: name.clone(), class, needed }) }
}

/// §2.3: a zero owner violates.
fn owner_is_somebody(owner: &PolicyHash) -> Result<(), Violation> {
    if owner.is_zero() { Err(Violation::OwnerZero) } else { Ok(()) }
}

/// §4.1: the share's `version` equals this network's header version.
fn share_is_of_this_network(params: &Params, share: &Share) -> Result<(), Violation> {
    let (got, expected) = (share.version, params.header_version());
    if got == expected { Ok(()) } else { Err(Violation::ShareVersion(GotExpected { got, expected })) }
}

/// §4.1: the share's work counts under the derived `share_commit`. Returns how much of it there is.
fn share_meets_price(
    params: &Params,
    chain_id: &Hash,
    share: &Share,
    commit: Hash,
    needed: u64,
    scratch: &mut Scratch,
) -> Result<u64, Violation> {
    let value = pow_value(params.algorithm, chain_id, &share.to_core(commit), scratch);
    if meets(value, needed) { Ok(work_ratio(value, needed)) } else { Err(Violation::ShareWork { needed }) }
}

/// The work that a value shows over the work that is needed, in 1/256.
fn work_ratio(value: U256, needed: u64) -> u64 {
    let done = U256::MAX / value.max(U256::one());
    let ratio = done.saturating_mul(U256::from(NEEDED)) / U256::from(needed.max(1));
    u64::try_from(ratio).unwrap_or(u64::MAX)
}

/// §2.3: every signature covers the sighash.
fn signatures_verify(
    chain_id: &Hash,
    transaction: &Transaction,
    anchor: &BlockHash,
    txid: &TxId,
) -> Result<(), Violation> {
    let Some(witness) = transaction.witness() else { return Ok(()) };
    let digest = sighash(chain_id, anchor, txid);
    if witness.verifies(&digest) { Ok(()) } else { Err(Violation::Signature) }
}

/// §6: a reveal's witness policy is its owner. Judged before the signatures, which cost far more.
fn reveal_is_signed_by_its_owner(body: &Body, signer: &PolicyHash) -> Result<(), Violation> {
    match body {
        Body::Reveal { owner, .. } if owner != signer => Err(Violation::RevealSigner),
        _ => Ok(()),
    }
}
