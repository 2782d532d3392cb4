//! Constants of the network, and what they say of work that is to be ordered.

use ledger::{
    hash::Hash,
    params::Params,
    price::required_work,
    transaction::{Body, share_commit, txid},
};

use super::{record::AnchorRef, sight::AnchorBlock};
use crate::miner::WorkOrder;

/// Constants of the network that operations need.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The parameters.
    pub params: &'static Params,
    /// Their CHAIN_ID.
    pub chain_id: Hash,
}

impl Rules {
    /// The rules of a network.
    pub fn new(params: &'static Params) -> Self {
        Self { params, chain_id: params.chain_id() }
    }

    /// What work for `body`, anchored at a block, must show. `None` for bodies that need none.
    pub fn order(&self, body: &Body, anchor: &AnchorBlock) -> Option<WorkOrder> {
        let required_work = required_work(self.params, body, anchor.prices)?;
        Some(WorkOrder { share_commit: self.share_commit(body, &anchor.at), required_work })
    }

    /// What work for `body`, anchored at a block, must commit to.
    pub fn share_commit(&self, body: &Body, anchor: &AnchorRef) -> Hash {
        share_commit(&self.chain_id, &anchor.hash, &txid(anchor.height, body))
    }
}
