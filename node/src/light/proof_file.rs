//! A proof about a name in one file, to be checked offline by anybody.
//!
//! ```text
//! "nsproof1" ‖ network:B8 ‖ name:B8 ‖ HeaderBatch ‖ length:u32 proof[length] ‖ checksum[32]
//! ```
//! The first header's state root is proven against; the others follow it. The checksum is `H("file", all before it)`.
//!
//! What it shows: whoever made these headers spent their work on them, and the first one says this about the name. What
//! it does not show by itself: that the headers are part of the ledger. Anyone may spend the same work on headers of
//! their own, so compare [`Verified::hash`] (or a later header's hash) with a source you trust, by giving it to
//! [`verify`] as a [`Checkpoint`], or judge by [`Verified::work`] whether a forgery would have been worth it.
//!
//! Guarantees: any changed byte makes verification fail. The checksum catches accidents; what an attacker cannot get
//! around is the work of each header, the links between them and the proof under the first.

use ledger::{
    block::{Header, HeaderBatch},
    codec::{Decode, DecodeError, Encode, Reader, Writer, decode, encode},
    hash::{self, BlockHash, Hash, Tag},
    name::Name,
    params::Params,
    pow::Scratch,
    rules::{
        Violation,
        header::{claimed_work, stands_alone, succeeds},
    },
    state::NameState,
};

use super::state_proof::{StateProblem, state_of};

const MAGIC: &[u8; 8] = b"nsproof1";
const CHECKSUM_BYTES: usize = 32;
/// Longest network name.
const MAX_NETWORK: usize = 16;
/// Most bytes of the proof inside: as on the network.
const MAX_PROOF_BYTES: usize = 80_000;

/// A proof about a name, with the headers it hangs on. Says nothing until [`verify`] has been called on its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    network: String,
    name: Name,
    headers: HeaderBatch,
    proof: Vec<u8>,
}

/// A block that the user knows to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
}

/// What a proof file proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The name.
    pub name: Name,
    /// Its entry, or `None`: proven absent.
    pub state: Option<NameState>,
    /// Height of the block whose state this is, as its header says.
    pub height: u32,
    /// Hash of that block.
    pub hash: BlockHash,
    /// Time of that block, in Unix seconds.
    pub time: u64,
    /// Headers that follow it in the file.
    pub confirmations: u32,
    /// Expected evaluations spent on the headers in the file: what a forgery costs at least.
    pub work: u128,
}

/// Why a proof file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// It is no proof file, or was damaged.
    #[error("not a proof file: {0}")]
    Bytes(#[from] DecodeError),
    /// It was changed on its way.
    #[error("the file is damaged: its checksum does not match")]
    Checksum,
    /// It is about another network.
    #[error("the proof is about the network {got:?}, expected {expected:?}")]
    Network {
        /// In the file.
        got: String,
        /// Asked for.
        expected: &'static str,
    },
    /// A header breaks a rule.
    #[error("header {index} of the file breaks a rule: {violation}")]
    Header {
        /// Its place in the file.
        index: usize,
        /// The rule.
        violation: Violation,
    },
    /// The proof does not hold.
    #[error("the proof does not hold: {0}")]
    State(#[from] StateProblem),
    /// The trusted block is not among the headers.
    #[error("the file does not contain the trusted block {0}")]
    NotTrusted(BlockHash),
    /// The trusted block is among the headers, at another height: one of the two was copied wrongly.
    #[error("the trusted block {hash} has height {got}, not {expected}")]
    OtherHeight {
        /// Its hash.
        hash: BlockHash,
        /// In the file.
        got: u32,
        /// Given with the hash.
        expected: u32,
    },
}

impl ProofFile {
    /// Puts together what was proven.
    pub fn new(params: &Params, name: Name, proven: Header, following: Vec<Header>, proof: Vec<u8>) -> Self {
        let mut headers = vec![proven];
        headers.extend(following.into_iter().take(HeaderBatch::MAX_HEADERS - 1));
        Self { network: params.network.as_str().to_owned(), name, headers: HeaderBatch(headers), proof }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = encode(self);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(checksum.as_ref());
        bytes
    }

    /// Reads a file without believing it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let split = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(DecodeError::Ends("checksum"))?;
        let (content, claimed) = bytes.split_at(split);
        if content.len() > Self::MAX_BYTES {
            return Err(DecodeError::TooLong { got: content.len(), max: Self::MAX_BYTES }.into());
        }
        if checksum(content).as_ref() != claimed {
            return Err(ProofFileError::Checksum);
        }
        Ok(decode(content)?)
    }
}

/// Checks a proof file. With `trusted`, one of its headers has to be that block.
pub fn verify(bytes: &[u8], params: &'static Params, trusted: Option<Checkpoint>) -> Result<Verified, ProofFileError> {
    let file = ProofFile::parse(bytes)?;
    let expected = params.network.as_str();
    if file.network != expected {
        return Err(ProofFileError::Network { got: file.network, expected });
    }
    let headers = &file.headers.0;
    headers_follow_the_rules(params, headers)?;
    trusted.map_or(Ok(()), |trusted| contains(headers, trusted))?;
    let proven = headers.first().ok_or(DecodeError::Invalid("header count"))?;
    let state = state_of(&file.name, &proven.ext.state_root, &file.proof)?;
    Ok(Verified {
        state,
        height: proven.core.height,
        hash: proven.hash(),
        time: proven.core.time,
        confirmations: headers.len() as u32 - 1,
        work: headers.iter().fold(0u128, |sum, header| sum.saturating_add(claimed_work(&header.core))),
        name: file.name,
    })
}

fn contains(headers: &[Header], trusted: Checkpoint) -> Result<(), ProofFileError> {
    let Checkpoint { height: expected, hash } = trusted;
    match headers.iter().find(|header| header.hash() == hash).map(|header| header.core.height) {
        Some(got) if got == expected => Ok(()),
        Some(got) => Err(ProofFileError::OtherHeight { hash, got, expected }),
        None => Err(ProofFileError::NotTrusted(hash)),
    }
}

/// Every header meets its own target and, but for the first, follows its parent in all that needs only the parent.
fn headers_follow_the_rules(params: &Params, headers: &[Header]) -> Result<(), ProofFileError> {
    let (chain_id, mut scratch) = (params.chain_id(), Scratch::default());
    for (index, header) in headers.iter().enumerate() {
        let parent = index.checked_sub(1).map(|before| &headers[before]);
        let checked = parent
            .map_or(Ok(()), |parent| succeeds(params, header, parent))
            .and_then(|()| stands_alone(params, &chain_id, header, &mut scratch));
        checked.map_err(|violation| ProofFileError::Header { index, violation })?;
    }
    Ok(())
}

fn checksum(content: &[u8]) -> Hash {
    hash::hash(Tag::ProofFile, &[content])
}

impl Encode for ProofFile {
    fn encode(&self, w: &mut Writer) {
        w.raw(MAGIC).b8(self.network.as_bytes()).put(&self.name).put(&self.headers);
        w.u32(u32::try_from(self.proof.len()).expect("a proof is far below 4 GiB")).raw(&self.proof);
    }
}

impl Decode for ProofFile {
    const MAX_BYTES: usize = 8 + 1 + MAX_NETWORK + 64 + HeaderBatch::MAX_BYTES + 4 + MAX_PROOF_BYTES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.array::<8>("magic")? != *MAGIC {
            return Err(DecodeError::Invalid("magic"));
        }
        let network =
            std::str::from_utf8(r.b8(MAX_NETWORK, "network")?).map_err(|_| DecodeError::Invalid("network"))?;
        let (network, name, headers) = (network.to_owned(), r.get()?, r.get()?);
        let len = r.u32("proof length")? as usize;
        if len > MAX_PROOF_BYTES {
            return Err(DecodeError::Invalid("proof length"));
        }
        Ok(Self { network, name, headers, proof: r.raw(len, "proof")?.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use ledger::{
        params::Network,
        state::tree::{MemoryPages, prove},
        testing::{TestChain, name, tiny_params},
    };

    use super::*;

    fn genesis() -> Header {
        Network::Local.params().genesis()
    }

    /// Absence at genesis, where the tree is empty.
    fn absence() -> Vec<u8> {
        let (params, nobody, pages) = (Network::Local.params(), name("nobody"), MemoryPages::new());
        let path = prove(&pages, pages.root(), &nobody.key()).expect("the empty tree");
        let proof = path.into_proof(None).expect("nothing is there").to_bytes();
        ProofFile::new(params, nobody, genesis(), Vec::new(), proof).to_bytes()
    }

    /// Presence of `alice`, under a header with two more behind it. Its work is simulated.
    fn presence() -> ProofFile {
        let (mut chain, alice) = (TestChain::new(tiny_params()), name("alice"));
        chain.register(&alice, 1);
        chain.register(&name("somebody"), 2);
        let (proven, proof) = (*chain.tip().header(), chain.prove(&alice.key()).to_bytes());
        chain.mine_empty(2);
        let headers: Vec<Header> = chain.blocks().map(|block| block.header).collect();
        ProofFile::new(tiny_params(), alice, proven, headers[headers.len() - 2..].to_vec(), proof)
    }

    /// The last header of a file.
    fn last(file: &ProofFile) -> Checkpoint {
        let header = file.headers.0.last().expect("never empty");
        Checkpoint { height: header.core.height, hash: header.hash() }
    }

    fn check(file: &ProofFile) -> Result<Verified, ProofFileError> {
        verify(&file.to_bytes(), tiny_params(), None)
    }

    #[test]
    fn absence_at_genesis_verifies() {
        let verified = verify(&absence(), Network::Local.params(), None).expect("holds");
        assert_eq!((verified.state, verified.height, verified.confirmations), (None, 0, 0));
    }

    #[test]
    fn presence_verifies() {
        let file = presence();
        let verified = verify(&file.to_bytes(), tiny_params(), Some(last(&file))).expect("holds");
        assert_eq!(verified.state.expect("present").name, name("alice"));
        assert_eq!((verified.confirmations, verified.height + 2), (2, last(&file).height));
    }

    #[test]
    fn a_trusted_block_must_be_there_and_have_its_height() {
        let file = presence();
        let right = last(&file);
        let refused = |trusted| verify(&file.to_bytes(), tiny_params(), Some(trusted)).expect_err("refused");
        let other = BlockHash([9; 32]);
        assert_eq!(refused(Checkpoint { hash: other, ..right }), ProofFileError::NotTrusted(other));
        let expected = ProofFileError::OtherHeight { hash: right.hash, got: right.height, expected: right.height - 1 };
        assert_eq!(refused(Checkpoint { height: right.height - 1, ..right }), expected);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = absence();
        for position in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[position / 8] ^= 1 << (position % 8);
            assert!(verify(&changed, Network::Local.params(), None).is_err(), "bit {position}");
        }
        (0..bytes.len()).for_each(|cut| assert!(verify(&bytes[..cut], Network::Local.params(), None).is_err()));
    }

    /// Nothing but the name, the headers and the proof refuse here. The trusted block stands for the price of the last
    /// header's work, which is nothing in a test.
    #[test]
    fn no_flipped_bit_gets_past_a_repaired_checksum() {
        let file = presence();
        let (content, trusted) = (encode(&file), last(&file));
        for position in 0..content.len() * 8 {
            let mut changed = content.clone();
            changed[position / 8] ^= 1 << (position % 8);
            let repaired = checksum(&changed);
            changed.extend_from_slice(repaired.as_ref());
            let refused = verify(&changed, tiny_params(), Some(trusted)).expect_err("a changed file");
            assert_ne!(refused, ProofFileError::Checksum, "bit {position}");
        }
    }

    #[test]
    fn a_header_without_its_work_is_refused() {
        let mut lying = presence();
        lying.headers.0[2].core.nonce = u64::MAX;
        assert_eq!(check(&lying), Err(ProofFileError::Header { index: 2, violation: Violation::HeaderWork }));
    }

    #[test]
    fn headers_that_do_not_follow_each_other_are_refused() {
        let mut lying = presence();
        lying.headers.0.swap(1, 2);
        assert!(matches!(check(&lying), Err(ProofFileError::Header { index: 1, violation: Violation::Height(_) })));
        let mut lying = presence();
        lying.headers.0.remove(1);
        assert!(matches!(check(&lying), Err(ProofFileError::Header { index: 1, violation: Violation::Height(_) })));
    }

    #[test]
    fn another_networks_file_is_refused() {
        let refused = verify(&absence(), Network::Main.params(), None);
        assert_eq!(refused, Err(ProofFileError::Network { got: "local".to_owned(), expected: "main" }));
        let mut lying = ProofFile::parse(&absence()).expect("parses");
        lying.headers.0[0] = Network::Main.params().genesis();
        let refused = verify(&lying.to_bytes(), Network::Local.params(), None);
        assert!(matches!(refused, Err(ProofFileError::Header { index: 0, violation: Violation::Version(_) })));
    }

    #[test]
    fn the_proof_of_a_leaf_covers_no_other_name() {
        for other in ["bob", "somebody", "alice-2"] {
            let renamed = ProofFile { name: name(other), ..presence() };
            assert!(matches!(check(&renamed), Err(ProofFileError::State(_))), "{other}: {:?}", check(&renamed));
        }
    }
}
