//! Every way to break the rules. The list of violations is the list of rules.

use crate::{
    hash::{BlockHash, Hash, Key},
    name::Name,
    state::Status,
};

/// A value that differs from the one the rules give.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("got {got}, expected {expected}")]
pub struct GotExpected<T> {
    /// What was there.
    pub got: T,
    /// What should have been.
    pub expected: T,
}

/// Who is to blame, and so whether the peer that handed the data over loses standing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Whoever handed it over could have seen it without knowing the chain: no honest peer passes this on.
    Relayer,
    /// The author's alone: passing it on is honest, since only the state at one place in the chain shows it.
    Sender,
    /// Perhaps nobody's: it may be right on another fork or a little later.
    Nobody,
}

/// A broken rule, with what was found and what would have been right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages say what the fields are.
pub enum Violation {
    // Headers, protocol §3.4 in order.
    #[error("header version {0}")]
    Version(GotExpected<u32>),
    #[error("parent {0}")]
    Parent(GotExpected<BlockHash>),
    #[error("height {0}")]
    Height(GotExpected<u32>),
    #[error("time {got} is before {earliest}, the least gap after the parent")]
    TooSoon { got: u64, earliest: u64 },
    #[error("vtime {0}")]
    Vtime(GotExpected<u32>),
    #[error("difficulty bits {0}")]
    Bits(GotExpected<u32>),
    #[error("price of bytes {0}")]
    PriceBytes(GotExpected<u32>),
    #[error("price of commits {0}")]
    PriceCommit(GotExpected<u32>),
    #[error("history root {0}")]
    HistoryRoot(GotExpected<Hash>),
    #[error("the header's work does not meet its target")]
    HeaderWork,

    // Blocks against their header, protocol §4.6 and §6.
    #[error("block of {got} bytes, at most {max} are allowed")]
    BlockBytes { got: usize, max: usize },
    #[error("block of {got} transactions, at most {max} are allowed")]
    BlockTransactions { got: usize, max: usize },
    #[error("transactions are not strictly ascending by txid at index {index}")]
    TransactionOrder { index: usize },
    #[error("weight {0}")]
    Weight(GotExpected<u32>),
    #[error("commit count {0}")]
    CommitCount(GotExpected<u32>),
    #[error("transaction root {0}")]
    TxRoot(GotExpected<Hash>),
    #[error("witness root {0}")]
    WitnessRoot(GotExpected<Hash>),
    #[error("name count {0}")]
    NameCount(GotExpected<u64>),
    #[error("state root {0}")]
    StateRoot(GotExpected<Hash>),

    #[error("{got} CLAIMs in a block, at most {max} are allowed")]
    BlockClaims { got: usize, max: usize },
    #[error("{got} ROLLs in a block, at most {max} are allowed")]
    BlockRolls { got: usize, max: usize },

    // Transactions alone, protocol §4.
    #[error("a REVEAL is anchored at the genesis block, not at height {height} or another block's tag")]
    RevealAnchor { height: u32 },
    #[error("transactions of type {type_id} are not active yet")]
    TypeNotActive { type_id: u8 },
    #[error("class {class} is not one of 0, 1, 2, 4, 6, 8, 10")]
    Class { class: u8 },
    #[error("the name {name} is reserved for everyone's safety and cannot be registered")]
    NameReserved { name: Name },
    #[error("the name {name} is locked to the owner of {domain} and can only be claimed")]
    NameLocked { name: Name, domain: &'static str },
    #[error("the name {name} is locked to the owner of {domain} and is renewed by claiming it again")]
    RenewNeedsClaim { name: Name, domain: &'static str },
    #[error("{name} needs price class {needed}, the commit paid for class {class}")]
    ClassTooLow { name: Name, class: u8, needed: u8 },
    #[error("the owner is zero, so that nobody could ever sign for the name")]
    OwnerZero,
    #[error("the share's version {0}")]
    ShareVersion(GotExpected<u32>),
    #[error("the share does not show the {needed} expected evaluations that the transaction costs")]
    ShareWork { needed: u64 },
    #[error("the reveal is signed by another policy than the owner it names")]
    RevealSigner,
    #[error("a signature does not verify")]
    Signature,

    // Transactions against the chain and its state, protocol §4.1 and §6.
    #[error("anchored at height {anchor}, which is not within {window} blocks below {height}")]
    AnchorWindow { anchor: u32, height: u32, window: u32 },
    #[error("anchored at a block of another fork at height {height}")]
    AnchorTag { height: u32 },
    #[error("the ancestor at height {height} is not at hand")]
    AncestorUnknown { height: u32 },
    #[error("two changes to the entry {key} in one block")]
    KeyTouchedTwice { key: Key },
    #[error("another entry stands at the key of {what}")]
    KeyCollision { what: String },
    #[error("the commit stands already")]
    CommitExists,
    #[error("no such commit, or it has died")]
    CommitMissing,
    #[error("the commit was revealed before")]
    CommitSpent,
    #[error("the commit of height {commit} can be revealed from height {from}")]
    CommitUnripe { commit: u32, from: u32 },
    #[error("the commit of height {commit} could be revealed until height {until}")]
    CommitExpired { commit: u32, until: u32 },
    #[error("the name is taken ({status:?})")]
    NameTaken { status: Status },
    #[error("the name goes to an earlier commit, of height {holder}; this one is of height {commit}")]
    LaterCommit { commit: u32, holder: u32 },
    #[error("the commit of height {commit} was made before the name was free at height {release}")]
    CommitBeforeRelease { commit: u32, release: u32 },
    #[error("the name {name} is not registered")]
    NameMissing { name: Name },
    #[error("not possible while the name is {status:?}")]
    WrongStatus { status: Status },
    #[error("signed by neither the owner nor, where that is enough, the operator")]
    NotAuthorised,
    #[error("sequence number {got}, allowed are {from} to {to}")]
    Sequence { got: u64, from: u64, to: u64 },
    #[error("not possible while the owner of the DNS domain is taking the name over")]
    TakeoverPending,
    #[error("there is no pending transfer to cancel")]
    NoPendingTransfer,
    #[error("a renewal is possible from height {from}")]
    RenewalEarly { from: u32 },
    #[error("the renewal is for a term ending at {0}")]
    RenewalTerm(GotExpected<u32>),
    #[error("block {hash} is marked invalid")]
    KnownInvalid { hash: BlockHash },
}

impl Violation {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Version(_)
            | Self::Height(_)
            | Self::TooSoon { .. }
            | Self::Vtime(_)
            | Self::Bits(_)
            | Self::PriceBytes(_)
            | Self::PriceCommit(_)
            | Self::HistoryRoot(_)
            | Self::HeaderWork
            | Self::BlockBytes { .. }
            | Self::BlockTransactions { .. }
            | Self::TransactionOrder { .. }
            | Self::Weight(_)
            | Self::CommitCount(_)
            | Self::TxRoot(_)
            | Self::WitnessRoot(_)
            | Self::BlockClaims { .. }
            | Self::BlockRolls { .. }
            | Self::RevealAnchor { .. }
            | Self::Class { .. }
            | Self::NameReserved { .. }
            | Self::NameLocked { .. }
            | Self::RenewNeedsClaim { .. }
            | Self::ClassTooLow { .. }
            | Self::OwnerZero
            | Self::ShareVersion(_)
            | Self::ShareWork { .. }
            | Self::RevealSigner
            | Self::Signature => Fault::Relayer,
            Self::NameCount(_)
            | Self::StateRoot(_)
            | Self::KeyTouchedTwice { .. }
            | Self::KeyCollision { .. }
            | Self::CommitExists
            | Self::CommitSpent
            | Self::CommitExpired { .. }
            | Self::NameTaken { .. }
            | Self::LaterCommit { .. }
            | Self::CommitBeforeRelease { .. }
            | Self::WrongStatus { .. }
            | Self::NotAuthorised
            | Self::Sequence { .. }
            | Self::TakeoverPending
            | Self::NoPendingTransfer
            | Self::KnownInvalid { .. } => Fault::Sender,
            // A node of a later release may know that the type has become active.
            Self::TypeNotActive { .. }
            | Self::Parent(_)
            | Self::AnchorWindow { .. }
            | Self::AnchorTag { .. }
            | Self::AncestorUnknown { .. }
            | Self::CommitMissing
            | Self::CommitUnripe { .. }
            | Self::NameMissing { .. }
            // Guards of a name race: the second renewal is as honest as the first.
            | Self::RenewalEarly { .. }
            | Self::RenewalTerm(_) => Fault::Nobody,
        }
    }

    /// Whether only the body that was handed over is wrong, and the header may still have a valid one: the body is not
    /// the one that the header commits to. Such a violation must never mark a header as invalid.
    pub fn is_of_the_body_only(&self) -> bool {
        matches!(self, Self::BlockTransactions { .. } | Self::TxRoot(_) | Self::WitnessRoot(_))
    }

    /// The violation's name in `snake_case`, for logs, metrics and API errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version(_) => "version",
            Self::Parent(_) => "parent",
            Self::Height(_) => "height",
            Self::TooSoon { .. } => "too_soon",
            Self::Vtime(_) => "vtime",
            Self::Bits(_) => "bits",
            Self::PriceBytes(_) => "price_bytes",
            Self::PriceCommit(_) => "price_commit",
            Self::HistoryRoot(_) => "history_root",
            Self::HeaderWork => "header_work",
            Self::BlockBytes { .. } => "block_bytes",
            Self::BlockTransactions { .. } => "block_transactions",
            Self::TransactionOrder { .. } => "transaction_order",
            Self::Weight(_) => "weight",
            Self::CommitCount(_) => "commit_count",
            Self::TxRoot(_) => "tx_root",
            Self::WitnessRoot(_) => "witness_root",
            Self::NameCount(_) => "name_count",
            Self::StateRoot(_) => "state_root",
            Self::BlockClaims { .. } => "block_claims",
            Self::BlockRolls { .. } => "block_rolls",
            Self::RevealAnchor { .. } => "reveal_anchor",
            Self::TypeNotActive { .. } => "type_not_active",
            Self::Class { .. } => "class",
            Self::NameReserved { .. } => "name_reserved",
            Self::NameLocked { .. } => "name_locked",
            Self::RenewNeedsClaim { .. } => "renew_needs_claim",
            Self::ClassTooLow { .. } => "class_too_low",
            Self::OwnerZero => "owner_zero",
            Self::ShareVersion(_) => "share_version",
            Self::ShareWork { .. } => "share_work",
            Self::RevealSigner => "reveal_signer",
            Self::Signature => "signature",
            Self::AnchorWindow { .. } => "anchor_window",
            Self::AnchorTag { .. } => "anchor_tag",
            Self::AncestorUnknown { .. } => "ancestor_unknown",
            Self::KeyTouchedTwice { .. } => "key_touched_twice",
            Self::KeyCollision { .. } => "key_collision",
            Self::CommitExists => "commit_exists",
            Self::CommitMissing => "commit_missing",
            Self::CommitSpent => "commit_spent",
            Self::CommitUnripe { .. } => "commit_unripe",
            Self::CommitExpired { .. } => "commit_expired",
            Self::NameTaken { .. } => "name_taken",
            Self::LaterCommit { .. } => "later_commit",
            Self::CommitBeforeRelease { .. } => "commit_before_release",
            Self::NameMissing { .. } => "name_missing",
            Self::WrongStatus { .. } => "wrong_status",
            Self::NotAuthorised => "not_authorised",
            Self::Sequence { .. } => "sequence",
            Self::TakeoverPending => "takeover_pending",
            Self::NoPendingTransfer => "no_pending_transfer",
            Self::RenewalEarly { .. } => "renewal_early",
            Self::RenewalTerm(_) => "renewal_term",
            Self::KnownInvalid { .. } => "known_invalid",
        }
    }
}
