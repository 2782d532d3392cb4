//! What hostile peers answer when a node asks.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ledger::{
    block::{Header, HeaderBatch},
    codec::encode,
    hash::{BlockHash, Hash},
    rules::header::HeaderContext,
};
use node::p2p::message::{Refusal, Request, Response, Status};

use crate::{
    clock::unix_now,
    forge::{Forge, empty_block},
    peer::Answers,
};

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
    Status { chain_id, height, hash, work, time: unix_now(), lowest_body: 0 }
}

/// What a peer says of itself that has nothing but genesis.
pub fn genesis_claim(forge: Forge) -> Status {
    let genesis = HeaderContext::genesis(forge.params);
    claim(forge.chain_id, 0, genesis.hash(), genesis.total_work())
}

/// Answers of a peer that has nothing to give.
pub fn nothing(forge: Forge) -> Answers {
    Box::new(move |request| {
        Some(match request {
            Request::Status(_) => Response::Status(genesis_claim(forge)),
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

/// A chain of empty blocks from genesis, lowest first, for whoever asks.
#[derive(Clone)]
pub struct Offer {
    /// Its headers.
    pub branch: Arc<Vec<HeaderContext>>,
    /// The work that is claimed for it.
    pub work: u128,
    /// Headers given so far.
    pub given: Arc<AtomicUsize>,
}

impl Offer {
    /// Offers a chain at the work that it has.
    pub fn honest(branch: Vec<HeaderContext>) -> Self {
        let work = branch.last().map_or(0, HeaderContext::total_work);
        Self { branch: branch.into(), work, given: Arc::default() }
    }

    /// Answers of a peer that has this chain and nothing else.
    pub fn answers(self, chain_id: Hash) -> Answers {
        Box::new(move |request| {
            Some(match request {
                Request::Status(_) => Response::Status(self.claim(chain_id)),
                Request::Headers { locator, .. } => {
                    let headers = self.after(locator);
                    self.given.fetch_add(headers.len(), Ordering::Relaxed);
                    Response::Headers(HeaderBatch(headers))
                }
                Request::Bodies(hashes) => Response::Bodies(hashes.iter().map(|hash| self.body(hash)).collect()),
                _ => Response::Refused(Refusal::Unsupported),
            })
        })
    }

    /// What it says of itself.
    pub fn claim(&self, chain_id: Hash) -> Status {
        let hash = self.branch.last().map_or(BlockHash::ZERO, HeaderContext::hash);
        claim(chain_id, self.branch.len() as u32, hash, self.work)
    }

    fn body(&self, hash: &BlockHash) -> Option<Vec<u8>> {
        let found = self.branch.iter().find(|context| context.hash() == *hash)?;
        Some(encode(&empty_block(found)))
    }

    /// The next headers behind the first hash of the locator that is in the chain; from its beginning if none is.
    fn after(&self, locator: &[BlockHash]) -> Vec<Header> {
        let place = |hash: &BlockHash| self.branch.iter().position(|context| context.hash() == *hash);
        let start = locator.iter().find_map(place).map_or(0, |index| index + 1);
        self.branch[start..].iter().take(HeaderBatch::MAX_HEADERS).map(|context| *context.header()).collect()
    }
}
