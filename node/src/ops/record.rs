//! What is stored of an operation.

use ledger::{
    codec::{decode, encode},
    hash::{self, BlockHash, CommitHash, TxId},
    name::Name,
    transaction::{Body, Transaction},
};
use serde::{Deserialize, Serialize};

use super::{Failure, OpId};

/// How far an operation is, in the words shown to people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Searching for the share.
    Working,
    /// Published, waiting for a block.
    Broadcast,
    /// The commit grows old enough.
    Maturing,
    /// The reveal waits for a block.
    Revealing,
    /// An earlier commit could still win.
    Contest,
    /// Finished.
    Done,
    /// Cannot finish.
    Failed,
    /// A signature is outdated.
    NeedsSignature,
    /// Stopped by its owner.
    Cancelled,
}

impl State {
    /// Every state, for counting.
    pub const ALL: [Self; 9] = [
        Self::Working,
        Self::Broadcast,
        Self::Maturing,
        Self::Revealing,
        Self::Contest,
        Self::Done,
        Self::Failed,
        Self::NeedsSignature,
        Self::Cancelled,
    ];

    /// Whether nothing more is to be done, on this branch of the chain.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// As in the interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Broadcast => "broadcast",
            Self::Maturing => "maturing",
            Self::Revealing => "revealing",
            Self::Contest => "contest",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::NeedsSignature => "needs_signature",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A transaction's part in an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The COMMIT.
    Commit,
    /// The REVEAL.
    Reveal,
    /// The change.
    Change,
}

/// A block that something was made for, with its whole hash: the tag in a transaction is too short to work on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnchorRef {
    /// Its height.
    pub height: u32,
    /// Its hash.
    #[serde(with = "hash_hex")]
    pub hash: BlockHash,
}

/// What shall be done.
#[allow(clippy::large_enum_variant)] // There are a few hundred at most, nearly all of them registrations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Plan {
    /// Register a name.
    Register(RegisterPlan),
    /// Change one.
    Change(ChangePlan),
}

/// A registration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterPlan {
    /// The signed REVEAL.
    #[serde(with = "transaction_hex")]
    pub reveal: Transaction,
    /// Where the commit is anchored. The node moves it as it likes: a commit is not signed.
    pub commit_anchor: AnchorRef,
    /// The commit, once its work is found.
    #[serde(with = "optional_transaction_hex", default)]
    pub commit: Option<Transaction>,
}

/// A change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangePlan {
    /// The signed transaction; until its work is found its share means nothing.
    #[serde(with = "transaction_hex")]
    pub transaction: Transaction,
    /// The block that it is anchored at.
    pub anchor: AnchorRef,
    /// Whether its share is the real one.
    pub is_worked: bool,
}

/// Heights that were reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Milestones {
    /// Block of the commit or change.
    #[serde(default)]
    pub commit_height: Option<u32>,
    /// Block of the reveal.
    #[serde(default)]
    pub reveal_height: Option<u32>,
    /// First block in which the name is the registrant's for good.
    #[serde(default)]
    pub active_from: Option<u32>,
    /// Height that the next step waits for.
    #[serde(default)]
    pub next_height: Option<u32>,
}

/// An operation as stored. Times are in Unix seconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this row.
    pub v: u8,
    /// Its id.
    pub id: OpId,
    /// When it was made.
    pub created_at: u64,
    /// When its state last changed.
    pub updated_at: u64,
    /// What shall be done.
    pub plan: Plan,
    /// The last state seen.
    pub state: State,
    /// Why it failed, or what it needs.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Heights reached.
    #[serde(default)]
    pub milestones: Milestones,
    /// Whether nothing more will be looked at: cancelled, or over and buried.
    #[serde(default)]
    pub is_settled: bool,
    /// Times in a row that the chain refused what was published.
    #[serde(default)]
    pub refusals: u8,
}

impl Record {
    /// The version written.
    pub const VERSION: u8 = 1;

    /// A new operation.
    pub fn new(id: OpId, now: u64, plan: Plan) -> Self {
        Self {
            v: Self::VERSION,
            id,
            created_at: now,
            updated_at: now,
            plan,
            state: State::Working,
            failure: None,
            milestones: Milestones::default(),
            is_settled: false,
            refusals: 0,
        }
    }

    /// What its owner signed.
    pub fn signed(&self) -> &Transaction {
        match &self.plan {
            Plan::Register(plan) => &plan.reveal,
            Plan::Change(plan) => &plan.transaction,
        }
    }

    /// The name concerned.
    pub fn name(&self) -> &Name {
        self.signed().body().name().expect("only bodies that show a name are admitted")
    }

    /// `register`, or the change in lower case.
    pub fn action(&self) -> String {
        match &self.plan {
            Plan::Register(_) => "register".to_owned(),
            Plan::Change(plan) => plan.transaction.body().type_name().to_ascii_lowercase(),
        }
    }

    /// The anchor of what its owner signed.
    pub fn signed_anchor_height(&self) -> u32 {
        match &self.plan {
            Plan::Register(plan) => plan.reveal.anchor().height,
            Plan::Change(plan) => plan.anchor.height,
        }
    }

    /// Ids of its transactions, as far as they exist.
    pub fn txids(&self) -> Vec<(Role, TxId)> {
        match &self.plan {
            Plan::Register(plan) => {
                let commit = plan.commit.as_ref().map(|commit| (Role::Commit, commit.txid()));
                commit.into_iter().chain([(Role::Reveal, plan.reveal.txid())]).collect()
            }
            Plan::Change(plan) => vec![(Role::Change, plan.transaction.txid())],
        }
    }
}

impl RegisterPlan {
    /// The parts of the reveal.
    pub fn terms(&self, chain_id: &hash::Hash) -> Terms<'_> {
        match self.reveal.body() {
            Body::Reveal { class, name, salt, owner, operator, records } => Terms {
                class: *class,
                commit_hash: ledger::transaction::commit_hash(chain_id, salt, owner, name),
                name,
                owner,
                operator,
                records,
            },
            _ => unreachable!("only a REVEAL is admitted as a registration's reveal"),
        }
    }
}

/// What a registration asks for.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // As in protocol §4.2.
pub struct Terms<'a> {
    pub class: u8,
    pub commit_hash: CommitHash,
    pub name: &'a Name,
    pub owner: &'a hash::PolicyHash,
    pub operator: &'a hash::PolicyHash,
    pub records: &'a ledger::record::Records,
}

impl Terms<'_> {
    /// The body of the commit.
    pub fn commit_body(&self) -> Body {
        Body::Commit { class: self.class, commit_hash: self.commit_hash }
    }
}

mod hash_hex {
    use super::BlockHash;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(hash: &BlockHash, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(hash)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BlockHash, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

mod transaction_hex {
    use super::{Transaction, decode, encode, hash};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(transaction: &Transaction, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hash::to_hex(&encode(transaction)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Transaction, D::Error> {
        let bytes = hash::from_hex(&String::deserialize(d)?).ok_or_else(|| D::Error::custom("not hexadecimal"))?;
        decode(&bytes).map_err(D::Error::custom)
    }
}

mod optional_transaction_hex {
    use super::{Transaction, transaction_hex};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "transaction_hex")] Transaction);

    pub(super) fn serialize<S: Serializer>(transaction: &Option<Transaction>, s: S) -> Result<S::Ok, S::Error> {
        transaction.clone().map(Wrapped).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Transaction>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(d)?.map(|wrapped| wrapped.0))
    }
}
