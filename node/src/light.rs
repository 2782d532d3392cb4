//! Answers about names without a full node: headers, checked here, and a proof under the state root of one of them
//! (protocol §8).
//!
//! For: [`lookup`] over the network, and [`ProofFile`], a proof to keep and to check offline. Not for: transactions, and
//! not yet for sampled headers (FlyClient) or prefix queries; all headers from the start are fetched.
//!
//! What is trusted: the start (genesis, or a block whose hash the caller trusts), that most work since then is honest, that one of
//! the peers asked is honest, and the clock. No peer is trusted: each header's difficulty, time, work and history are
//! checked by the rules a full node uses, and a peer that answers wrongly is passed over. A peer *can* withhold: with
//! only dishonest peers the answer may be old, never made up below the price of the work shown.

mod chain;
mod lookup;
mod proof_file;
mod state_proof;

pub use lookup::{LightAnswer, LightError, Start, lookup};
pub use proof_file::{Checkpoint, ProofFile, ProofFileError, Verified, verify};
