//! Which requests become operations.

use ledger::{
    key::sighash,
    name::Name,
    pow::Scratch,
    rules::transaction::{self, AnchorBlock},
    state::NameState,
    transaction::{Body, Transaction},
};

use super::{
    error::OpsError,
    record::{ChangePlan, Plan, RegisterPlan, RenewPlan},
    request::Request,
    rules::Rules,
    sight,
};
use crate::{failure::Failure, store::StoreError};

/// Gives the block of the active chain at a height.
pub(super) type BlockAt<'a> = &'a dyn Fn(u32) -> Result<Option<sight::AnchorBlock>, StoreError>;

/// What a request is judged against.
pub(super) struct Grounds<'a> {
    pub(super) rules: &'a Rules,
    pub(super) block_at: BlockAt<'a>,
    /// Where a commit or a renewal costs least now.
    pub(super) cheapest_anchor: sight::AnchorBlock,
    /// Gives a name's entry.
    pub(super) name_state: &'a dyn Fn(&Name) -> Result<Option<NameState>, StoreError>,
}

/// Turns a request into a plan, if what was sent is consistent and signed.
pub(super) fn plan(grounds: &Grounds<'_>, request: Request) -> Result<Plan, OpsError> {
    let Grounds { rules, block_at, cheapest_anchor, name_state } = *grounds;
    match request {
        Request::Register { name, class, commit_hash, commit_anchor, reveal } => {
            checked_reveal(rules, &reveal, block_at)?;
            let commit_anchor = block_at(commit_anchor)?.map_or(cheapest_anchor.at, |block| block.at);
            let plan = RegisterPlan { reveal: *reveal, commit_anchor, commit: None, correction: None };
            let terms = plan.terms(&rules.chain_id);
            same("name", &name, terms.name)?;
            same("class", &class, &terms.class)?;
            same("commit hash", &commit_hash, &terms.commit_hash)?;
            Ok(Plan::Register(plan))
        }
        Request::Change { transaction } => {
            let anchor = checked_change(rules, &transaction, block_at)?;
            Ok(Plan::Change(ChangePlan { transaction: *transaction, anchor: anchor.at, is_worked: false }))
        }
        Request::Renew { name } => {
            let state = name_state(&name)?;
            let state = state.ok_or_else(|| OpsError::Forbidden(Failure::no_such_name(name.as_str())))?;
            Ok(Plan::Renew(RenewPlan { name, expires_at: state.expires_at, anchor: cheapest_anchor.at, renewal: None }))
        }
    }
}

/// The plan with a new signature.
pub(super) fn resigned(
    rules: &Rules,
    plan: &Plan,
    transaction: Transaction,
    block_at: BlockAt<'_>,
) -> Result<Plan, OpsError> {
    match plan {
        Plan::Register(old) if !matches!(transaction.body(), Body::Reveal { .. }) => {
            let anchor = checked_change(rules, &transaction, block_at)?;
            same("name", &transaction.body().name(), &old.reveal.body().name())?;
            same("type", &transaction.body().type_name(), &"UPDATE")?;
            let correction = Some(ChangePlan { transaction, anchor: anchor.at, is_worked: false });
            Ok(Plan::Register(RegisterPlan { correction, ..old.clone() }))
        }
        Plan::Register(old) => {
            checked_reveal(rules, &transaction, block_at)?;
            let new = RegisterPlan { reveal: transaction, ..old.clone() };
            let (was, is) = (old.terms(&rules.chain_id), new.terms(&rules.chain_id));
            same("commit hash", &is.commit_hash, &was.commit_hash)?;
            same("class", &is.class, &was.class)?;
            Ok(Plan::Register(new))
        }
        Plan::Change(old) => {
            let anchor = checked_change(rules, &transaction, block_at)?;
            same("name", &transaction.body().name(), &old.transaction.body().name())?;
            same("type", &transaction.body().type_id(), &old.transaction.body().type_id())?;
            Ok(Plan::Change(ChangePlan { transaction, anchor: anchor.at, is_worked: false }))
        }
        Plan::Renew(_) => Err(invalid("not_signed", "a renewal carries no signature", "Anybody's work renews a name.")),
    }
}

fn checked_reveal(rules: &Rules, reveal: &Transaction, block_at: BlockAt<'_>) -> Result<(), OpsError> {
    if !matches!(reveal.body(), Body::Reveal { .. }) {
        return Err(invalid("not_a_reveal", "the transaction is not a REVEAL", ""));
    }
    let anchor = anchor_of(reveal, block_at)?;
    let block = AnchorBlock { hash: anchor.at.hash, prices: anchor.prices };
    let mut scratch = Scratch::default();
    match transaction::check(rules.params, &rules.chain_id, reveal.clone(), &block, &mut scratch) {
        Ok(_) => Ok(()),
        Err(violation) => Err(invalid(violation.code(), &violation.to_string(), "The rules refuse it.")),
    }
}

fn checked_change(rules: &Rules, change: &Transaction, block_at: BlockAt<'_>) -> Result<sight::AnchorBlock, OpsError> {
    let (true, Some(witness)) = (change.body().needs_work(), change.witness()) else {
        return Err(invalid("not_a_change", "the transaction is not a signed change that needs work", ""));
    };
    if matches!(change.body(), Body::Claim { .. }) {
        return Err(invalid("type_not_active", "claims are not active on this network", ""));
    }
    let anchor = anchor_of(change, block_at)?;
    if witness.verifies(&sighash(&rules.chain_id, &anchor.at.hash, &change.txid())) {
        Ok(anchor)
    } else {
        let why = "It must cover this network's CHAIN_ID, the whole hash of the anchor block, and the transaction id.";
        Err(invalid("signature", "the signature does not fit the transaction", why))
    }
}

fn anchor_of(transaction: &Transaction, block_at: BlockAt<'_>) -> Result<sight::AnchorBlock, OpsError> {
    let anchor = transaction.anchor();
    block_at(anchor.height)?.filter(|block| anchor.matches(&block.at.hash)).ok_or_else(|| {
        let message = format!("the anchor at height {} is no block of the active chain", anchor.height);
        invalid("unknown_anchor", &message, "The chain was reorganised, or the transaction is for another network.")
    })
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Result<(), OpsError> {
    if got == expected {
        return Ok(());
    }
    let message = format!("the {what} does not fit the signed transaction: {got:?} against {expected:?}");
    Err(invalid("mismatch", &message, ""))
}

fn invalid(code: &str, message: &str, why: &str) -> OpsError {
    OpsError::Invalid(Failure::new(code, message, why, ""))
}
