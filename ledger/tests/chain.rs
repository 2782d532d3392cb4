//! The life of a name on a chain that is made of nothing but the ledger's functions.

use ledger::{
    params::Network,
    record::Records,
    state::Status,
    testing::{TestChain, name, owner, records, tiny_params},
    transaction::{Body, RevokeMode},
};

#[test]
fn a_name_is_registered_changed_handed_over_renewed_and_given_up() {
    let mut chain = TestChain::new(tiny_params());
    let p = chain.params();
    let alice = name("alice");
    chain.register(&alice, 1);
    let first = chain.state(&alice).cloned().expect("registered");
    assert_eq!(first.status(p, chain.height()), Status::Pending);
    assert_eq!(first.status(p, chain.height() + 1), Status::Active);

    let text = Some(records("hello"));
    chain
        .mine(vec![
            chain.transaction(Body::Update { name: alice.clone(), seq: 2, operator: Some(owner(9)), records: text }, 1),
        ])
        .unwrap();
    chain
        .mine(vec![chain.transaction(
            Body::Update { name: alice.clone(), seq: 3, operator: None, records: Some(Records::empty()) },
            9,
        )])
        .unwrap();
    chain
        .mine(vec![
            chain.transaction(Body::Transfer { name: alice.clone(), seq: 4, owner: owner(2), operator: owner(9) }, 1),
        ])
        .unwrap();
    chain.mine_empty(p.transfer_delay - 1);
    chain.mine_until(first.expires_at - p.renew_window);
    let renew = Body::Renew { name: alice.clone(), expires_at: first.expires_at };
    chain.mine(vec![chain.transaction(renew, 2)]).unwrap();
    let renewed = chain.state(&alice).cloned().expect("there");
    assert_eq!((renewed.owner, renewed.expires_at), (owner(2), first.expires_at + p.term));
    chain
        .mine(vec![chain.transaction(Body::Revoke { name: alice.clone(), seq: 6, mode: RevokeMode::Release }, 2)])
        .unwrap();
    let revoked = chain.state(&alice).cloned().expect("there");
    chain.mine_until(revoked.expires_at + p.delete_after - 1);
    assert!(chain.state(&alice).is_some());
    chain.mine_empty(1);
    assert_eq!(chain.state(&alice), None);
    assert_eq!(chain.tip().header().ext.name_count, 0);

    let whole = chain.clone();
    let mut blocks = Vec::new();
    while let Some(block) = chain.disconnect() {
        blocks.push(block);
    }
    assert!(chain.leaves().is_empty() && chain.root().is_zero());
    for block in blocks.iter().rev() {
        chain.connect(block).unwrap();
    }
    assert_eq!((chain.root(), chain.tip().hash()), (whole.root(), whole.tip().hash()));
}

#[test]
fn real_work_is_done_and_checked_on_the_local_network() {
    let mut chain = TestChain::new(Network::Local.params());
    let name = name("longer-name");
    chain.register(&name, 1);
    assert_eq!(chain.state(&name).expect("registered").status(chain.params(), chain.height() + 1), Status::Active);
}
