//! What the network needs of the chain, in the words of [`crate::sync`]. Every match is exhaustive, so that a new result
//! of the chain cannot slip past a peer's fate.

use std::sync::Arc;

use ledger::{
    block::{Block, Header},
    hash::BlockHash,
    rules::{Fault, Violation},
    transaction::Transaction,
};

use crate::{
    chain::{Arrival, ChainError, ChainHandle, TxRejection},
    mempool::TxOrigin,
    sync::{Judged, Offence, Relay, View, WINDOW},
};

/// The chain as [`crate::sync`] wants to see it; `None` once the chain has stopped.
pub async fn view(chain: &ChainHandle, claims: Vec<BlockHash>) -> Option<View> {
    chain.view(claims, WINDOW).await.ok()
}

/// Lets the chain judge a header that a peer announced.
pub async fn judge_announced_header(chain: &ChainHandle, header: Header) -> Judged {
    match chain.submit_announced_header(header).await {
        Ok(report) => Judged::from(&report),
        Err(ChainError::Stopped | ChainError::Store(_)) => Judged::Unjudged,
    }
}

/// Lets the chain judge headers.
pub async fn judge_headers(chain: &ChainHandle, headers: Vec<Header>) -> Judged {
    match chain.submit_headers(headers).await {
        Ok(report) => Judged::from(&report),
        Err(ChainError::Stopped | ChainError::Store(_)) => Judged::Unjudged,
    }
}

/// Lets the chain judge a block.
pub async fn judge_block(chain: &ChainHandle, block: Arc<Block>, arrival: Arrival) -> Judged {
    match chain.submit_block(block, arrival).await {
        Ok(report) => Judged::from(&report),
        Err(ChainError::Stopped | ChainError::Store(_)) => Judged::Unjudged,
    }
}

/// Lets the mempool judge a gossiped transaction.
pub async fn judge_transaction(chain: &ChainHandle, tx: Transaction, peer: u64) -> (Relay, Option<Offence>) {
    match chain.submit_transaction(tx, TxOrigin::Peer(peer)).await {
        Ok(_) => (Relay::Accept, None),
        Err(rejection) => relay_of_rejection(&rejection),
    }
}

/// The verdict on a gossiped transaction that was not taken, and what it says of its sender.
pub fn relay_of_rejection(rejection: &TxRejection) -> (Relay, Option<Offence>) {
    match rejection {
        // At the height of activation, whoever is a block ahead of us is right.
        TxRejection::Violation(Violation::TypeNotActive { .. }) => (Relay::Ignore, None),
        TxRejection::Violation(violation) => match violation.fault() {
            Fault::Relayer => (Relay::Reject, Some(Offence::InvalidData)),
            Fault::Sender | Fault::Nobody => (Relay::Ignore, None),
        },
        TxRejection::UnknownAnchor { .. }
        | TxRejection::Pool(_)
        | TxRejection::Mined { .. }
        | TxRejection::Unavailable(_) => (Relay::Ignore, None),
    }
}
