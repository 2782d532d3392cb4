//! Steps of a registration.

use ledger::{
    hash::{self, Tag},
    rules::context::{self, NewEntry},
    state::{CommitState, NameState, Status},
};

use super::{
    change,
    outcome::{Next, Step, is_buried, publish},
    unsigned::{self, Unsigned},
};
use crate::{
    failure::Failure,
    ops::{
        record::{Milestones, RegisterPlan, Terms},
        rules::Rules,
        sight::{Place, Sight},
        state::{OperationState, TxRole},
    },
};

/// Where the registration stands and what comes next.
pub(super) fn step(rules: &Rules, plan: &RegisterPlan, sight: &Sight) -> Step {
    let terms = plan.terms(&rules.chain_id);
    match (&sight.commit, sight.reveal_place, sight.unsigned_place) {
        // A reveal may stand in a chain twice, so the commit's entry is asked before the index of transactions.
        (Some(commit), ..) if !commit.spent => committed(rules, plan, &terms, sight, commit),
        (_, Place::Block(height), _) => revealed(rules, plan, &terms, sight, height),
        (Some(commit), ..) => spent(rules, plan, &terms, sight, commit.height),
        // In a block, and its entry deleted: its term is over.
        (None, _, Place::Block(height)) => expired(rules, plan, &terms, sight, height),
        (None, _, Place::Nowhere | Place::Pool) => uncommitted(rules, plan, &terms, sight),
    }
}

/// The reveal stands in the block at `height`. An entry's `registered` changes with a new reveal only, and a block
/// touches a name once, so it tells whether the entry is this reveal's, whoever owns it by now.
fn revealed(rules: &Rules, plan: &RegisterPlan, terms: &Terms<'_>, sight: &Sight, height: u32) -> Step {
    let contest_end = height.saturating_add(rules.params.contest);
    let milestones = Milestones { reveal_height: Some(height), ..Milestones::default() };
    match &sight.name {
        Some(name) if name.registered == height => held(rules, plan, terms, sight, name),
        Some(name) if name.registered > height && name.registered < contest_end => {
            if name.owner == *terms.owner {
                return held(rules, plan, terms, sight, name);
            }
            Step::fail(Failure::name_taken(terms.name.as_str()), milestones, name.registered, rules, sight)
        }
        // Its term is long over, and the name was deleted or taken anew.
        Some(_) | None => Step::new(OperationState::Done, Next::Settle, milestones),
    }
}

/// The name is the registrant's. Done counts at once, but is watched until no ordinary reorganisation reaches it.
fn held(rules: &Rules, plan: &RegisterPlan, terms: &Terms<'_>, sight: &Sight, name: &NameState) -> Step {
    let milestones = Milestones {
        commit_height: Some(name.commit_height),
        reveal_height: Some(name.registered),
        active_from: Some(name.active_from),
        next_height: Some(name.active_from),
    };
    if sight.next < name.active_from {
        return Step::new(OperationState::Contest, Next::Wait, milestones);
    }
    let milestones = Milestones { next_height: None, ..milestones };
    if brings_back_old_terms(terms, name) {
        return Step { milestones, ..correct(rules, plan, terms, sight) };
    }
    let next = if is_buried(rules, name.registered, sight.next) { Next::Settle } else { Next::Wait };
    Step::new(OperationState::Done, next, milestones)
}

/// Whether an older reveal of the same owner gave the name other contents than were signed for. Contents that were
/// changed since are what somebody with the key wanted.
fn brings_back_old_terms(terms: &Terms<'_>, name: &NameState) -> bool {
    let is_as_revealed = name.last_update == name.registered && name.owner == *terms.owner;
    is_as_revealed && (name.operator != *terms.operator || name.records != *terms.records)
}

/// Changes what differs, once its owner has signed that.
fn correct(rules: &Rules, plan: &RegisterPlan, terms: &Terms<'_>, sight: &Sight) -> Step {
    match &plan.correction {
        Some(correction) => change::step(rules, correction, sight),
        None => Step::ask_for_signature(Failure::older_reveal(terms.name.as_str()), Milestones::default()),
    }
}

/// The commit was used, yet this reveal is in no block.
fn spent(rules: &Rules, plan: &RegisterPlan, terms: &Terms<'_>, sight: &Sight, height: u32) -> Step {
    if let Some(name) = held_by_this_commit(terms, sight, height).or_else(|| own_entry(rules, terms, sight)) {
        return held(rules, plan, terms, sight, name);
    }
    // Whatever became of the name later, the commit was spent before its term was over.
    let since = sight.name.as_ref().map_or(last_reveal(rules, height), |name| name.last_update);
    Step::fail(Failure::name_taken(terms.name.as_str()), at_commit(height), since, rules, sight)
}

/// The commit's term is over.
fn expired(rules: &Rules, plan: &RegisterPlan, terms: &Terms<'_>, sight: &Sight, height: u32) -> Step {
    if let Some(name) = held_by_this_commit(terms, sight, height).or_else(|| own_entry(rules, terms, sight)) {
        return held(rules, plan, terms, sight, name);
    }
    let until = last_reveal(rules, height);
    Step::fail(Failure::commit_expired(terms.name.as_str(), until), at_commit(height), until, rules, sight)
}

/// The entry that another reveal of the same commit made, signed by the same owner: the name is theirs all the same.
fn held_by_this_commit<'a>(terms: &Terms<'_>, sight: &'a Sight, height: u32) -> Option<&'a NameState> {
    sight.name.as_ref().filter(|name| name.owner == *terms.owner && name.commit_height == height)
}

/// The commit stands and waits for its reveal.
fn committed(rules: &Rules, plan: &RegisterPlan, terms: &Terms<'_>, sight: &Sight, commit: &CommitState) -> Step {
    let params = rules.params;
    let milestones = at_commit(commit.height);
    let ripe = commit.height.saturating_add(params.maturity);
    if sight.next > last_reveal(rules, commit.height) {
        return expired(rules, plan, terms, sight, commit.height);
    }
    let reveal_at = sight.next.max(ripe);
    if let Some(failure) = cannot_take(rules, terms, sight, commit, reveal_at) {
        if let Some(name) = own_entry(rules, terms, sight) {
            return held(rules, plan, terms, sight, name);
        }
        let since = sight.name.as_ref().map_or(commit.height, |name| name.last_update.max(commit.height));
        return Step::fail(failure, milestones, since, rules, sight);
    }
    if sight.next < ripe {
        let milestones = Milestones { next_height: Some(ripe), ..milestones };
        return Step::new(OperationState::Maturing, Next::Wait, milestones);
    }
    let milestones = Milestones { next_height: Some(sight.next), ..milestones };
    // The commit is unspent: a copy of the REVEAL that stands in the chain has spent another one (protocol §4.1).
    let place = match sight.reveal_place {
        Place::Pool => Place::Pool,
        Place::Nowhere | Place::Block(_) => Place::Nowhere,
    };
    Step::new(OperationState::Revealing, publish(place, TxRole::Reveal, &plan.reveal), milestones)
}

/// The entry that another reveal of the same owner made: a name held by one's own key counts as won (protocol §4.1).
fn own_entry<'a>(rules: &Rules, terms: &Terms<'_>, sight: &'a Sight) -> Option<&'a NameState> {
    let name = sight.name.as_ref().filter(|name| name.owner == *terms.owner)?;
    let status = name.status(rules.params, sight.next);
    matches!(status, Status::Pending | Status::Active | Status::Grace).then_some(name)
}

/// Why the reveal would be refused at `height`, as far as the name's present entry tells.
fn cannot_take(rules: &Rules, terms: &Terms<'_>, sight: &Sight, commit: &CommitState, height: u32) -> Option<Failure> {
    let block = sight.commit_block?;
    let digest = hash::hash(Tag::Tie, &[commit.commit_hash.as_ref(), block.as_ref()]);
    let tie = digest.0[..16].try_into().expect("half of 32 bytes");
    let Terms { name, owner, operator, records, .. } = *terms;
    let entry = NewEntry { name, owner, operator, records, precedence: (commit.height, tie) };
    let taken = context::take(rules.params, height, entry, sight.name.clone());
    taken.err().map(|violation| Failure::of_violation(name.as_str(), &violation))
}

/// No commit stands in the chain.
fn uncommitted(rules: &Rules, plan: &RegisterPlan, terms: &Terms<'_>, sight: &Sight) -> Step {
    let name = terms.name.as_str();
    let none = Milestones::default();
    if let Some(state) = &sight.name
        && let Some(status) = holder_status(rules, state, sight.next)
    {
        // Not for a request to register what is registered already, but for a name that came while it was worked for.
        let came_meanwhile = own_entry(rules, terms, sight).filter(|name| name.registered > plan.commit_anchor.height);
        if let Some(state) = came_meanwhile {
            return held(rules, plan, terms, sight, state);
        }
        return Step::fail(Failure::not_free(name, status), none, state.last_update, rules, sight);
    }
    let (body, transaction) = (terms.commit_body(), plan.commit.as_ref());
    let commit = Unsigned { body: &body, anchor: plan.commit_anchor, transaction, role: TxRole::Commit };
    unsigned::step(rules, &commit, sight)
}

/// The status of a name that a commit made now could not win, in words.
fn holder_status(rules: &Rules, state: &NameState, height: u32) -> Option<&'static str> {
    match state.status(rules.params, height) {
        Status::Pending => Some("being registered by somebody whose commit is older"),
        Status::Active => Some("registered"),
        Status::Grace => Some("expired, but still its last owner's to renew"),
        Status::Revoked => Some("given up, but not free yet"),
        Status::Released => None,
    }
}

/// The last block in which a commit can be revealed.
fn last_reveal(rules: &Rules, commit_height: u32) -> u32 {
    commit_height.saturating_add(rules.params.commit_ttl)
}

fn at_commit(height: u32) -> Milestones {
    Milestones { commit_height: Some(height), ..Milestones::default() }
}
