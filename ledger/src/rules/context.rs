//! Rules for a transaction at one place in the chain (protocol §4.1, §4.2, §6).
//!
//! Each function judges one sentence of the protocol; [`super::apply`] calls them in order.

use super::{
    transaction::Stated,
    violation::{GotExpected, Violation},
};
use crate::{
    hash::{self, BlockHash, CommitHash, PolicyHash, Tag},
    name::Name,
    params::{MAX_SEQ_STEP, Params},
    price::Prices,
    record::Records,
    state::{
        CommitState, Leaf, NameState, Pending, PendingKind, Status,
        name_state::{FLAG_BURNT, FLAG_REVOKED},
    },
    transaction::{Body, RevokeMode, Transaction},
};

/// The chain below the block that is judged.
pub trait Ancestors {
    /// Hash of the ancestor at `height`, as far as it is still known.
    fn hash_at(&self, height: u32) -> Option<BlockHash>;
    /// Prices in the ancestor at `height`.
    fn prices_at(&self, height: u32) -> Option<Prices>;
}

/// §4.1: the anchor's height is one that a transaction of its type may state in the block at `height`. To be asked before
/// the anchor block is looked for: an impossible height is the author's fault, and not a gap in what is known here.
pub fn anchor_height_is_allowed(params: &Params, height: u32, transaction: &Transaction) -> Result<(), Violation> {
    let anchor = transaction.anchor().height;
    match transaction.body() {
        Body::Reveal { .. } if anchor == 0 => Ok(()),
        Body::Reveal { .. } => Err(Violation::RevealAnchor { height: anchor }),
        _ => anchor_is_in_window(params, height, anchor),
    }
}

/// §4.1: `1 ≤ h − anchor_height ≤ ANCHOR_WINDOW`.
pub fn anchor_is_in_window(params: &Params, height: u32, anchor: u32) -> Result<(), Violation> {
    let window = params.anchor_window;
    let in_window = anchor < height && height - anchor <= window;
    if in_window { Ok(()) } else { Err(Violation::AnchorWindow { anchor, height, window }) }
}

/// §4.1: the anchor is an ancestor of this block.
pub fn anchor_is_on_this_chain(ancestors: &dyn Ancestors, stated: Stated<'_>) -> Result<(), Violation> {
    let height = stated.transaction.anchor().height;
    let ancestor = ancestors.hash_at(height).ok_or(Violation::AncestorUnknown { height })?;
    if ancestor == stated.anchor { Ok(()) } else { Err(Violation::AnchorTag { height }) }
}

/// §6 COMMIT: no entry stands at the commit's key; the new one is unspent.
pub fn commit(
    height: u32,
    class: u8,
    commit_hash: CommitHash,
    standing: Option<&Leaf>,
) -> Result<CommitState, Violation> {
    match standing {
        None => Ok(CommitState { class, commit_hash, height, spent: false }),
        Some(leaf) => Err(collision_unless_same_commit(class, &commit_hash, leaf)),
    }
}

fn collision_unless_same_commit(class: u8, hash: &CommitHash, leaf: &Leaf) -> Violation {
    match leaf {
        Leaf::Commit(c) if c.class == class && c.commit_hash == *hash => Violation::CommitExists,
        Leaf::Commit(_) | Leaf::Name(_) => Violation::KeyCollision { what: format!("commit {hash}") },
    }
}

/// §6 REVEAL: the commit stands and is unspent.
pub fn commit_to_spend(class: u8, hash: &CommitHash, standing: Option<&Leaf>) -> Result<CommitState, Violation> {
    match standing {
        None => Err(Violation::CommitMissing),
        Some(Leaf::Commit(c)) if c.class == class && c.commit_hash == *hash => {
            if c.spent {
                Err(Violation::CommitSpent)
            } else {
                Ok(*c)
            }
        }
        Some(_) => Err(Violation::KeyCollision { what: format!("commit {hash}") }),
    }
}

/// §6 REVEAL: `c.height+MATURITY ≤ h ≤ c.height+COMMIT_TTL`.
pub fn commit_is_ripe(params: &Params, height: u32, commit: u32) -> Result<(), Violation> {
    let (from, until) = (commit.saturating_add(params.maturity), commit.saturating_add(params.commit_ttl));
    if height < from {
        return Err(Violation::CommitUnripe { commit, from });
    }
    if height > until { Err(Violation::CommitExpired { commit, until }) } else { Ok(()) }
}

/// §6 REVEAL: `prec = (c.height, H("tie", commit_hash ‖ hash of block c.height)[..16])`.
pub fn precedence(ancestors: &dyn Ancestors, commit: &CommitState) -> Result<(u32, [u8; 16]), Violation> {
    let height = commit.height;
    let block = ancestors.hash_at(height).ok_or(Violation::AncestorUnknown { height })?;
    let digest = hash::hash(Tag::Tie, &[commit.commit_hash.as_ref(), block.as_ref()]);
    Ok((height, digest.0[..16].try_into().expect("half of 32 bytes")))
}

/// §5.1: the entry at a name's key is that name's.
pub fn entry_of<'a>(name: &Name, standing: Option<&'a Leaf>) -> Result<&'a NameState, Violation> {
    match standing {
        None => Err(Violation::NameMissing { name: name.clone() }),
        Some(Leaf::Name(state)) if state.name == *name => Ok(state),
        Some(_) => Err(Violation::KeyCollision { what: format!("name {name}") }),
    }
}

/// What a REVEAL brings.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// The name.
    pub name: &'a Name,
    /// Its owner.
    pub owner: &'a PolicyHash,
    /// Its operator, or zero.
    pub operator: &'a PolicyHash,
    /// Its records.
    pub records: &'a Records,
    /// Its commit's place in the order.
    pub precedence: (u32, [u8; 16]),
}

/// §6 REVEAL: takes a name that is absent, released, or held by a later commit in its contest.
pub fn take(
    params: &Params,
    height: u32,
    new: NewEntry<'_>,
    standing: Option<NameState>,
) -> Result<NameState, Violation> {
    let active_from = height.saturating_add(params.contest);
    let expires_at = height.saturating_add(params.term);
    let Some(held) = standing else {
        return Ok(fresh_state(height, new, Window { seq: 1, not_before: 0, active_from, expires_at }));
    };
    let window = match held.status(params, height) {
        Status::Released => {
            let release = held.release_height(params);
            commit_is_not_before(new.precedence.0, release)?;
            Window { seq: held.seq.saturating_add(1), not_before: release, active_from, expires_at }
        }
        Status::Pending if !held.is_claimed() => {
            commit_precedes(new.precedence, &held)?;
            commit_is_not_before(new.precedence.0, held.not_before)?;
            let NameState { seq, not_before, active_from, expires_at, .. } = held;
            Window { seq: seq.saturating_add(1), not_before, active_from, expires_at }
        }
        status @ (Status::Pending | Status::Active | Status::Grace | Status::Revoked) => {
            return Err(Violation::NameTaken { status });
        }
    };
    Ok(fresh_state(height, new, window))
}

/// The parts of a new entry that depend on what stood there before.
struct Window {
    seq: u64,
    not_before: u32,
    active_from: u32,
    expires_at: u32,
}

fn fresh_state(height: u32, new: NewEntry<'_>, window: Window) -> NameState {
    NameState {
        name: new.name.clone(),
        flags: 0,
        seq: window.seq,
        commit_height: new.precedence.0,
        tie: new.precedence.1,
        registered: height,
        active_from: window.active_from,
        not_before: window.not_before,
        expires_at: window.expires_at,
        last_update: height,
        owner: *new.owner,
        operator: *new.operator,
        pending: None,
        claim: None,
        records: new.records.clone(),
    }
}

/// §6: a name in its contest goes to a smaller precedence only; equality keeps the holder.
fn commit_precedes(precedence: (u32, [u8; 16]), held: &NameState) -> Result<(), Violation> {
    let (commit, holder) = (precedence.0, held.commit_height);
    if precedence < held.precedence() { Ok(()) } else { Err(Violation::LaterCommit { commit, holder }) }
}

/// §6: nobody can prepare a commit before the name is free.
fn commit_is_not_before(commit: u32, release: u32) -> Result<(), Violation> {
    if commit >= release { Ok(()) } else { Err(Violation::CommitBeforeRelease { commit, release }) }
}

/// §6 RENEW on an entry whose matured transfer is folded in already. It is not signed: it changes the expiry only.
pub fn renew(params: &Params, height: u32, mut state: NameState, expires_at: u32) -> Result<NameState, Violation> {
    name_is_in_use(state.status(params, height))?;
    renewal_is_not_early(params, height, &state)?;
    renewal_is_of_the_running_term(&state, expires_at)?;
    state.expires_at = state.expires_at.saturating_add(params.term);
    state.last_update = height;
    Ok(state)
}

/// §6 RENEW: ACTIVE or GRACE.
fn name_is_in_use(status: Status) -> Result<(), Violation> {
    match status {
        Status::Active | Status::Grace => Ok(()),
        Status::Pending | Status::Revoked | Status::Released => Err(Violation::WrongStatus { status }),
    }
}

/// §6 RENEW: from RENEW_WINDOW before the end.
fn renewal_is_not_early(params: &Params, height: u32, state: &NameState) -> Result<(), Violation> {
    let from = state.expires_at.saturating_sub(params.renew_window);
    if height >= from { Ok(()) } else { Err(Violation::RenewalEarly { from }) }
}

/// §6 RENEW: for exactly the term that ends now, so that it cannot count twice.
fn renewal_is_of_the_running_term(state: &NameState, got: u32) -> Result<(), Violation> {
    let expected = state.expires_at;
    if got == expected { Ok(()) } else { Err(Violation::RenewalTerm(GotExpected { got, expected })) }
}

/// §6 UPDATE, TRANSFER, CANCEL, REVOKE on an entry whose matured transfer is folded in already.
pub fn change(params: &Params, height: u32, mut state: NameState, stated: Stated<'_>) -> Result<NameState, Violation> {
    let body = stated.transaction.body();
    status_allows(state.status(params, height), &state, body)?;
    let seq = body.seq().expect("every signed change to an entry carries a sequence number");
    let role = signer_is_authorised(&state, body, &stated.signer)?;
    sequence_follows(role, state.seq, seq)?;
    match body {
        Body::Update { operator, records, .. } => {
            state.operator = operator.unwrap_or(state.operator);
            if let Some(records) = records {
                state.records = records.clone();
            }
        }
        Body::Transfer { owner, operator, .. } => {
            let at = height.saturating_add(params.transfer_delay);
            no_takeover_is_pending(&state)?;
            state.pending = Some(Pending { kind: PendingKind::Transfer, owner: *owner, operator: *operator, at });
        }
        Body::Cancel { .. } => {
            no_takeover_is_pending(&state)?;
            state.pending.take().ok_or(Violation::NoPendingTransfer)?;
        }
        Body::Revoke { mode, .. } => {
            no_takeover_is_pending(&state)?;
            revoke(params, height, &mut state, *mode);
        }
        Body::Commit { .. } | Body::Reveal { .. } | Body::Renew { .. } | Body::Claim { .. } | Body::Roll { .. } => {
            unreachable!("called for signed changes to entries only")
        }
    }
    state.seq = seq;
    state.last_update = height;
    Ok(state)
}

/// §6: a PENDING name accepts REVEAL only; TRANSFER needs ACTIVE, the others ACTIVE or GRACE. A release can still be
/// turned into a burn: that is how an owner answers a thief who released the name to take it.
fn status_allows(status: Status, state: &NameState, body: &Body) -> Result<(), Violation> {
    let allowed = match status {
        Status::Active => true,
        Status::Grace => !matches!(body, Body::Transfer { .. }),
        Status::Revoked => !state.is_burnt() && matches!(body, Body::Revoke { mode: RevokeMode::Burn, .. }),
        Status::Pending | Status::Released => false,
    };
    if allowed { Ok(()) } else { Err(Violation::WrongStatus { status }) }
}

/// §6 TRANSFER, CANCEL, REVOKE: a takeover by the owner of the domain can be neither delayed nor dodged.
fn no_takeover_is_pending(state: &NameState) -> Result<(), Violation> {
    match state.pending.map(|pending| pending.kind) {
        None | Some(PendingKind::Transfer) => Ok(()),
        Some(PendingKind::Takeover | PendingKind::WeakTakeover) => Err(Violation::TakeoverPending),
    }
}

/// In which role a signer acts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Owner,
    Operator,
}

/// §4.2: the owner may do everything, the operator replace records (flags = 2).
fn signer_is_authorised(state: &NameState, body: &Body, signer: &PolicyHash) -> Result<Role, Violation> {
    if *signer == state.owner {
        return Ok(Role::Owner);
    }
    let enough = matches!(body, Body::Update { operator: None, records: Some(_), .. });
    let is_operator = !state.operator.is_zero() && *signer == state.operator;
    if enough && is_operator { Ok(Role::Operator) } else { Err(Violation::NotAuthorised) }
}

/// §4.2: an owner may skip up to 2^16 numbers, an operator none, so a hostile operator cannot outrun the owner.
fn sequence_follows(role: Role, current: u64, got: u64) -> Result<(), Violation> {
    let from = current.saturating_add(1);
    let to = match role {
        Role::Owner => current.saturating_add(MAX_SEQ_STEP),
        Role::Operator => from,
    };
    if current < got && got <= to { Ok(()) } else { Err(Violation::Sequence { got, from, to }) }
}

/// §6 REVOKE.
fn revoke(params: &Params, height: u32, state: &mut NameState, mode: RevokeMode) {
    state.flags |= match mode {
        RevokeMode::Burn => FLAG_REVOKED | FLAG_BURNT,
        RevokeMode::Release => FLAG_REVOKED,
    };
    state.pending = None;
    state.operator = PolicyHash::ZERO;
    state.records = Records::empty();
    state.expires_at = match mode {
        RevokeMode::Burn => state.expires_at.saturating_add(params.grace).max(height.saturating_add(params.burn_lock)),
        RevokeMode::Release => height.saturating_add(params.release_delay),
    };
}
