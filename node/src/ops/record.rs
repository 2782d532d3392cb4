//! What is stored of an operation.

use ledger::{
    hash::{self, BlockHash, CommitHash, TxId},
    name::Name,
    transaction::{Body, Transaction},
};
use serde::{Deserialize, Serialize};

use super::{
    id::OpId,
    json,
    state::{OperationState, TxRole},
};
use crate::failure::Failure;

/// A block that something was made for, with its whole hash: the tag in a transaction is too short to work on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnchorRef {
    /// Its height.
    pub height: u32,
    /// Its hash.
    #[serde(with = "json::hash")]
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
    /// Add a term to one. Nobody signs that.
    Renew(RenewPlan),
}

/// A registration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterPlan {
    /// The signed REVEAL.
    #[serde(with = "json::transaction")]
    pub reveal: Transaction,
    /// Where the commit is anchored. The node moves it as it likes: a commit is not signed.
    pub commit_anchor: AnchorRef,
    /// The commit, once its work is found.
    #[serde(with = "json::optional_transaction", default)]
    pub commit: Option<Transaction>,
    /// The UPDATE that puts right what an older reveal of the same owner brought back (protocol §4.1).
    #[serde(default)]
    pub correction: Option<ChangePlan>,
}

/// A renewal: work and nothing else, so that the node needs no key for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RenewPlan {
    /// The name.
    #[serde(with = "json::name")]
    pub name: Name,
    /// The end of the term that is extended.
    pub expires_at: u32,
    /// Where the renewal is anchored. The node moves it as it likes.
    pub anchor: AnchorRef,
    /// The renewal, once its work is found.
    #[serde(with = "json::optional_transaction", default)]
    pub renewal: Option<Transaction>,
}

/// A change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangePlan {
    /// The signed transaction; until its work is found its share means nothing.
    #[serde(with = "json::transaction")]
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
    pub state: OperationState,
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
            state: OperationState::Working,
            failure: None,
            milestones: Milestones::default(),
            is_settled: false,
            refusals: 0,
        }
    }

    /// What its owner signed last; nothing for a renewal.
    pub fn signed(&self) -> Option<&Transaction> {
        match &self.plan {
            Plan::Register(plan) => Some(plan.correction.as_ref().map_or(&plan.reveal, |change| &change.transaction)),
            Plan::Change(plan) => Some(&plan.transaction),
            Plan::Renew(_) => None,
        }
    }

    /// The name concerned.
    pub fn name(&self) -> &Name {
        match &self.plan {
            Plan::Register(plan) => plan.reveal.body().name(),
            Plan::Change(plan) => plan.transaction.body().name(),
            Plan::Renew(plan) => Some(&plan.name),
        }
        .expect("only bodies that show a name are admitted")
    }

    /// `register`, or the change in lower case.
    pub fn action(&self) -> String {
        match &self.plan {
            Plan::Register(_) => "register".to_owned(),
            Plan::Change(plan) => plan.transaction.body().type_name().to_ascii_lowercase(),
            Plan::Renew(_) => "renew".to_owned(),
        }
    }

    /// The signed change whose anchor grows old: a REVEAL's never does (protocol §4.1).
    pub fn signed_change(&self) -> Option<&ChangePlan> {
        match &self.plan {
            Plan::Register(plan) => plan.correction.as_ref(),
            Plan::Change(plan) => Some(plan),
            Plan::Renew(_) => None,
        }
    }

    /// The transaction that work alone pays for: where it is anchored, and itself once its work is found.
    pub fn unsigned(&self) -> Option<(AnchorRef, Option<&Transaction>)> {
        match &self.plan {
            Plan::Register(plan) => Some((plan.commit_anchor, plan.commit.as_ref())),
            Plan::Renew(plan) => Some((plan.anchor, plan.renewal.as_ref())),
            Plan::Change(_) => None,
        }
    }

    /// Ids of its transactions, as far as they exist.
    pub fn txids(&self) -> Vec<(TxRole, TxId)> {
        let id = |role, transaction: &Transaction| (role, transaction.txid());
        match &self.plan {
            Plan::Register(plan) => {
                let commit = plan.commit.as_ref().map(|commit| id(TxRole::Commit, commit));
                let change = plan.correction.as_ref().map(|change| id(TxRole::Change, &change.transaction));
                commit.into_iter().chain([id(TxRole::Reveal, &plan.reveal)]).chain(change).collect()
            }
            Plan::Change(plan) => vec![id(TxRole::Change, &plan.transaction)],
            Plan::Renew(plan) => plan.renewal.iter().map(|renewal| id(TxRole::Change, renewal)).collect(),
        }
    }
}

impl RenewPlan {
    /// The body of the renewal.
    pub fn body(&self) -> Body {
        Body::Renew { name: self.name.clone(), expires_at: self.expires_at }
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
