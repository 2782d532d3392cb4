//! Random histories: what the numbers of a step mean, and how both sides are compared.

use std::collections::BTreeMap;

use ledger::{
    codec::encode,
    hash::PolicyHash,
    name::Name,
    params::Params,
    record::Records,
    testing::{TestChain, key, name, owner, policy, records, tiny_params},
    transaction::{Body, RevokeMode, Transaction},
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::reference::{self, Bytes32, Entry, Meaning, Reference, next_price, root};

/// One step; the numbers are interpreted by [`run`].
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Puts a transaction up for the next block.
    Offer { kind: u8, name: u8, who: u8, number: u8, anchor: u8 },
    /// Mines everything on offer that the reference accepts.
    Mine,
    /// Mines empty blocks up to just before, at, or just after a height that matters for a name.
    Pass { name: u8, event: u8, off: u8 },
    /// Takes blocks back and puts them on again.
    Rewind { blocks: u8, again: u8 },
}

pub fn any_history(longest: usize) -> impl Strategy<Value = Vec<Step>> {
    let offer = (0u8..12, 0u8..3, any::<u8>(), any::<u8>(), any::<u8>())
        .prop_map(|(kind, name, who, number, anchor)| Step::Offer { kind, name, who, number, anchor });
    let pass = (0u8..3, any::<u8>(), 0u8..3).prop_map(|(name, event, off)| Step::Pass { name, event, off });
    let rewind = (1u8..8, any::<u8>()).prop_map(|(blocks, again)| Step::Rewind { blocks, again });
    let step = prop_oneof![16 => offer, 12 => Just(Step::Mine), 3 => pass, 1 => rewind];
    proptest::collection::vec(step, 1..longest)
}

/// How often something was met.
type Met = BTreeMap<&'static str, u32>;

struct World<'a> {
    chain: TestChain,
    /// The reference before each block, and now.
    past: Vec<Reference>,
    now: Reference,
    offered: Vec<Transaction>,
    met: &'a mut Met,
}

pub fn run(history: &[Step], met: &mut Met) -> Result<(), TestCaseError> {
    let params = tiny_params();
    constants_are_the_same(params);
    let chain = TestChain::new(params);
    let now = Reference { chain_id: chain.chain_id().0, hashes: vec![chain.tip().hash().0], ..Reference::default() };
    let mut world = World { chain, past: Vec::new(), now, offered: Vec::new(), met };
    for step in history {
        match *step {
            Step::Offer { kind, name, who, number, anchor } => world.offer(kind, name, who, number, anchor)?,
            Step::Mine => world.mine()?,
            Step::Pass { name, event, off } => world.pass(name, event, off)?,
            Step::Rewind { blocks, again } => world.rewind(blocks, again)?,
        }
    }
    Ok(())
}

fn constants_are_the_same(p: &Params) {
    use reference::*;
    assert_eq!(
        [p.maturity, p.contest, p.commit_ttl, p.term, p.renew_window, p.grace],
        [MATURITY, CONTEST, COMMIT_TTL, TERM, RENEW_WINDOW, GRACE]
    );
    assert_eq!(
        [p.transfer_delay, p.release_delay, p.burn_lock, p.delete_after, p.anchor_window],
        [TRANSFER_DELAY, RELEASE_DELAY, BURN_LOCK, DELETE_AFTER, ANCHOR_WINDOW]
    );
}

fn names() -> [Name; 3] {
    ["alice-in-chains", "bob", "xn--carol"].map(name)
}

/// Seeds of the actors; each may own, operate, or do neither.
const ACTORS: u64 = 3;

fn meaning(tx: &Transaction) -> Meaning<'_> {
    let signer = tx.witness().map_or([0; 32], |witness| witness.signer().0);
    Meaning { body: tx.body(), signer, anchor_height: tx.anchor().height }
}

fn seed_of(hash: Bytes32) -> Option<u64> {
    (1..=ACTORS).find(|seed| owner(*seed).0 == hash)
}

impl World<'_> {
    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Both judge a new transaction as the only one of the next block, then it is kept for the next block.
    fn offer(&mut self, kind: u8, name: u8, who: u8, number: u8, anchor: u8) -> Result<(), TestCaseError> {
        let name = &names()[usize::from(name)];
        let h = self.now.next_height();
        let state = self.now.names.get(name.as_str()).map(|entry| entry.folded(h));
        let kind = if anchor >= 48 { self.sensible(kind, name) } else { kind };
        let back = u32::from(anchor % 16);
        let below = if back <= 11 { 0 } else { (back - 2).min(self.chain.height()) };
        let maker = self.chain.maker_at(self.chain.height() - below);
        let somebody = 1 + u64::from(who) % ACTORS;
        let signer = signer(state.as_ref(), who);
        let tx = match kind {
            0 | 1 => maker.commit(name, somebody),
            4 => maker.reveal(name, somebody, Records::empty()),
            2 | 3 => maker.reveal(name, self.committer(name, somebody), records(&format!("{number}"))),
            _ => maker.make_with(body(kind, name, state.as_ref(), somebody, number), policy(signer), &[&key(signer)]),
        };
        self.compare_alone(&tx)?;
        self.offered.push(tx);
        Ok(())
    }

    /// What somebody who knows the rules might do with this name next, so that histories get somewhere.
    fn sensible(&self, kind: u8, name: &Name) -> u8 {
        let h = self.now.next_height();
        let committed = self.has_commit(name, self.committer(name, 1));
        match self.now.names.get(name.as_str()) {
            _ if kind == 0 => 0,
            Some(entry) if entry.revoked && !entry.burnt && !entry.is_released(h) => 11,
            Some(entry) if !entry.is_pending(h) && !entry.is_released(h) => match kind {
                7..=9 if entry.moving.is_some() => 8,
                8 => 7,
                0..=4 => 5,
                change => change,
            },
            _ if kind == 4 => 4,
            _ if committed => 2,
            _ => 0,
        }
    }

    fn has_commit(&self, name: &Name, seed: u64) -> bool {
        let Body::Commit { class, commit_hash } = self.chain.maker().commit_body(name, seed) else { return false };
        self.now.commits.get(&(class, commit_hash.0)).is_some_and(|paid| !paid.spent)
    }

    /// Whoever has a living commit to this name and class, the given actor first.
    fn committer(&self, name: &Name, first: u64) -> u64 {
        let order = (0..ACTORS).map(|n| 1 + (first - 1 + n) % ACTORS);
        order.into_iter().find(|seed| self.has_commit(name, *seed)).unwrap_or(first)
    }

    fn compare_alone(&mut self, tx: &Transaction) -> Result<(), TestCaseError> {
        let mut copy = self.now.clone();
        let mut writes = copy.begin();
        let expected = copy.apply(&mut writes, &meaning(tx));
        let got = self.chain.judge(std::slice::from_ref(tx));
        let h = self.now.next_height();
        prop_assert_eq!(
            expected.is_ok(),
            got.is_ok(),
            "at {}: {:?} and {:?}: {:?}",
            h,
            expected,
            got.as_ref().err(),
            tx.body()
        );
        if let Err(violation) = got {
            self.meet(violation.code());
        }
        Ok(())
    }

    /// Mines what is on offer: those that the reference accepts one after the other, and then, as a whole, all.
    fn mine(&mut self) -> Result<(), TestCaseError> {
        let mut offered = std::mem::take(&mut self.offered);
        offered.sort_by_key(Transaction::txid);
        offered.dedup_by_key(|tx| tx.txid());
        let (due_names, due_commits) = self.now.due();
        let mut next = self.now.clone();
        let mut writes = next.begin();
        let mut accepted = Vec::new();
        let mut everything_fits = true;
        for tx in &offered {
            let (mut trial, before) = (next.clone(), next.clone());
            match trial.apply(&mut writes, &meaning(tx)) {
                Ok(()) => {
                    self.tell(tx, &before);
                    next = trial;
                    accepted.push(tx.clone());
                }
                // What one transaction touched and then refused stays touched: begin again without it.
                Err(_) => {
                    everything_fits = false;
                    (next, writes) = again(&self.now, &accepted);
                }
            }
        }
        prop_assert_eq!(self.chain.judge(&offered).is_ok(), everything_fits);
        let (count, weight) = (accepted.len(), accepted.iter().map(|tx| tx.byte_len() as u64).sum::<u64>());
        let commits = accepted.iter().filter(|tx| matches!(tx.body(), Body::Commit { .. })).count() as u64;
        let block = self.chain.build(accepted);
        prop_assert!(block.is_ok(), "{:?}", block);
        let Ok(block) = block else { return Ok(()) };
        let connected = self.chain.connect(&block);
        prop_assert!(connected.is_ok(), "{:?}", connected);
        next.hashes.push(block.hash().0);
        self.past.push(std::mem::replace(&mut self.now, next));
        if count > 1 {
            self.meet("whole block");
        }
        (0..due_names).for_each(|_| self.meet("deleted name"));
        (0..due_commits).for_each(|_| self.meet("deleted commit"));
        self.compare_states()?;
        self.compare_next_prices(weight, commits)
    }

    /// Counts what an accepted transaction was an example of.
    fn tell(&mut self, tx: &Transaction, before: &Reference) {
        self.meet(tx.body().type_name());
        let h = before.next_height();
        let Some(old) = tx.body().name().and_then(|name| before.names.get(name.as_str())) else { return };
        if matches!(tx.body(), Body::Reveal { .. }) {
            self.meet(if old.is_pending(h) { "won contest" } else { "took released name" });
            return;
        }
        let folded = old.folded(h);
        if folded.owner != old.owner {
            self.meet("matured transfer");
        }
        if tx.witness().is_some() && meaning(tx).signer != folded.owner {
            self.meet("operator signed");
        }
        if old.revoked {
            self.meet("burnt after a release");
        }
    }

    fn compare_states(&self) -> Result<(), TestCaseError> {
        let ours: BTreeMap<Bytes32, Vec<u8>> =
            self.chain.leaves().iter().map(|(key, leaf)| (key.0, encode(leaf))).collect();
        let theirs = self.now.leaves();
        prop_assert_eq!(&ours, &theirs);
        let theirs: Vec<_> = theirs.into_iter().collect();
        let tip = self.chain.tip().header();
        prop_assert_eq!(tip.ext.state_root, root(&theirs, 0));
        prop_assert_eq!(self.chain.root(), tip.ext.state_root);
        prop_assert_eq!(tip.ext.name_count, self.now.names.len() as u64);
        Ok(())
    }

    fn compare_next_prices(&self, weight: u64, commits: u64) -> Result<(), TestCaseError> {
        let header = *self.chain.tip().header();
        let tip = header.ext;
        prop_assert_eq!((u64::from(tip.weight), u64::from(tip.commit_count)), (weight, commits));
        let next = ledger::price::prices_after(self.chain.params(), &header);
        prop_assert_eq!(next.bytes, next_price(tip.price_bytes, weight, 32_768, 1 << 12));
        prop_assert_eq!(next.commit, next_price(tip.price_commit, commits, 4, 1 << 14));
        Ok(())
    }

    fn pass(&mut self, name: u8, event: u8, off: u8) -> Result<(), TestCaseError> {
        let h = self.now.next_height();
        let target = match self.now.names.get(names()[usize::from(name)].as_str()) {
            None => h + u32::from(event % 4),
            Some(e) => {
                let moving = e.moving.map_or(h, |(_, _, at)| at);
                let renewal = e.expires_at.saturating_sub(reference::RENEW_WINDOW);
                let heights =
                    [e.active_from, renewal, renewal, e.expires_at, e.release(), e.deletion(), moving, moving];
                heights[usize::from(event) % heights.len()]
            }
        };
        // The transactions on offer stay; those whose anchor gets too old are refused by both.
        let offered = std::mem::take(&mut self.offered);
        while self.now.next_height() + 1 < target + u32::from(off) {
            self.mine()?;
        }
        self.offered = offered;
        Ok(())
    }

    /// Takes blocks back, compares, and puts some of them on again.
    fn rewind(&mut self, blocks: u8, again: u8) -> Result<(), TestCaseError> {
        let mut taken = Vec::new();
        for _ in 0..blocks {
            let Some(block) = self.chain.disconnect() else { break };
            self.now = self.past.pop().ok_or_else(|| TestCaseError::fail("one past for each block"))?;
            taken.push((block, self.now.clone()));
            self.compare_states()?;
            self.meet("disconnect");
        }
        // Transactions on offer may be anchored in what was taken back: they belong to another fork now.
        self.offered.clear();
        let keep = if again < 200 { taken.len() } else { usize::from(again) % (taken.len() + 1) };
        for (block, _) in taken.iter().rev().take(keep) {
            let mut next = self.now.clone();
            let mut writes = next.begin();
            for tx in &block.transactions {
                next.apply(&mut writes, &meaning(tx)).map_err(TestCaseError::fail)?;
            }
            prop_assert!(self.chain.connect(block).is_ok());
            next.hashes.push(block.hash().0);
            self.past.push(std::mem::replace(&mut self.now, next));
            self.compare_states()?;
        }
        Ok(())
    }
}

/// The reference after these transactions of the next block.
fn again(now: &Reference, accepted: &[Transaction]) -> (Reference, reference::Writes) {
    let mut next = now.clone();
    let mut writes = next.begin();
    for tx in accepted {
        next.apply(&mut writes, &meaning(tx)).expect("it was accepted before");
    }
    (next, writes)
}

/// Mostly somebody with a say: the owner, the operator, the next owner.
fn signer(state: Option<&Entry>, who: u8) -> u64 {
    let anybody = 1 + u64::from(who) % ACTORS;
    let Some(entry) = state else { return anybody };
    let hash = match who % 8 {
        0..=3 => entry.owner,
        4 | 5 => entry.operator,
        6 => entry.moving.map_or(entry.owner, |(owner, ..)| owner),
        _ => return anybody,
    };
    seed_of(hash).unwrap_or(anybody)
}

fn body(kind: u8, name: &Name, state: Option<&Entry>, other: u64, number: u8) -> Body {
    let current = state.map_or(0, |entry| entry.seq);
    let seq = match number % 16 {
        0 => current,
        1 => current + 2,
        2 => current + (1 << 16),
        3 => current + (1 << 16) + 1,
        _ => current + 1,
    };
    let name = name.clone();
    let operator = if number & 48 == 0 { PolicyHash::ZERO } else { owner(1 + (other + 1) % ACTORS) };
    match kind {
        5 | 6 => {
            let text = Some(if number & 32 == 0 { Records::empty() } else { records(&format!("{number}")) });
            match number >> 6 {
                0 => Body::Update { name, seq, operator: Some(operator), records: None },
                1 => Body::Update { name, seq, operator: Some(operator), records: text },
                _ => Body::Update { name, seq, operator: None, records: text },
            }
        }
        7 => Body::Transfer { name, seq, owner: owner(other), operator },
        8 => Body::Cancel { name, seq },
        9 | 10 => {
            let off = u32::from(number >> 6 == 3);
            Body::Renew { name, expires_at: state.map_or(0, |entry| entry.expires_at) + off }
        }
        _ => {
            let mode = if number & 32 == 0 { RevokeMode::Burn } else { RevokeMode::Release };
            Body::Revoke { name, seq, mode }
        }
    }
}
