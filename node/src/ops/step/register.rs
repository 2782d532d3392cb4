//! Steps of a registration.

use ledger::{
    hash::{self, Tag},
    rules::context::{self, NewEntry},
    state::{CommitState, NameState, Status},
};

use super::{Next, Rules, Sight, Step, anchor_holds, is_buried};
use crate::ops::{
    failure::Failure,
    record::{Milestones, RegisterPlan, Role, State, Terms},
    sight::Place,
};

/// Where the registration stands and what comes next.
pub(super) fn step(rules: &Rules, plan: &RegisterPlan, sight: &Sight) -> Step {
    let terms = plan.terms(&rules.chain_id);
    if let Place::Block(height) = sight.main_place {
        return revealed(rules, &terms, sight, height);
    }
    match (&sight.commit, sight.commit_place) {
        (Some(commit), _) if commit.spent => spent(rules, &terms, sight, commit.height),
        (Some(commit), _) => committed(rules, plan, &terms, sight, commit),
        // In a block, and its entry deleted: its term is over.
        (None, Place::Block(height)) => expired(rules, &terms, sight, height),
        (None, Place::Nowhere | Place::Pool) => uncommitted(rules, plan, &terms, sight),
    }
}

/// The reveal stands in the block at `height`. An entry's `registered` changes with a new reveal only, and a block
/// touches a name once, so it tells whether the entry is this reveal's, whoever owns it by now.
fn revealed(rules: &Rules, terms: &Terms<'_>, sight: &Sight, height: u32) -> Step {
    let contest_end = height.saturating_add(rules.params.contest);
    match &sight.name {
        Some(name) if name.registered == height => held(rules, sight, name),
        Some(name) if name.registered > height && name.registered < contest_end => {
            let milestones = Milestones { reveal_height: Some(height), ..Milestones::default() };
            Step::fail(Failure::name_taken(terms.name.as_str()), milestones, name.registered, rules, sight)
        }
        // Its term is long over, and the name was deleted or taken anew.
        Some(_) | None => {
            let milestones = Milestones { reveal_height: Some(height), ..Milestones::default() };
            Step::new(State::Done, Next::Settle, milestones)
        }
    }
}

/// The name is the registrant's. Done counts at once, but is watched until no ordinary reorganisation reaches it.
fn held(rules: &Rules, sight: &Sight, name: &NameState) -> Step {
    let milestones = Milestones {
        commit_height: Some(name.commit_height),
        reveal_height: Some(name.registered),
        active_from: Some(name.active_from),
        next_height: Some(name.active_from),
    };
    if sight.next < name.active_from {
        return Step::new(State::Contest, Next::Wait, milestones);
    }
    let next = if is_buried(rules, name.registered, sight.next) { Next::Settle } else { Next::Wait };
    Step::new(State::Done, next, Milestones { next_height: None, ..milestones })
}

/// The commit was used, yet this reveal is in no block.
fn spent(rules: &Rules, terms: &Terms<'_>, sight: &Sight, height: u32) -> Step {
    if let Some(name) = held_by_this_commit(terms, sight, height) {
        return held(rules, sight, name);
    }
    // Whatever became of the name later, the commit was spent before its term was over.
    let since = sight.name.as_ref().map_or(last_reveal(rules, height), |name| name.last_update);
    Step::fail(Failure::name_taken(terms.name.as_str()), at_commit(height), since, rules, sight)
}

/// The commit's term is over.
fn expired(rules: &Rules, terms: &Terms<'_>, sight: &Sight, height: u32) -> Step {
    if let Some(name) = held_by_this_commit(terms, sight, height) {
        return held(rules, sight, name);
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
        return expired(rules, terms, sight, commit.height);
    }
    let reveal_at = sight.next.max(ripe);
    if let Some(failure) = cannot_take(rules, terms, sight, commit, reveal_at) {
        let since = sight.name.as_ref().map_or(commit.height, |name| name.last_update.max(commit.height));
        return Step::fail(failure, milestones, since, rules, sight);
    }
    let anchor = plan.reveal.anchor();
    let is_same = sight.signed_anchor.is_some_and(|block| anchor.matches(&block.at.hash));
    if !anchor_holds(params, anchor.height, is_same, reveal_at) {
        return Step::ask_for_signature(Failure::needs_signature(anchor.height, params.anchor_window), milestones);
    }
    if sight.next < ripe {
        let milestones = Milestones { next_height: Some(ripe), ..milestones };
        return Step::new(State::Maturing, Next::Wait, milestones);
    }
    let milestones = Milestones { next_height: Some(sight.next), ..milestones };
    Step::new(State::Revealing, publish(sight.main_place, Role::Reveal, &plan.reveal), milestones)
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
    let params = rules.params;
    let name = terms.name.as_str();
    let none = Milestones::default();
    if let Some(state) = &sight.name
        && let Some(status) = holder_status(rules, state, sight.next)
    {
        return Step::fail(Failure::not_free(name, status), none, state.last_update, rules, sight);
    }
    let anchor = plan.commit_anchor;
    let block = sight.commit_anchor.filter(|block| block.at == anchor);
    let holds = anchor_holds(params, anchor.height, block.is_some(), sight.next);
    if let (Some(commit), true) = (&plan.commit, holds) {
        let next = publish(sight.commit_place, Role::Commit, commit);
        return Step::new(State::Broadcast, next, none);
    }
    // A search has no memory, so moving to a newer anchor loses nothing; waiting for the old one to die would.
    let is_old = sight.next > anchor.height.saturating_add(params.anchor_window / 2);
    if (!holds || is_old) && sight.best_anchor.at != anchor {
        return Step::new(State::Working, Next::Reanchor(sight.best_anchor.at), none);
    }
    let order = block.and_then(|b| rules.order(&terms.commit_body(), anchor.height, &anchor.hash, b.prices));
    Step::new(State::Working, order.map_or(Next::Wait, Next::Work), none)
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

fn publish(place: Place, role: Role, transaction: &ledger::transaction::Transaction) -> Next {
    match place {
        Place::Nowhere => Next::Publish(role, Box::new(transaction.clone())),
        Place::Pool | Place::Block(_) => Next::Wait,
    }
}

/// The last block in which a commit can be revealed.
fn last_reveal(rules: &Rules, commit_height: u32) -> u32 {
    commit_height.saturating_add(rules.params.commit_ttl)
}

fn at_commit(height: u32) -> Milestones {
    Milestones { commit_height: Some(height), ..Milestones::default() }
}
