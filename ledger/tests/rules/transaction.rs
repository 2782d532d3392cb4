//! Rules for a transaction alone, and for its anchor (protocol §4.1, §4.2).

use ledger::{
    hash::{BlockHash, CommitHash, Hash, PolicyHash},
    key::{Policy, Witness},
    name::Name,
    price::{Prices, required_work},
    record::Records,
    rules::apply::apply,
    rules::context::Ancestors,
    rules::{Violation, context::anchor_is_in_window},
    state::delta::Loaded,
    testing::{Maker, TestChain, build::nonce_just_missing, key, name, owner, params_with, policy, tiny_params},
    transaction::{Anchor, Body, RevokeMode, Share, Transaction},
};

use crate::{Case, Outcome, case};

pub const CASES: &[Case] = &[
    case("type_not_active", "a CLAIM", || alone(claim()), || alone(transfer(1))),
    case("type_not_active", "a ROLL", || alone(Body::Roll { proof: vec![] }), || alone(transfer(1))),
    case("reveal_anchor", "an ordinary one", || reveal_anchored(1, true), || reveal_anchored(0, true)),
    case("reveal_anchor", "the tip", || reveal_anchored(2, true), || reveal_anchored(0, true)),
    case("reveal_anchor", "the block's own height", || reveal_stating(3), || reveal_anchored(0, true)),
    case("reveal_anchor", "from the future", || reveal_stating(u32::MAX), || reveal_anchored(0, true)),
    case("reveal_anchor", "height 0 with another tag", || reveal_anchored(0, false), || reveal_anchored(0, true)),
    case("class", "3", || alone(commit(3)), || alone(commit(2))),
    case("class", "beyond the dearest", || alone(commit(11)), || alone(commit(10))),
    case("class", "of a REVEAL", || alone(reveal(5, "longer-name", 1)), || alone(reveal(4, "longer-name", 1))),
    case("name_reserved", "www", || alone(reveal(10, "www", 1)), || alone(reveal(10, "wwww", 1))),
    case("name_locked", "a locked name", || alone(reveal(10, "locked", 1)), || alone(reveal(10, "lockedd", 1))),
    case("renew_needs_claim", "a locked name", || alone(renew_of("locked")), || alone(renew_of("lockedd"))),
    case("class_too_low", "seven letters", || alone(reveal(0, "sevenal", 1)), || alone(reveal(1, "sevenal", 1))),
    case("class_too_low", "one letter", || alone(reveal(8, "x", 1)), || alone(reveal(10, "x", 1))),
    case("class_too_low", "xn--", || alone(reveal(1, "xn--bcher-kva", 1)), || alone(reveal(2, "xn--bcher-kva", 1))),
    case("owner_zero", "of a REVEAL", || alone(reveal_to(PolicyHash::ZERO)), || alone(reveal_to(owner(1)))),
    case("owner_zero", "of a TRANSFER", || alone(transfer_to(PolicyHash::ZERO)), || alone(transfer(1))),
    case("share_version", "a cheaper algorithm", || shared(|s| s.version = 1), || shared(|_| {})),
    case("share_work", "a commit's", || worked(commit(0), 1), || worked(commit(0), 0)),
    case("share_work", "a dear commit's", || worked(commit(10), 1), || worked(commit(10), 0)),
    case("share_work", "an update's", || worked(update(300), 1), || worked(update(300), 0)),
    case("share_work", "a transfer's", || worked(transfer(1), 1), || worked(transfer(1), 0)),
    case("share_work", "a cancel's", || worked(cancel(), 1), || worked(cancel(), 0)),
    case("share_work", "a renewal's", || worked(renew(), 1), || worked(renew(), 0)),
    case("share_work", "a revocation's", || worked(revoke(), 1), || worked(revoke(), 0)),
    case("reveal_signer", "another policy", || signed(reveal(4, "name", 1), 2), || signed(reveal(4, "name", 1), 1)),
    case("signature", "over another anchor", || elsewhere(1), || elsewhere(0)),
    case("signature", "one of two", || two_of_two(false), || two_of_two(true)),
    case("signature", "over another body", || crossed(cancel(), revoke()), || crossed(cancel(), cancel())),
    case("anchor_window", "too old", || anchored(14, 1), || anchored(14, 2)),
    case("anchor_window", "its own height", || window(14, 14), || window(14, 13)),
    case("anchor_window", "from the future", || window(14, u32::MAX), || window(14, 13)),
    case("anchor_tag", "of another fork, alone", || forked(|a, b| a.judge(&[b]).map(drop)), || anchored(14, 13)),
    case("anchor_tag", "of another fork, checked there", checked_elsewhere, || anchored(14, 13)),
    case("ancestor_unknown", "the anchor", || known(|_| None), || known(Some)),
];

fn chain() -> TestChain {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(2);
    chain
}

fn alone(body: Body) -> Outcome {
    signed(body, 1)
}

fn signed(body: Body, signer: u64) -> Outcome {
    let chain = chain();
    chain.check(chain.maker().make(body, signer)).map(drop)
}

fn commit(class: u8) -> Body {
    Body::Commit { class, commit_hash: CommitHash([7; 32]) }
}

fn reveal(class: u8, text: &str, seed: u64) -> Body {
    let (name, operator, records) = (name(text), PolicyHash::ZERO, Records::empty());
    Body::Reveal { class, name, salt: [0; 16], owner: owner(seed), operator, records }
}

fn reveal_to(owner: PolicyHash) -> Body {
    let (name, operator, records) = (name("longer-name"), PolicyHash::ZERO, Records::empty());
    Body::Reveal { class: 0, name, salt: [0; 16], owner, operator, records }
}

fn transfer(seed: u64) -> Body {
    transfer_to(owner(seed))
}

fn transfer_to(owner: PolicyHash) -> Body {
    Body::Transfer { name: name("n"), seq: 2, owner, operator: PolicyHash::ZERO }
}

fn update(text: usize) -> Body {
    let record = ledger::record::Record { sub: vec![], rtype: 16, ttl: 60, rdata: vec![0; text] };
    let records = Records::new(vec![record]).expect("fits");
    Body::Update { name: name("n"), seq: 2, operator: None, records: Some(records) }
}

fn cancel() -> Body {
    Body::Cancel { name: name("n"), seq: 2 }
}

fn renew() -> Body {
    renew_of("n")
}

fn renew_of(text: &str) -> Body {
    Body::Renew { name: name(text), expires_at: 100 }
}

fn revoke() -> Body {
    Body::Revoke { name: name("n"), seq: 2, mode: RevokeMode::Burn }
}

fn claim() -> Body {
    let (name, target, records) = (name("locked"), "locked.example".to_owned(), Records::empty());
    Body::Claim { name, target, owner: owner(1), operator: PolicyHash::ZERO, records, proof: vec![] }
}

/// A REVEAL that names this block as its anchor, and is judged under it.
fn reveal_anchored(height: u32, right_tag: bool) -> Outcome {
    let (chain, body) = (chain(), reveal(4, "name", 1));
    let right = chain.context_at(height).expect("built").hash();
    let hash = if right_tag { right } else { chain.tip().hash() };
    let digest = ledger::key::sighash(&chain.chain_id(), &hash, &ledger::transaction::txid(height, &body));
    let witness = Witness::sign(policy(1), &[&key(1)], &digest).expect("one key");
    let tx = Transaction::new(Anchor::to_block(height, &hash), body, None, Some(witness)).expect("complete");
    chain.check(tx).map(drop)
}

/// A REVEAL that states an anchor above the tip, where there is no block to look up.
fn reveal_stating(height: u32) -> Outcome {
    let (chain, body) = (chain(), reveal(4, "name", 1));
    let witness = Witness::sign(policy(1), &[&key(1)], &Hash::ZERO).expect("one key");
    let tx = Transaction::new(Anchor { height, tag: [7; 8] }, body, None, Some(witness)).expect("complete");
    chain.check(tx).map(drop)
}

fn shared(change: fn(&mut Share)) -> Outcome {
    let chain = chain();
    let mut share = chain.maker().work(&commit(0), 1);
    change(&mut share);
    chain.check(chain.maker().assemble(commit(0), Some(share), None)).map(drop)
}

/// A share whose value is the largest that meets the price, plus so many steps of the simulated value.
fn worked(body: Body, steps_above: u64) -> Outcome {
    let (chain, maker) = (chain(), chain().maker());
    let needed = required_work(maker.params, &body, maker.anchor.prices).expect("not a REVEAL");
    let mut share = maker.work(&body, needed);
    share.nonce = nonce_just_missing(needed) - 1 + steps_above;
    let witness = body.needs_signature().then(|| maker.sign(&body, policy(1), &[&key(1)]));
    chain.check(maker.assemble(body, Some(share), witness)).map(drop)
}

/// A cancellation whose signature covers the anchor so many blocks below the one it names.
fn elsewhere(below: u32) -> Outcome {
    let (chain, body) = (chain(), cancel());
    let other = Maker { height: chain.height(), ..chain.maker_at(chain.height() - below) };
    let witness = other.sign(&body, policy(1), &[&key(1)]);
    chain.check(chain.maker().assemble(body.clone(), Some(chain.maker().work(&body, 1)), Some(witness))).map(drop)
}

/// A body with the signature over another one.
fn crossed(body: Body, signed: Body) -> Outcome {
    let (chain, maker) = (chain(), chain().maker());
    let witness = maker.sign(&signed, policy(1), &[&key(1)]);
    chain.check(maker.assemble(body.clone(), Some(maker.work(&body, 1)), Some(witness))).map(drop)
}

fn two_of_two(second_signs: bool) -> Outcome {
    let (chain, maker, body) = (chain(), chain().maker(), cancel());
    let (one, two) = (key(1), key(2));
    let both = Policy::new(2, vec![one.public(), two.public()]).expect("two keys");
    let right = maker.sign(&body, both.clone(), &[&one, &two]);
    let wrong = Witness::sign(both, &[&one, &two], &Hash::ZERO).expect("two keys");
    let witness = if second_signs { right } else { wrong };
    chain.check(maker.assemble(body.clone(), Some(maker.work(&body, 1)), Some(witness))).map(drop)
}

/// A commit in the block at `height`, anchored at `anchor`.
fn anchored(height: u32, anchor: u32) -> Outcome {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_until(height - 1);
    chain.judge(&[chain.maker_at(anchor).make(commit(0), 1)]).map(drop)
}

fn window(height: u32, anchor: u32) -> Outcome {
    anchor_is_in_window(tiny_params(), height, anchor)
}

/// A chain, and a commit anchored at the tip of its sister.
fn forked(judge: fn(&TestChain, Transaction) -> Outcome) -> Outcome {
    let (here, there) = sisters();
    judge(&here, there.maker().make(commit(0), 1))
}

fn sisters() -> (TestChain, TestChain) {
    let (mut here, mut there) = (chain(), chain());
    here.mine_empty(1);
    let block = there.build_at(there.tip().header().core.time + 3, vec![]).expect("empty");
    there.connect(&block).expect("valid");
    (here, there)
}

fn checked_elsewhere() -> Outcome {
    let (here, there) = sisters();
    let checked = there.check(there.maker().make(commit(0), 1))?;
    here.apply(&[checked]).map(drop)
}

/// Ancestors of which only some heights are at hand.
struct Partly<'a>(&'a TestChain, fn(u32) -> Option<u32>);

impl Ancestors for Partly<'_> {
    fn hash_at(&self, height: u32) -> Option<BlockHash> {
        (self.1)(height).and_then(|height| self.0.hash_at(height))
    }

    fn prices_at(&self, height: u32) -> Option<Prices> {
        (self.1)(height).and_then(|height| self.0.prices_at(height))
    }
}

fn known(heights: fn(u32) -> Option<u32>) -> Outcome {
    let chain = chain();
    let checked = chain.check(chain.maker().make(commit(0), 1))?;
    let key = ledger::state::commit_key(0, &CommitHash([7; 32]));
    let loaded = Loaded { leaves: [(key, None)].into(), due: vec![] };
    let (height, ancestors) = (chain.height() + 1, Partly(&chain, heights));
    apply(chain.params(), &chain.chain_id(), &ancestors, height, 0, &[checked], &loaded).map(drop)
}

#[test]
fn prices_by_type_follow_the_table() {
    // The two units differ, so that none is taken for the other.
    let p = params_with(|p| (p.p_commit, p.p_op) = (1 << 20, 1 << 12));
    let long = name(&"l".repeat(8));
    let at = |bytes, commit| Prices { bytes, commit };
    let price = |body: &Body, prices| required_work(p, body, prices);
    let base = at(256, 256);
    for (class, factor) in [(0, 1), (1, 2), (2, 4), (4, 16), (6, 64), (8, 256), (10, 1024)] {
        assert_eq!(price(&commit(class), base), Some(p.p_commit * factor));
        assert_eq!(price(&commit(class), at(256, 512)), Some(2 * p.p_commit * factor));
    }
    assert_eq!(price(&reveal(0, "longer-name", 1), base), None);
    // An update's body of up to 256 bytes costs one unit, then two.
    let body_bytes = |n| update(n).to_bytes().len();
    let room = 256 - body_bytes(0);
    assert_eq!((body_bytes(room), price(&update(room), base)), (256, Some(p.p_op / 256)));
    assert_eq!((body_bytes(room + 1), price(&update(room + 1), base)), (257, Some(p.p_op / 128)));
    assert_eq!(price(&update(room), at(257, 256)), Some(p.p_op / 256 + 1), "rounded up");
    assert_eq!(price(&transfer(1), at(512, 256)), Some(p.p_op / 64));
    assert_eq!(price(&cancel(), at(4096, 16_384)), Some(p.p_op / 1024));
    assert_eq!(price(&revoke(), at(4096, 16_384)), Some(p.p_op / 1024));
    let renewal = |name: Name| Body::Renew { name, expires_at: 9 };
    assert_eq!(price(&renewal(long.clone()), at(4096, 16_384)), Some(4 * p.p_commit), "capped at four times");
    assert_eq!(price(&renewal(long), at(256, 300)), Some((p.p_commit * 300).div_ceil(256)));
    assert_eq!(price(&renewal(name("abc")), base), Some(64 * p.p_commit));
    assert_eq!(price(&claim(), base), Some(p.p_op / 16));
    assert_eq!(price(&Body::Roll { proof: vec![] }, at(512, 256)), Some(p.p_op / 8));
}

#[test]
fn an_anchor_prices_by_its_own_block() {
    let mut chain = TestChain::new(tiny_params());
    let commits = |chain: &TestChain, from: u8| {
        let body = |n| Body::Commit { class: 0, commit_hash: CommitHash([n; 32]) };
        (from..from + 8).map(|n| chain.maker().make(body(n), 1)).collect::<Vec<_>>()
    };
    chain.mine(commits(&chain, 0)).unwrap();
    chain.mine_empty(1);
    let [cheap, dear] = [1, 2].map(|height| chain.maker_at(height).anchor.prices.commit);
    assert_eq!((cheap, dear), (256, 260), "twice the target raises by 1/64");
    let needed = |commit| required_work(chain.params(), &self::commit(0), Prices { bytes: 256, commit }).unwrap();
    let maker = chain.maker_at(2);
    let mut share = maker.work(&commit(0), 1);
    share.nonce = nonce_just_missing(needed(cheap)) - 1;
    let tx = maker.assemble(commit(0), Some(share), None);
    assert_eq!(chain.check(tx), Err(Violation::ShareWork { needed: needed(dear) }));
}
