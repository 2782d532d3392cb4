//! Rules for changes to an entry: UPDATE, TRANSFER, CANCEL, RENEW, REVOKE (protocol §4.2, §6).

use ledger::{
    hash::PolicyHash,
    name::Name,
    record::Records,
    rules::{Violation, context},
    state::{NameState, PendingKind, Status},
    testing::{TestChain, name, owner, records, tiny_params},
    transaction::{Body, RevokeMode},
};

use crate::{Case, Outcome, case};

pub const CASES: &[Case] = &[
    case("name_missing", "never registered", || on(name("nobody"), update(2), 1), || on(alice(), update(2), 1)),
    case("name_missing", "deleted", || at(deleted, update(2), 1), || at(active, update(2), 1)),
    case("wrong_status", "pending: update", || at(pending, update(2), 1), || at(active, update(2), 1)),
    case("wrong_status", "pending: revoke", || at(pending, revoke(2), 1), || at(active, revoke(2), 1)),
    case("wrong_status", "grace: transfer", || at(grace, transfer(2), 1), || at(last_active, transfer(2), 1)),
    case("wrong_status", "revoked: update", || at(revoked, update(3), 1), || at(active, update(3), 1)),
    case("wrong_status", "burnt: burnt again", || at(revoked, revoke(3), 1), || at(given_up, revoke(3), 1)),
    case("wrong_status", "given up: given up again", || at(given_up, give_up(3), 1), || at(given_up, revoke(3), 1)),
    case("wrong_status", "free again: burnt", || at(given_up_long_ago, revoke(3), 1), || at(given_up, revoke(3), 1)),
    case("wrong_status", "released: update", || at(released, update(2), 1), || at(last_grace, update(2), 1)),
    case("wrong_status", "released: cancel", || at(released_moving, cancel(3), 1), || at(moving, cancel(3), 1)),
    case("wrong_status", "released: renew", || at(released, renew(), 1), || at(last_grace, renew(), 1)),
    case("wrong_status", "released: revoke", || at(released, revoke(2), 1), || at(last_grace, revoke(2), 1)),
    case("not_authorised", "a stranger updates", || at(active, update(2), 9), || at(active, update(2), 1)),
    case("not_authorised", "an operator transfers", || at(operated, transfer(3), 5), || at(operated, transfer(3), 1)),
    case("not_authorised", "an operator revokes", || at(operated, revoke(3), 5), || at(operated, revoke(3), 1)),
    case("not_authorised", "an operator's flags = 1", || at(operated, operator(3), 5), || at(operated, update(3), 5)),
    case("not_authorised", "an operator's flags = 3", || at(operated, both(3), 5), || at(operated, both(3), 1)),
    case(
        "not_authorised",
        "an operator cancels",
        || at(operated_moving, cancel(4), 5),
        || at(operated_moving, cancel(4), 1),
    ),
    case("not_authorised", "the next owner too early", || at(moving, update(3), 2), || at(moved, update(3), 2)),
    case("not_authorised", "the last owner too late", || at(moved, update(3), 1), || at(moving, update(3), 1)),
    case("not_authorised", "the last owner cancels late", || at(moved, cancel(3), 1), || at(moving, cancel(3), 1)),
    case(
        "not_authorised",
        "the last operator too late",
        || at(operated_moved, update(4), 5),
        || at(operated_moved, update(4), 2),
    ),
    case("sequence", "the same", || at(active, update(1), 1), || at(active, update(2), 1)),
    case("sequence", "too far", || at(active, update(1 + STEP + 1), 1), || at(active, update(1 + STEP), 1)),
    case("sequence", "an operator skips one", || at(operated, update(4), 5), || at(operated, update(3), 5)),
    case("sequence", "the greatest of all", || at(active, update(u64::MAX), 1), || at(active, update(2), 1)),
    case("takeover_pending", "transfer", || during(TAKEOVER, transfer(3)), || during(TRANSFER, transfer(3))),
    case("takeover_pending", "cancel", || during(TAKEOVER, cancel(3)), || during(TRANSFER, cancel(3))),
    case("takeover_pending", "revoke", || during(WEAK, revoke(3)), || during(WEAK, update(3))),
    case("no_pending_transfer", "none", || at(active, cancel(2), 1), || at(moving, cancel(3), 1)),
    case("no_pending_transfer", "in force already", || at(moved, cancel(3), 2), || at(moving, cancel(3), 1)),
    case("renewal_early", "by a block", || at(before_window, renew(), 1), || at(window, renew(), 1)),
    case("renewal_term", "one too many", || at(window, renew_for(1), 1), || at(window, renew(), 1)),
    case("renewal_term", "one too few", || at(window, renew_for(-1), 1), || at(window, renew(), 1)),
];

const STEP: u64 = 1 << 16;

/// A body that depends on the entry that it is for.
type Make = Box<dyn Fn(&Name, Option<&NameState>) -> Body>;

fn alice() -> Name {
    name("alice")
}

fn update(seq: u64) -> Make {
    Box::new(move |name, _| Body::Update { name: name.clone(), seq, operator: None, records: Some(records("x")) })
}

fn operator(seq: u64) -> Make {
    Box::new(move |name, _| Body::Update { name: name.clone(), seq, operator: Some(owner(6)), records: None })
}

fn both(seq: u64) -> Make {
    let records = Some(Records::empty());
    Box::new(move |name, _| Body::Update {
        name: name.clone(),
        seq,
        operator: Some(owner(6)),
        records: records.clone(),
    })
}

fn transfer(seq: u64) -> Make {
    Box::new(move |name, _| Body::Transfer { name: name.clone(), seq, owner: owner(2), operator: PolicyHash::ZERO })
}

fn cancel(seq: u64) -> Make {
    Box::new(move |name, _| Body::Cancel { name: name.clone(), seq })
}

fn revoke(seq: u64) -> Make {
    Box::new(move |name, _| Body::Revoke { name: name.clone(), seq, mode: RevokeMode::Burn })
}

fn give_up(seq: u64) -> Make {
    Box::new(move |name, _| Body::Revoke { name: name.clone(), seq, mode: RevokeMode::Release })
}

fn renew() -> Make {
    renew_for(0)
}

/// A renewal that names an expiry so far from the entry's.
fn renew_for(off: i32) -> Make {
    Box::new(move |name, state| {
        let expires_at = state.map_or(0, |state| state.expires_at).saturating_add_signed(off);
        Body::Renew { name: name.clone(), expires_at }
    })
}

const TRANSFER: PendingKind = PendingKind::Transfer;
const TAKEOVER: PendingKind = PendingKind::Takeover;
const WEAK: PendingKind = PendingKind::WeakTakeover;

/// A change by the owner while a change of owner of this kind is under way. No chain gives the others yet, so the
/// entry is made up.
fn during(kind: PendingKind, make: Make) -> Outcome {
    let chain = moving();
    let mut held = chain.state(&alice()).cloned().expect("registered");
    held.pending.as_mut().expect("under way").kind = kind;
    let body = make(&alice(), Some(&held));
    let checked = chain.check(chain.transaction(body, 1))?;
    context::change(chain.params(), chain.height() + 1, held, checked.stated()).map(drop)
}

fn on(name: Name, make: Make, signer: u64) -> Outcome {
    judge(&active(), &name, make, signer)
}

fn at(prepare: fn() -> TestChain, make: Make, signer: u64) -> Outcome {
    judge(&prepare(), &alice(), make, signer)
}

fn judge(chain: &TestChain, name: &Name, make: Make, signer: u64) -> Outcome {
    let body = make(name, chain.state(name));
    chain.judge(&[chain.transaction(body, signer)]).map(drop)
}

/// Alice's name in its contest.
fn pending() -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    chain.reveal(&alice(), 1, Records::empty());
    chain
}

/// Alice's name, active from the next block. Its sequence number is 1.
fn active() -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    chain.register(&alice(), 1);
    chain
}

fn then(mut chain: TestChain, make: Make, signer: u64) -> TestChain {
    let body = make(&alice(), chain.state(&alice()));
    chain.mine(vec![chain.transaction(body, signer)]).expect("valid");
    chain
}

/// The chain whose next block has the height that `when` says, plus so many.
fn until(mut chain: TestChain, when: fn(&NameState, &TestChain) -> u32, plus: i32) -> TestChain {
    let height = when(chain.state(&alice()).expect("registered"), &chain).saturating_add_signed(plus);
    chain.mine_until(height - 1);
    assert_eq!(chain.height(), height - 1, "not past it already");
    chain
}

fn expiry(state: &NameState, _: &TestChain) -> u32 {
    state.expires_at
}

fn release(state: &NameState, chain: &TestChain) -> u32 {
    state.release_height(chain.params())
}

fn transfer_height(state: &NameState, _: &TestChain) -> u32 {
    state.pending.expect("a transfer is under way").at
}

fn renewal(state: &NameState, chain: &TestChain) -> u32 {
    state.expires_at - chain.params().renew_window
}

fn last_active() -> TestChain {
    until(active(), expiry, -1)
}

fn grace() -> TestChain {
    until(active(), expiry, 0)
}

fn last_grace() -> TestChain {
    until(active(), release, -1)
}

fn released() -> TestChain {
    until(active(), release, 0)
}

fn deleted() -> TestChain {
    let mut chain = released();
    chain.mine_empty(chain.params().delete_after + 1);
    chain
}

fn revoked() -> TestChain {
    then(active(), revoke(2), 1)
}

/// Released by its owner, or by a thief of the key.
fn given_up() -> TestChain {
    then(active(), give_up(2), 1)
}

fn given_up_long_ago() -> TestChain {
    until(given_up(), release, 0)
}

/// A transfer to seed 2 is under way, and takes effect one block after the next. The sequence number is 2.
fn moving() -> TestChain {
    until(then(active(), transfer(2), 1), transfer_height, -1)
}

/// The same, in force in the next block.
fn moved() -> TestChain {
    until(then(active(), transfer(2), 1), transfer_height, 0)
}

/// A transfer that outlives the name's term and grace.
fn released_moving() -> TestChain {
    let long = ledger::testing::params_with(|p| p.transfer_delay = 200);
    let mut chain = TestChain::new(long);
    chain.register(&alice(), 1);
    until(then(chain, transfer(2), 1), release, 0)
}

/// Seed 5 is operator. The sequence number is 2.
fn operated() -> TestChain {
    let appoint: Make =
        Box::new(|name, _| Body::Update { name: name.clone(), seq: 2, operator: Some(owner(5)), records: None });
    then(active(), appoint, 1)
}

fn operated_moving() -> TestChain {
    then(operated(), transfer(3), 1)
}

fn operated_moved() -> TestChain {
    until(operated_moving(), transfer_height, 0)
}

fn before_window() -> TestChain {
    until(active(), renewal, -1)
}

fn window() -> TestChain {
    until(active(), renewal, 0)
}

#[test]
fn an_operator_replaces_records() {
    assert_eq!(judge(&operated(), &alice(), update(3), 5), Ok(()));
}

#[test]
fn a_renewal_changes_the_expiry_and_nothing_else() {
    let mut chain = until(then(operated(), transfer(3), 1), renewal, 0);
    let before = chain.state(&alice()).cloned().unwrap();
    assert!(before.pending.is_some_and(|pending| pending.at <= chain.height() + 1));
    let body = renew()(&alice(), Some(&before));
    chain.mine(vec![chain.transaction(body.clone(), 1)]).unwrap();
    let (height, params) = (chain.height(), chain.params());
    let expected =
        NameState { expires_at: before.expires_at + params.term, last_update: height, ..before.matured(height) };
    assert_eq!(chain.state(&alice()), Some(&expected), "after the transfer that had matured");
    assert!(matches!(chain.judge(&[chain.transaction(body, 1)]), Err(Violation::RenewalEarly { .. })), "not twice");
}

#[test]
fn what_a_thief_released_can_be_burnt_and_then_nothing_more() {
    let mut chain = given_up();
    let released = chain.state(&alice()).cloned().unwrap();
    assert_eq!((released.flags, released.is_burnt()), (1, false));
    chain.mine(vec![chain.transaction(revoke(3)(&alice(), None), 1)]).unwrap();
    let (burnt, params) = (chain.state(&alice()).cloned().unwrap(), chain.params());
    assert_eq!((burnt.flags, burnt.seq), (1 | 8, 3));
    assert_eq!(burnt.expires_at, (released.expires_at + params.grace).max(chain.height() + params.burn_lock));
    assert!(burnt.is_revoked() && burnt.is_burnt());
    for again in [revoke(4), give_up(4)] {
        assert!(matches!(judge(&chain, &alice(), again, 1), Err(Violation::WrongStatus { .. })));
    }
}

#[test]
fn nobody_is_not_an_operator() {
    // The operator of a fresh entry is zero; no witness can have that hash, and none is taken for it.
    let chain = active();
    let state = chain.state(&alice()).expect("registered");
    assert!(state.operator.is_zero());
    let removed = then(
        operated(),
        Box::new(|name, _| Body::Update {
            name: name.clone(),
            seq: 3,
            operator: Some(PolicyHash::ZERO),
            records: None,
        }),
        1,
    );
    assert!(judge(&removed, &alice(), update(4), 5).is_err());
}

#[test]
fn a_transfer_outlives_expiry_into_grace() {
    let mut chain = last_active();
    let body = transfer(2)(&alice(), None);
    chain.mine(vec![chain.transaction(body, 1)]).unwrap();
    let chain = until(chain, transfer_height, 0);
    let state = chain.state(&alice()).unwrap();
    assert_eq!(state.status(chain.params(), chain.height() + 1), Status::Grace);
    assert_eq!(judge(&chain, &alice(), update(3), 2), Ok(()));
    assert!(judge(&chain, &alice(), update(3), 1).is_err());
}

#[test]
fn a_second_transfer_replaces_the_first() {
    let mut chain = moving();
    let body = Body::Transfer { name: alice(), seq: 3, owner: owner(7), operator: owner(8) };
    chain.mine(vec![chain.transaction(body, 1)]).unwrap();
    let pending = chain.state(&alice()).unwrap().pending.unwrap();
    assert_eq!((pending.owner, pending.operator), (owner(7), owner(8)));
    assert_eq!(pending.at, chain.height() + chain.params().transfer_delay);
}

#[test]
fn burning_and_releasing_end_a_transfer_and_set_the_height_of_freedom() {
    let p = tiny_params();
    for (mode, flags, free) in [
        (RevokeMode::Release, 1, (|h, _| h + tiny_params().release_delay) as fn(u32, u32) -> u32),
        (RevokeMode::Burn, 1 | 8, |h, expires_at| (expires_at + tiny_params().grace).max(h + tiny_params().burn_lock)),
    ] {
        let mut chain = then(then(operated(), update(3), 1), transfer(4), 1);
        let before = chain.state(&alice()).cloned().unwrap();
        assert!(before.pending.is_some() && !before.operator.is_zero() && !before.records.is_empty());
        chain.mine(vec![chain.transaction(Body::Revoke { name: alice(), seq: 5, mode }, 1)]).unwrap();
        let state = chain.state(&alice()).cloned().unwrap();
        assert_eq!((state.pending, state.operator, state.records.is_empty()), (None, PolicyHash::ZERO, true));
        assert_eq!((state.flags, state.seq, state.last_update), (flags, 5, chain.height()));
        assert_eq!(state.expires_at, free(chain.height(), before.expires_at));
        assert_eq!(state.status(p, state.expires_at - 1), Status::Revoked);
        assert_eq!(state.status(p, state.expires_at), Status::Released);
    }
}

#[test]
fn a_late_burn_locks_for_the_whole_lock() {
    let chain = then(last_grace(), revoke(2), 1);
    let state = chain.state(&alice()).unwrap();
    assert_eq!(state.expires_at, chain.height() + chain.params().burn_lock);
}
