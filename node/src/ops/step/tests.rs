//! One line per transition: what is stored, what the chain says, what follows.

use ledger::{
    codec::{decode, encode},
    hash::{BlockHash, PolicyHash},
    name::Name,
    params::{Network, Params},
    price::Prices,
    record::Records,
    state::{CommitState, NameState},
    testing::{TestChain, name, owner, params_with, records},
    transaction::{Anchor, Body, RevokeMode, Share, Transaction},
};

use super::*;
use crate::ops::{
    id::OpId,
    record::{AnchorRef, ChangePlan, RegisterPlan, RenewPlan},
    sight::{AnchorBlock, Place},
    state::TxRole,
};

const ANCHOR: u32 = 40;
const PRICES: Prices = Prices { bytes: 256, commit: 256 };

fn rules() -> Rules {
    Rules::new(Network::Local.params())
}

fn block(height: u32) -> AnchorBlock {
    AnchorBlock { at: AnchorRef { height, hash: BlockHash([height as u8; 32]) }, prices: PRICES }
}

fn alice() -> Name {
    name("alice")
}

fn anchor(height: u32) -> Anchor {
    Anchor::to_block(height, &block(height).at.hash)
}

/// Steps do not look at signatures and shares, so any will do: these come from a chain of their own.
fn made(body: Body, height: u32) -> Transaction {
    let chain = TestChain::new(Network::Local.params());
    let made = chain.maker().make(body.clone(), 1);
    Transaction::new(anchor(height), body, made.share().copied(), made.witness().cloned()).expect("complete")
}

fn reveal(height: u32) -> Transaction {
    let chain = TestChain::new(Network::Local.params());
    made(chain.maker().reveal_body(&alice(), 1, Records::empty()), height)
}

fn commit(height: u32) -> Transaction {
    let plan = RegisterPlan { reveal: reveal(ANCHOR), commit_anchor: block(height).at, commit: None, correction: None };
    let share = Share::of(&rules().params.genesis().core);
    let body = plan.terms(&rules().chain_id).commit_body();
    Transaction::new(anchor(height), body, Some(share), None).expect("complete")
}

fn record(plan: Plan) -> Record {
    Record::new(OpId::new(1, 2), 3, plan)
}

fn registration(commit_anchor: u32, commit: Option<Transaction>) -> Record {
    record(Plan::Register(RegisterPlan {
        reveal: reveal(ANCHOR),
        commit_anchor: block(commit_anchor).at,
        commit,
        correction: None,
    }))
}

fn change(is_worked: bool) -> Record {
    let body = Body::Revoke { name: alice(), seq: 5, mode: RevokeMode::Release };
    record(Plan::Change(ChangePlan { transaction: made(body, ANCHOR), anchor: block(ANCHOR).at, is_worked }))
}

/// The chain at a tip of `next − 1` that knows nothing of the operation.
fn chain(next: u32) -> Sight {
    Sight {
        next,
        signed_anchor: Some(block(ANCHOR)),
        unsigned_anchor: Some(block(ANCHOR)),
        cheapest_anchor: block(next - 1 - rules().params.anchor_depth),
        commit: None,
        commit_block: None,
        name: None,
        unsigned_place: Place::Nowhere,
        reveal_place: Place::Nowhere,
        change_place: Place::Nowhere,
    }
}

fn with_commit(next: u32, height: u32, spent: bool) -> Sight {
    let reveal = reveal(ANCHOR);
    let plan = RegisterPlan { reveal, commit_anchor: block(ANCHOR).at, commit: None, correction: None };
    let commit_hash = plan.terms(&rules().chain_id).commit_hash;
    let commit = Some(CommitState { class: 2, commit_hash, height, spent });
    Sight { commit, commit_block: Some(block(height).at.hash), ..chain(next) }
}

fn entry(owner: PolicyHash, commit_height: u32, registered: u32) -> Option<NameState> {
    Some(NameState {
        name: alice(),
        flags: 0,
        seq: 1,
        commit_height,
        tie: [0; 16],
        registered,
        active_from: registered + rules().params.contest,
        not_before: 0,
        expires_at: registered + rules().params.term,
        last_update: registered,
        owner,
        operator: PolicyHash::ZERO,
        pending: None,
        claim: None,
        records: Records::empty(),
    })
}

/// `what`: `wait`, `work`, `commit`, `reveal`, `change`, `anchor H`, `settle`.
fn check(record: &Record, sight: &Sight, state: OperationState, what: &str, code: Option<&str>) {
    let step = step(&rules(), record, sight);
    let next = match &step.next {
        Next::Wait => "wait".to_owned(),
        Next::Work(_) => "work".to_owned(),
        Next::Publish(TxRole::Commit, _) => "commit".to_owned(),
        Next::Publish(TxRole::Reveal, _) => "reveal".to_owned(),
        Next::Publish(TxRole::Change, _) => "change".to_owned(),
        Next::Reanchor(anchor) => format!("anchor {}", anchor.height),
        Next::Settle => "settle".to_owned(),
    };
    let got_code = step.failure.as_ref().map(|failure| failure.code.as_str());
    assert_eq!((step.state, next.as_str(), got_code), (state, what, code), "{sight:?}");
}

#[test]
fn a_commit_is_worked_for_and_published() {
    let fresh = registration(ANCHOR, None);
    check(&fresh, &chain(44), OperationState::Working, "work", None);
    // A search has no memory: it moves on while there is time left to get into a block.
    check(&fresh, &chain(91), OperationState::Working, "work", None);
    check(&fresh, &chain(92), OperationState::Working, "anchor 88", None);
    check(&fresh, &chain(101), OperationState::Working, "anchor 97", None);
}

#[test]
fn a_commit_moves_to_an_anchor_that_costs_less() {
    let fresh = registration(ANCHOR, None);
    let at = |price| AnchorBlock { prices: Prices { commit: price, ..PRICES }, ..block(38) };
    for (price, what) in [(PRICES.commit - 1, "anchor 38"), (PRICES.commit, "work"), (PRICES.commit + 1, "work")] {
        check(&fresh, &Sight { cheapest_anchor: at(price), ..chain(44) }, OperationState::Working, what, None);
    }
    // What has its work stays where it is.
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    check(&worked, &Sight { cheapest_anchor: at(1), ..chain(44) }, OperationState::Broadcast, "commit", None);
}

#[test]
fn a_reorganised_anchor_is_left_at_once() {
    let fresh = registration(39, None);
    let other = AnchorBlock { at: AnchorRef { height: 39, hash: BlockHash([99; 32]) }, prices: PRICES };
    check(&fresh, &Sight { unsigned_anchor: Some(other), ..chain(44) }, OperationState::Working, "anchor 40", None);
    check(&fresh, &Sight { unsigned_anchor: None, ..chain(44) }, OperationState::Working, "anchor 40", None);
}

#[test]
fn a_worked_commit_is_published_until_its_anchor_dies() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    check(&worked, &chain(44), OperationState::Broadcast, "commit", None);
    check(&worked, &Sight { unsigned_place: Place::Pool, ..chain(44) }, OperationState::Broadcast, "wait", None);
    check(&worked, &chain(100), OperationState::Broadcast, "commit", None);
    check(&worked, &chain(101), OperationState::Working, "anchor 97", None);
}

#[test]
fn a_commit_matures_and_is_revealed() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    check(&worked, &with_commit(46, 45, false), OperationState::Maturing, "wait", None);
    check(&worked, &with_commit(47, 45, false), OperationState::Maturing, "wait", None);
    check(&worked, &with_commit(48, 45, false), OperationState::Revealing, "reveal", None);
    let again = Sight { reveal_place: Place::Block(20), ..with_commit(48, 45, false) };
    check(&worked, &again, OperationState::Revealing, "reveal", None);
    let pooled = Sight { reveal_place: Place::Pool, ..with_commit(48, 45, false) };
    check(&worked, &pooled, OperationState::Revealing, "wait", None);
}

/// Its anchor is genesis: however long the work and the price made it wait, nobody has to sign again.
#[test]
fn a_reveal_never_grows_old() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    for height in [97, 5_000, 3_000_000] {
        check(&worked, &with_commit(height + 1, height, false), OperationState::Maturing, "wait", None);
        check(&worked, &with_commit(height + 3, height, false), OperationState::Revealing, "reveal", None);
        check(&worked, &with_commit(height + 120, height, false), OperationState::Revealing, "reveal", None);
    }
    let reorganised = Sight { signed_anchor: None, ..with_commit(46, 45, false) };
    check(&worked, &reorganised, OperationState::Maturing, "wait", None);
}

#[test]
fn a_reveal_waits_out_its_contest() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let mine =
        |next| Sight { name: entry(owner(1), 45, 48), reveal_place: Place::Block(48), ..with_commit(next, 45, true) };
    check(&worked, &mine(49), OperationState::Contest, "wait", None);
    check(&worked, &mine(50), OperationState::Contest, "wait", None);
    check(&worked, &mine(51), OperationState::Done, "wait", None);
    check(&worked, &mine(767), OperationState::Done, "wait", None);
    check(&worked, &mine(768), OperationState::Done, "settle", None);
    // Handed on meanwhile, and even deleted: it was registered all the same.
    check(&worked, &Sight { name: entry(owner(2), 45, 48), ..mine(90) }, OperationState::Done, "wait", None);
    check(&worked, &Sight { name: None, ..mine(30_000) }, OperationState::Done, "settle", None);
    check(
        &worked,
        &Sight { name: entry(owner(2), 29_000, 29_500), ..mine(30_000) },
        OperationState::Done,
        "settle",
        None,
    );
}

#[test]
fn another_reveal_of_the_same_commit_counts() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let other = Sight { name: entry(owner(1), 45, 48), ..with_commit(51, 45, true) };
    check(&worked, &other, OperationState::Done, "wait", None);
}

/// A name held by one's own key counts as won, and what differs is changed when it is ACTIVE (protocol §4.1).
#[test]
fn an_older_reveal_of_the_same_owner_wins_and_is_corrected() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let older = |state: NameState| NameState { records: records("of long ago"), commit_height: 30, ..state };
    let held =
        |next, registered| Sight { name: entry(owner(1), 30, registered).map(older), ..with_commit(next, 45, false) };
    check(&worked, &held(48, 47), OperationState::Contest, "wait", None);
    check(&worked, &held(50, 47), OperationState::NeedsSignature, "wait", Some("older_reveal"));
    // It stays won when the commit that was not needed runs out.
    let same = |sight| Sight { name: entry(owner(1), 30, 47), ..sight };
    check(&worked, &same(with_commit(166, 45, false)), OperationState::Done, "wait", None);
    check(&worked, &same(Sight { unsigned_place: Place::Block(45), ..chain(200) }), OperationState::Done, "wait", None);
    // Before the commit stands too, but not when nothing was asked for yet.
    let early = |registered| Sight { name: entry(owner(1), 30, registered).map(older), ..chain(46) };
    check(&worked, &early(41), OperationState::NeedsSignature, "wait", Some("older_reveal"));
    check(&registration(ANCHOR, None), &early(39), OperationState::Failed, "wait", Some("name_taken"));
    // The same contents, or contents that were changed since, need nothing.
    let same = Sight { name: entry(owner(1), 30, 47), ..with_commit(50, 45, false) };
    check(&worked, &same, OperationState::Done, "wait", None);
    let changed = |state: NameState| NameState { last_update: 49, ..older(state) };
    let later = Sight { name: entry(owner(1), 30, 45).map(changed), ..with_commit(50, 45, false) };
    check(&worked, &later, OperationState::Done, "wait", None);
}

#[test]
fn a_correction_is_worked_for_like_any_change() {
    let body = Body::Update { name: alice(), seq: 257, operator: None, records: Some(Records::empty()) };
    let with = |is_worked| {
        let change = ChangePlan { transaction: made(body.clone(), ANCHOR), anchor: block(ANCHOR).at, is_worked };
        let Plan::Register(plan) = registration(ANCHOR, Some(commit(ANCHOR))).plan else { unreachable!("made above") };
        record(Plan::Register(RegisterPlan { correction: Some(change), ..plan }))
    };
    let older = |state: NameState| NameState { records: records("of long ago"), ..state };
    let held = Sight { name: entry(owner(1), 30, 47).map(older), ..with_commit(50, 45, false) };
    check(&with(false), &held, OperationState::Working, "work", None);
    check(&with(true), &held, OperationState::Broadcast, "change", None);
    let old = Sight { next: 101, ..held.clone() };
    check(&with(true), &old, OperationState::NeedsSignature, "wait", Some("needs_signature"));
    let fixed = |state: NameState| NameState { last_update: 50, seq: 257, ..state };
    let mined = Sight { name: entry(owner(1), 30, 47).map(fixed), change_place: Place::Block(50), ..held };
    check(&with(true), &Sight { next: 51, ..mined }, OperationState::Done, "wait", None);
}

fn renewal(renewal: Option<Transaction>) -> Record {
    let anchor = block(ANCHOR).at;
    record(Plan::Renew(RenewPlan { name: alice(), expires_at: EXPIRES, anchor, renewal }))
}

/// End of the term that [`renewal`] extends.
const EXPIRES: u32 = 5_000;

#[test]
fn a_renewal_needs_no_key_and_no_luck() {
    let share = Share::of(&rules().params.genesis().core);
    let body = Body::Renew { name: alice(), expires_at: EXPIRES };
    let worked = renewal(Transaction::new(anchor(ANCHOR), body, Some(share), None));
    let fresh = renewal(None);
    let expires = |at| entry(owner(7), 1, 5).map(|state| NameState { expires_at: at, last_update: 40, ..state });
    let seen = |at, next| Sight { name: expires(at), ..chain(next) };
    check(&fresh, &seen(EXPIRES, 44), OperationState::Working, "work", None);
    check(&worked, &seen(EXPIRES, 44), OperationState::Broadcast, "change", None);
    check(&worked, &seen(EXPIRES, 101), OperationState::Working, "anchor 97", None);
    let mined = Sight { unsigned_place: Place::Block(44), ..seen(EXPIRES + 20_000, 45) };
    check(&worked, &mined, OperationState::Done, "wait", None);
    // Another guard was faster: what was asked for is done.
    check(&fresh, &seen(EXPIRES + 20_000, 45), OperationState::Done, "wait", None);
    check(&worked, &seen(EXPIRES + 20_000, 800), OperationState::Done, "settle", None);
    // A reorganisation took back the renewal before this one.
    check(&fresh, &seen(EXPIRES - 1_000, 45), OperationState::Working, "wait", None);
    check(&fresh, &seen(EXPIRES + 1, 44), OperationState::Done, "wait", None);
    let early = renewal(None);
    let late_term = |state: NameState| NameState { expires_at: 9_000, ..state };
    let Plan::Renew(plan) = early.plan else { unreachable!("made above") };
    let early = record(Plan::Renew(RenewPlan { expires_at: 9_000, ..plan }));
    let name = entry(owner(7), 1, 5).map(late_term);
    check(&early, &Sight { name: name.clone(), ..chain(44) }, OperationState::Failed, "wait", Some("too_early"));
    check(&early, &Sight { name, ..chain(4_000) }, OperationState::Working, "anchor 3996", None);
    check(&fresh, &chain(44), OperationState::Failed, "wait", Some("name_not_found"));
    let revoked = expires(EXPIRES).map(|state| NameState { flags: 1, ..state });
    check(&fresh, &Sight { name: revoked, ..chain(44) }, OperationState::Failed, "wait", Some("wrong_status"));
}

#[test]
fn what_a_thief_released_can_be_burnt() {
    let body = Body::Revoke { name: alice(), seq: 5, mode: RevokeMode::Burn };
    let plan = ChangePlan { transaction: made(body, ANCHOR), anchor: block(ANCHOR).at, is_worked: true };
    let burn = record(Plan::Change(plan));
    let with = |flags| Sight { name: entry(owner(1), 1, 5).map(|s| NameState { flags, ..s }), ..chain(44) };
    check(&burn, &with(1), OperationState::Broadcast, "change", None);
    check(&burn, &with(1 | 8), OperationState::Failed, "wait", Some("wrong_status"));
    check(&change(true), &with(1), OperationState::Failed, "wait", Some("wrong_status"));
}

#[test]
fn an_old_signature_says_how_to_sign_again() {
    let name = entry(owner(1), 1, 5);
    let record = change(true);
    let failure = step(&rules(), &record, &Sight { name, ..chain(101) }).failure.expect("too old");
    assert_eq!(failure.fix, [format!("namectl ops resume {}", record.id)]);
    assert!(failure.message.contains("REVOKE of alice") && failure.why.contains("until block 100"), "{failure:?}");
}

#[test]
fn whoever_is_earlier_takes_the_name() {
    let fresh = registration(ANCHOR, None);
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let taken = Some("name_taken");
    let by = |commit, registered, sight| Sight { name: entry(owner(2), commit, registered), ..sight };
    // Before our commit stands: whoever holds the name, or is about to, has the older one.
    check(&fresh, &by(30, 35, chain(44)), OperationState::Failed, "wait", taken);
    check(&fresh, &by(38, 43, chain(44)), OperationState::Failed, "wait", taken);
    // With our commit in the chain: an earlier one won, or the contest is over before ours is ripe.
    check(&worked, &by(44, 47, with_commit(48, 45, false)), OperationState::Failed, "wait", taken);
    check(&worked, &by(46, 44, with_commit(46, 45, false)), OperationState::Failed, "wait", taken);
    // A later one holds it: ours still wins.
    check(&worked, &by(46, 49, with_commit(50, 45, false)), OperationState::Revealing, "reveal", None);
    // After our reveal: an earlier commit was revealed within the contest.
    let lost = Sight { reveal_place: Place::Block(48), ..by(44, 49, with_commit(50, 45, true)) };
    check(&worked, &lost, OperationState::Failed, "wait", taken);
    check(&worked, &with_commit(50, 45, true), OperationState::Failed, "wait", taken);
}

#[test]
fn a_commit_cannot_prepare_for_a_release_and_dies_unrevealed() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let released = |expires_at| entry(owner(2), 1, 1).map(|state| NameState { flags: 1, expires_at, ..state });
    let sight = Sight { name: released(46), ..with_commit(48, 45, false) };
    check(&worked, &sight, OperationState::Failed, "wait", Some("commit_before_release"));
    check(&worked, &Sight { name: released(45), ..sight }, OperationState::Revealing, "reveal", None);
    check(&worked, &with_commit(166, 45, false), OperationState::Failed, "wait", Some("commit_expired"));
    check(&worked, &with_commit(165, 45, false), OperationState::Revealing, "reveal", None);
}

#[test]
fn a_change_is_worked_for_published_and_done() {
    let mine = |sight| Sight { name: entry(owner(1), 1, 5), ..sight };
    check(&change(false), &mine(chain(44)), OperationState::Working, "work", None);
    check(&change(true), &mine(chain(44)), OperationState::Broadcast, "change", None);
    check(
        &change(true),
        &Sight { change_place: Place::Pool, ..mine(chain(44)) },
        OperationState::Broadcast,
        "wait",
        None,
    );
    let mined = |next| Sight { change_place: Place::Block(44), ..mine(chain(next)) };
    check(&change(true), &mined(45), OperationState::Done, "wait", None);
    check(&change(true), &mined(763), OperationState::Done, "wait", None);
    check(&change(true), &mined(764), OperationState::Done, "settle", None);
}

#[test]
fn a_change_fails_or_asks_as_the_chain_says() {
    let name = entry(owner(1), 1, 5);
    let seen = |state: Option<NameState>| Sight { name: state, ..chain(44) };
    let with = |f: fn(NameState) -> NameState| seen(name.clone().map(f));
    check(&change(false), &seen(None), OperationState::Failed, "wait", Some("name_not_found"));
    check(&change(false), &seen(entry(owner(2), 1, 5)), OperationState::Failed, "wait", Some("not_authorised"));
    check(&change(false), &with(|s| NameState { seq: 5, ..s }), OperationState::Failed, "wait", Some("sequence"));
    check(&change(false), &with(|s| NameState { seq: 4, ..s }), OperationState::Working, "work", None);
    let pending = with(|s| NameState { active_from: 50, ..s });
    check(&change(false), &pending, OperationState::Failed, "wait", Some("wrong_status"));
    let revoked = with(|s| NameState { flags: 1, ..s });
    check(&change(false), &revoked, OperationState::Failed, "wait", Some("wrong_status"));
    let late = Sight { next: 101, ..seen(name.clone()) };
    check(&change(true), &late, OperationState::NeedsSignature, "wait", Some("needs_signature"));
    let reorganised = Sight { signed_anchor: Some(block(41)), ..seen(name.clone()) };
    check(&change(true), &reorganised, OperationState::NeedsSignature, "wait", Some("needs_signature"));
}

#[test]
fn what_was_done_can_be_lost_to_a_reorganisation() {
    let done = |record: Record| Record { state: OperationState::Done, ..record };
    let worked = || done(registration(ANCHOR, Some(commit(ANCHOR))));
    let theirs = Sight { name: entry(owner(2), 30, 35), ..chain(60) };
    check(&worked(), &theirs, OperationState::Failed, "wait", Some("lost_to_reorg"));
    // Nobody has it: the commit goes out again.
    check(&worked(), &chain(60), OperationState::Broadcast, "commit", None);
    check(&worked(), &with_commit(60, 52, false), OperationState::Revealing, "reveal", None);
    check(&done(change(true)), &chain(60), OperationState::Failed, "wait", Some("lost_to_reorg"));
    check(
        &done(change(true)),
        &Sight { name: entry(owner(1), 1, 5), ..chain(60) },
        OperationState::Broadcast,
        "change",
        None,
    );
}

#[test]
fn a_loss_to_a_reorganisation_is_told_until_the_operation_goes_on() {
    let theirs = Sight { name: entry(owner(2), 30, 35), ..chain(60) };
    let lost = Failure::lost_to_reorg("alice", &Failure::name_taken("alice"));
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let told = Record { state: OperationState::Failed, failure: Some(lost), ..worked };
    check(&told, &theirs, OperationState::Failed, "wait", Some("lost_to_reorg"));
    check(&told, &chain(60), OperationState::Broadcast, "commit", None);
}

#[test]
fn a_failed_operation_goes_on_when_the_chain_allows_it_again() {
    let failed = |record: Record| {
        let failure = Some(Failure::name_taken("alice"));
        Record { state: OperationState::Failed, failure, ..record }
    };
    check(&failed(registration(ANCHOR, None)), &chain(44), OperationState::Working, "work", None);
    let worked = failed(registration(ANCHOR, Some(commit(ANCHOR))));
    check(&worked, &with_commit(48, 45, false), OperationState::Revealing, "reveal", None);
    let mine = Sight { name: entry(owner(1), 45, 48), reveal_place: Place::Block(48), ..with_commit(51, 45, true) };
    check(&worked, &mine, OperationState::Done, "wait", None);
    let changed = Sight { name: entry(owner(1), 1, 5), ..chain(44) };
    check(&failed(change(true)), &changed, OperationState::Broadcast, "change", None);
}

/// `sight` at the last height at which a failure is watched, and at the first at which it is settled.
fn check_burial(record: &Record, sight: &Sight, since: u32, code: &str) {
    let buried = since + rules().params.free_reorg;
    let at = |next| Sight { next, ..sight.clone() };
    check(record, &at(buried - 1), OperationState::Failed, "wait", Some(code));
    check(record, &at(buried), OperationState::Failed, "settle", Some(code));
}

#[test]
fn a_failure_is_settled_when_no_ordinary_reorganisation_reaches_its_cause() {
    let fresh = registration(ANCHOR, None);
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let updated = |height| entry(owner(2), 44, 47).map(|state| NameState { last_update: height, ..state });
    let theirs = |sight| Sight { name: updated(70), ..sight };
    // Not free before the commit: the holder's last change may be what keeps the name.
    check_burial(&fresh, &theirs(chain(90)), 70, "name_taken");
    // Taken by an earlier commit, before our reveal and after it.
    check_burial(&worked, &theirs(with_commit(90, 45, true)), 70, "name_taken");
    let overtaken =
        Sight { name: entry(owner(2), 44, 49), reveal_place: Place::Block(48), ..with_commit(90, 45, true) };
    check_burial(&worked, &overtaken, 49, "name_taken");
    // The commit expired: its entry is deleted one block later, and that changes nothing.
    let expired = with_commit(166, 45, false);
    check(&worked, &expired, OperationState::Failed, "wait", Some("commit_expired"));
    check_burial(&worked, &Sight { unsigned_place: Place::Block(45), ..chain(167) }, 165, "commit_expired");
    // Changes.
    let seen = |name: Option<NameState>| Sight { name, ..chain(90) };
    check_burial(&change(true), &seen(updated(70)), 70, "not_authorised");
    let ahead = entry(owner(1), 1, 5).map(|state| NameState { seq: 5, last_update: 66, ..state });
    check_burial(&change(true), &seen(ahead), 66, "sequence");
    check_burial(&change(true), &seen(None), ANCHOR + rules().params.anchor_window, "name_not_found");
}

/// Only where a commit lives for longer than burying takes: elsewhere it has expired before.
#[test]
fn a_name_taken_under_an_unspent_commit_counts_from_whichever_came_last() {
    let local = Network::Local.params();
    let rules = Rules::new(params_with(|params| *params = Params { free_reorg: 8, ..local.clone() }));
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    for (commit, change) in [(60, 50), (50, 60)] {
        let name = entry(owner(2), 44, 47).map(|state| NameState { last_update: change, ..state });
        let at = |next| Sight { name: name.clone(), ..with_commit(next, commit, false) };
        assert_eq!(step(&rules, &worked, &at(67)).next, Next::Wait, "commit {commit}, change {change}");
        assert_eq!(step(&rules, &worked, &at(68)).next, Next::Settle, "commit {commit}, change {change}");
    }
}

#[test]
fn a_commit_that_another_reveal_spent_may_be_deleted() {
    let worked = registration(ANCHOR, Some(commit(ANCHOR)));
    let gone = Sight { unsigned_place: Place::Block(45), name: entry(owner(1), 45, 48), ..chain(200) };
    check(&worked, &gone, OperationState::Done, "wait", None);
}

#[test]
fn records_survive_their_row() {
    let plans = [registration(ANCHOR, None), registration(ANCHOR, Some(commit(ANCHOR))), change(true), renewal(None)];
    for record in plans {
        let row = serde_json::to_string(&record).expect("written");
        assert_eq!(serde_json::from_str::<Record>(&row).expect("read"), record);
    }
    let reveal = reveal(ANCHOR);
    assert_eq!(decode::<Transaction>(&encode(&reveal)), Ok(reveal));
}
