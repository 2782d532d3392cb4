//! What hostile peers answer when a node asks.

use ledger::{
    block::HeaderBatch,
    hash::{BlockHash, Hash},
};
use node::p2p::message::{Refusal, Request, Response, Status};

use crate::{clock::unix_now, peer::Answers};

/// More work than any chain has, and far from overflowing a sum.
pub const HUGE_WORK: u128 = 1 << 100;

/// How a liar evades the question for what it claims to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Evasion {
    /// "Busy, try again."
    Busy,
    /// No headers.
    Empty,
    /// Nothing at all.
    Silent,
}

/// A status that claims a chain of `work`.
pub fn claim(chain_id: Hash, height: u32, hash: BlockHash, work: u128) -> Status {
    Status { chain_id, height, hash, work, time: unix_now() }
}

/// Answers of a peer that has nothing to give.
pub fn nothing(chain_id: Hash) -> Answers {
    Box::new(move |request| {
        Some(match request {
            Request::Status(theirs) => Response::Status(Status { work: 1, height: 0, chain_id, ..*theirs }),
            _ => Response::Refused(Refusal::Unsupported),
        })
    })
}

/// Answers of a peer that claims more work than there is, and never shows a header of it.
pub fn liar(chain_id: Hash, evasion: Evasion) -> Answers {
    Box::new(move |request| match request {
        Request::Status(_) => Some(Response::Status(huge_claim(chain_id))),
        Request::Headers { .. } => match evasion {
            Evasion::Busy => Some(Response::Refused(Refusal::Busy)),
            Evasion::Empty => Some(Response::Headers(HeaderBatch(Vec::new()))),
            Evasion::Silent => None,
        },
        _ => Some(Response::Refused(Refusal::Busy)),
    })
}

/// The claim of a [`liar`].
pub fn huge_claim(chain_id: Hash) -> Status {
    claim(chain_id, 1_000_000, BlockHash([0xab; 32]), HUGE_WORK)
}
