//! Signing, and handing signed changes to the node, which does the work and finishes alone.

use ledger::{
    codec::{decode, encode},
    hash::{from_hex, to_hex},
    key::{Policy, Witness, sighash},
    name::Name,
    params::MAX_SEQ_STEP,
    record::Records,
    transaction::{Body, Share, Transaction, txid},
};
use node::{
    api::types::{NameAnswer, NameEntry, NewOperation, Operation},
    keys::{Entry, KeyFile},
};
use serde_json::json;

use crate::{
    context::{AnchorBlock, Context},
    failure::{Exit, Failure},
    follow::{self, Until},
    output::Style,
};

/// What is to be done to a name: decides who may sign it, and how far ahead it is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Update,
    Transfer,
    Cancel,
    Revoke,
}

impl Act {
    /// Whether the operator may do it too.
    fn is_for_operators(self) -> bool {
        self == Self::Update
    }

    /// How far above the entry's number an owner signs (protocol §4.2): an operator makes one step a block and an
    /// anchor lives 180 blocks, so no operator's change makes the owner's stale while its work is done; and a CANCEL
    /// outlives a change, a REVOKE both.
    fn lead(self) -> u64 {
        match self {
            Self::Update | Self::Transfer => 1 << 8,
            Self::Cancel => 1 << 10,
            Self::Revoke => 1 << 11,
        }
    }

    /// The number to sign with, given the entry's and the highest of the owner's own changes under way.
    fn number(self, signs_as: SignsAs, current: u64, own: Option<u64>) -> u64 {
        if signs_as == SignsAs::Operator {
            return current.saturating_add(1);
        }
        let number = current.saturating_add(self.lead()).max(own.map_or(0, |own| own.saturating_add(1)));
        number.min(current.saturating_add(MAX_SEQ_STEP))
    }
}

/// What the key at hand is for a name. The role in its derivation path does not tell: any address can be an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignsAs {
    Owner,
    Operator,
}

/// A change that is decided and not yet signed.
pub struct Planned {
    pub name: Name,
    pub entry: Entry,
    pub signs_as: SignsAs,
    pub body: Body,
    /// What it does, for people: `renew alice.p2p`.
    pub text: String,
}

/// Finds the key for a change of `name` and lets `make` fill in the body, given the state and the number to sign with.
pub fn plan(
    context: &Context,
    keys: &KeyFile,
    name: &Name,
    act: Act,
    text: String,
    make: impl FnOnce(&NameEntry, u64) -> Result<Body, Failure>,
) -> Result<Planned, Failure> {
    let answer = context.answer(name)?;
    let state = entry_of(context, name, &answer)?;
    let (entry, signs_as) = signer(context, keys, name, state, act)?;
    let own = own_change_under_way(context, name)?;
    let body = make(state, act.number(signs_as, state.seq, own))?;
    Ok(Planned { name: name.clone(), entry, signs_as, body, text })
}

/// The highest number among the changes of `name` that the node is working on.
fn own_change_under_way(context: &Context, name: &Name) -> Result<Option<u64>, Failure> {
    Ok(own_changes_under_way(context, name)?.iter().filter_map(Body::seq).max())
}

/// The records that the newest change of `name` under way will leave, if one of them sets any: what is edited next is
/// built on them, for else it would undo them without a word.
pub fn records_under_way(context: &Context, name: &Name) -> Result<Option<Records>, Failure> {
    let mut changes = own_changes_under_way(context, name)?;
    changes.sort_by_key(Body::seq);
    let mut records = changes.into_iter().rev().filter_map(|body| match body {
        Body::Update { records, .. } => records,
        _ => None,
    });
    Ok(records.next())
}

fn own_changes_under_way(context: &Context, name: &Name) -> Result<Vec<Body>, Failure> {
    let operations = context.wait(context.client.operations())?.operations;
    let open = operations.iter().filter(|op| op.name == name.as_str() && !op.state.is_over());
    Ok(open.filter_map(|op| Some(decoded(op.transaction_hex.as_deref()?)?.body().clone())).collect())
}

fn decoded(hex: &str) -> Option<Transaction> {
    from_hex(hex).and_then(|bytes| decode(&bytes).ok())
}

/// The entry of a registered name.
pub fn entry_of<'a>(context: &Context, name: &Name, answer: &'a NameAnswer) -> Result<&'a NameEntry, Failure> {
    answer.state.as_ref().ok_or_else(|| {
        Failure::new(Exit::NotFound, "not_registered", format!("{} is not registered", context.full(name)))
            .why(format!("the ledger has no entry for it at height {}", answer.height))
            .fix(format!("namectl register {name}"))
    })
}

fn signer(
    context: &Context,
    keys: &KeyFile,
    name: &Name,
    state: &NameEntry,
    act: Act,
) -> Result<(Entry, SignsAs), Failure> {
    if let Some(entry) = context.entry_of(keys, &state.owner) {
        return Ok((entry, SignsAs::Owner));
    }
    let operator = state.operator.as_ref().filter(|_| act.is_for_operators());
    if let Some(entry) = operator.and_then(|address| context.entry_of(keys, address)) {
        return Ok((entry, SignsAs::Operator));
    }
    let failure =
        Failure::new(Exit::Refused, "not_owner", format!("{} does not belong to these keys", context.full(name)))
            .why(format!("its owner is {}", state.owner))
            .fix("namectl names              # the names of these keys")
            .fix("namectl --keys FILE …      # use another key file");
    Err(failure)
}

/// The signed transaction in hexadecimal, its share still empty.
pub fn sign(context: &Context, keys: &KeyFile, entry: &Entry, anchor: AnchorBlock, body: Body) -> String {
    let secret = keys.wallet().secret_key(context.network, entry.role, entry.index);
    let id = txid(anchor.anchor.height, &body);
    let digest = sighash(&context.params().chain_id(), &anchor.hash, &id);
    let witness = Witness::sign(Policy::single(secret.public()), &[&secret], &digest);
    let share = body.needs_work().then_some(EMPTY_SHARE);
    let signed = Transaction::new(anchor.anchor, body, share, witness).expect("every body here is signed");
    to_hex(&encode(&signed))
}

/// What stands where the node will put its work.
const EMPTY_SHARE: Share = Share {
    version: 0,
    height: 0,
    time: 0,
    vtime: 0,
    bits: 0,
    prev: ledger::hash::BlockHash::ZERO,
    ext_root: ledger::hash::Hash::ZERO,
    nonce: 0,
};

/// Signs the same body again for a newer anchor; `None` if the keys are not ours.
pub fn sign_again(context: &Context, keys: &KeyFile, old_hex: &str) -> Result<Option<String>, Failure> {
    let bad = || Failure::new(Exit::Failure, "bad_answer", "the node holds a transaction that cannot be read");
    let old = decoded(old_hex).ok_or_else(bad)?;
    let signer = old.witness().ok_or_else(bad)?.signer();
    let address = ledger::key::to_address(context.params(), &signer);
    let Some(entry) = context.entry_of(keys, &address) else { return Ok(None) };
    let anchor = context.anchor(&context.status()?)?;
    Ok(Some(sign(context, keys, &entry, anchor, old.body().clone())))
}

/// Signs an UPDATE that sets what a REVEAL was to set: an older reveal of the same owner has won the name, and brought
/// back its operator and its records (protocol §4.1).
pub fn sign_correction(context: &Context, keys: &KeyFile, reveal_hex: &str) -> Result<Option<String>, Failure> {
    let Some(reveal) = decoded(reveal_hex) else { return Ok(None) };
    let Body::Reveal { name, operator, records, .. } = reveal.body() else { return Ok(None) };
    let planned = plan(context, keys, name, Act::Update, format!("correct {}", context.full(name)), |_, seq| {
        Ok(Body::Update { name: name.clone(), seq, operator: Some(*operator), records: Some(records.clone()) })
    })?;
    let anchor = context.anchor(&context.status()?)?;
    Ok(Some(sign(context, keys, &planned.entry, anchor, planned.body)))
}

/// Signs what was planned, hands it to the node, and waits as far as wanted.
pub fn carry_out(
    context: &Context,
    keys: &KeyFile,
    planned: Vec<Planned>,
    until: Until,
) -> Result<Vec<Operation>, Failure> {
    let anchor = context.anchor(&context.synced_status()?)?;
    let mut started = Vec::new();
    for Planned { entry, body, .. } in planned {
        let transaction_hex = sign(context, keys, &entry, anchor, body);
        let request = NewOperation::Change { transaction_hex };
        started.push(context.wait(context.client.start_operation(&request))?);
    }
    follow::follow(context, Some(keys), started, until)
}

/// Carries out and prints: the common end of every change.
pub fn finish(
    context: &Context,
    keys: &KeyFile,
    planned: Vec<Planned>,
    until: Until,
    done: &str,
) -> Result<(), Failure> {
    let names: Vec<Name> = planned.iter().map(|change| change.name.clone()).collect();
    if context.globals.dry_run {
        let texts: Vec<&str> = planned.iter().map(|change| change.text.as_str()).collect();
        context.out.result(&json!({ "dry_run": true, "plan": texts }), || format!("would {}", texts.join("\nwould ")));
        return Ok(());
    }
    let operations = carry_out(context, keys, planned, until)?;
    report(context, &names, &operations, until, done);
    Ok(())
}

/// Prints what became of changes to `names`.
pub fn report(context: &Context, names: &[Name], operations: &[Operation], until: Until, done: &str) {
    context.out.result(&json!({ "operations": operations }), || match until {
        Until::Started => started_text(operations),
        Until::Committed | Until::Final => {
            let line =
                |name: &Name| format!("{} {} {done}", context.out.paint(Style::Good, "done"), context.full(name));
            names.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    });
}

/// What is said when nobody waits.
pub fn started_text(operations: &[Operation]) -> String {
    let line = |op: &Operation| {
        format!("{}  {} {}   the node goes on: namectl ops wait {}", op.id, op.action, op.name, follow::short(&op.id))
    };
    operations.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_sign_ahead_of_operators_and_of_their_own_changes() {
        let (owner, operator) = (SignsAs::Owner, SignsAs::Operator);
        for (act, signs_as, own, number) in [
            (Act::Update, owner, None, 10 + 256),
            (Act::Transfer, owner, None, 10 + 256),
            (Act::Cancel, owner, None, 10 + 1_024),
            (Act::Revoke, owner, None, 10 + 2_048),
            (Act::Update, owner, Some(300), 301),
            (Act::Cancel, owner, Some(300), 10 + 1_024),
            (Act::Update, owner, Some(u64::MAX), 10 + 65_536),
            (Act::Update, operator, None, 11),
            (Act::Update, operator, Some(300), 11),
        ] {
            assert_eq!(act.number(signs_as, 10, own), number, "{act:?} {signs_as:?} {own:?}");
        }
    }
}
