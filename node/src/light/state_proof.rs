//! What a proof says about a name, under the state root of a header.

use ledger::{
    codec::{DecodeError, decode},
    hash::Hash,
    name::Name,
    state::{
        Leaf, NameState,
        tree::{Proof, ProofError},
    },
};

/// The name's entry under `root` by this proof.
pub(super) fn state_of(name: &Name, root: &Hash, proof: &[u8]) -> Result<Option<NameState>, StateProblem> {
    let proof = Proof::parse(proof)?;
    let Some(value) = proof.verify(*root, &name.key())? else { return Ok(None) };
    match decode::<Leaf>(value)? {
        Leaf::Name(state) if state.name == *name => Ok(Some(state)),
        Leaf::Name(_) | Leaf::Commit(_) => Err(StateProblem::OtherEntry),
    }
}

/// What is wrong with a proof about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateProblem {
    /// It is not in canonical form.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// It does not lead to the root.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It proves something about another entry.
    #[error("the entry proven is not the name's")]
    OtherEntry,
}
