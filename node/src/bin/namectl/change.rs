//! Signing, and handing signed changes to the node, which does the work and finishes alone.

use ledger::{
    codec::{decode, encode},
    hash::{from_hex, to_hex},
    key::{Policy, Witness, sighash},
    name::Name,
    transaction::{Body, Share, Transaction, txid},
};
use node::{
    api::types::{NameAnswer, NameEntry, NewOperation, Operation},
    keys::{Entry, KeyFile, Role},
};
use serde_json::json;

use crate::{
    context::{AnchorBlock, Context},
    failure::{Exit, Failure},
    follow::{self, Until},
    output::Style,
};

/// Who may sign a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    Owner,
    OwnerOrOperator,
}

/// A change that is decided and not yet signed.
pub struct Planned {
    pub name: Name,
    pub entry: Entry,
    pub body: Body,
    /// What it does, for people: `renew alice.p2p`.
    pub text: String,
}

/// Finds the key for a change of `name` and lets `make` fill in the body, given the state and the next number.
pub fn plan(
    context: &Context,
    keys: &KeyFile,
    name: &Name,
    authority: Authority,
    text: String,
    make: impl FnOnce(&NameEntry, u64) -> Result<Body, Failure>,
) -> Result<Planned, Failure> {
    let answer = context.answer(name)?;
    let state = entry_of(context, name, &answer)?;
    let entry = signer(context, keys, name, state, authority)?;
    let body = make(state, state.seq + 1)?;
    Ok(Planned { name: name.clone(), entry, body, text })
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
    authority: Authority,
) -> Result<Entry, Failure> {
    if let Some(entry) = context.entry_of(keys, &state.owner) {
        return Ok(entry);
    }
    let operator = state.operator.as_ref().filter(|_| authority == Authority::OwnerOrOperator);
    if let Some(entry) = operator.and_then(|address| context.entry_of(keys, address)) {
        return Ok(entry);
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
    let secret = keys.wallet.secret_key(context.network, entry.role, entry.index);
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
    let old: Transaction = from_hex(old_hex).and_then(|bytes| decode(&bytes).ok()).ok_or_else(bad)?;
    let signer = old.witness().ok_or_else(bad)?.signer();
    let address = ledger::key::to_address(context.params(), &signer);
    let Some(entry) = context.entry_of(keys, &address) else { return Ok(None) };
    let anchor = context.anchor(&context.status()?)?;
    Ok(Some(sign(context, keys, &entry, anchor, old.body().clone())))
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
    context.out.result(&json!({ "operations": operations }), || match until {
        Until::Started => started_text(&operations),
        Until::Committed | Until::Final => {
            let line =
                |name: &Name| format!("{} {} {done}", context.out.paint(Style::Good, "done"), context.full(name));
            names.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    });
    Ok(())
}

/// What is said when nobody waits.
pub fn started_text(operations: &[Operation]) -> String {
    let line = |op: &Operation| {
        format!("{}  {} {}   the node goes on: namectl ops wait {}", op.id, op.action, op.name, follow::short(&op.id))
    };
    operations.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether an entry's key is the owner's (and not only the operator's).
pub fn is_owner(entry: &Entry) -> bool {
    entry.role == Role::Owner
}
