//! Keys from seeds, small parameters, and complete transactions.

use std::{cell::RefCell, collections::BTreeMap, sync::LazyLock};

use crate::{
    block::HeaderCore,
    hash::{BlockHash, Hash, PolicyHash},
    key::{Policy, SecretKey, Witness, sighash},
    name::Name,
    params::{Network, Params},
    pow::{Scratch, meets, pow_value, work_of_target},
    price::{Prices, required_work},
    record::{Record, Records},
    rules::transaction::AnchorBlock,
    transaction::{Anchor, Body, Share, Transaction, commit_hash, share_commit, txid},
};

/// The secret key of a seed. Every seed has one.
pub fn key(seed: u64) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    SecretKey::from_bytes(&bytes).expect("the group order begins with twelve ff bytes, this with at most eight")
}

/// The one-key policy of a seed. Remembered, because the public key of a secret is the slowest thing here.
pub fn policy(seed: u64) -> Policy {
    thread_local!(static KNOWN: RefCell<BTreeMap<u64, Policy>> = RefCell::default());
    let make = || Policy::single(key(seed).public());
    KNOWN.with_borrow_mut(|known| known.entry(seed).or_insert_with(make).clone())
}

/// The hash of the one-key policy of a seed: what stands in state as owner or operator.
pub fn owner(seed: u64) -> PolicyHash {
    policy(seed).hash()
}

/// A name that is known to be well spelled.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("the test wrote a valid name")
}

/// A TXT record at the apex with one short text.
pub fn txt(text: &str) -> Record {
    let len = u8::try_from(text.len()).expect("one character string");
    Record { sub: vec![], rtype: 16, ttl: 3_600, rdata: [&[len], text.as_bytes()].concat() }
}

/// A set with one TXT record.
pub fn records(text: &str) -> Records {
    records_of(vec![txt(text)])
}

/// A set of records that are known to be right.
pub fn records_of(records: Vec<Record>) -> Records {
    Records::new(records).expect("the test wrote valid records")
}

/// Parameters for tests: simulated work, and a whole life of a name within a hundred blocks.
pub fn tiny_params() -> &'static Params {
    static TINY: LazyLock<&'static Params> = LazyLock::new(|| params_with(|_| {}));
    &TINY
}

/// [`tiny_params`] with something changed. Leaks a few bytes per call.
pub fn params_with(change: impl FnOnce(&mut Params)) -> &'static Params {
    let mut params = Params {
        maturity: 2,
        contest: 4,
        commit_ttl: 16,
        term: 40,
        renew_window: 12,
        grace: 10,
        transfer_delay: 5,
        release_delay: 6,
        burn_lock: 30,
        delete_after: 16,
        anchor_window: 12,
        anchor_depth: 1,
        locked: &[("locked", "locked.example")],
        ..Network::Simulated.params().clone()
    };
    change(&mut params);
    Box::leak(Box::new(params))
}

/// Makes transactions for one anchor.
#[derive(Clone, Copy, Debug)]
pub struct Maker<'a> {
    /// The network's parameters.
    pub params: &'a Params,
    /// Its CHAIN_ID.
    pub chain_id: Hash,
    /// Height of the anchor.
    pub height: u32,
    /// The anchor.
    pub anchor: AnchorBlock,
}

impl Maker<'_> {
    /// A complete transaction: worked if its type needs it, and signed with the one-key policy of `signer` if needed.
    pub fn make(&self, body: Body, signer: u64) -> Transaction {
        self.make_with(body, policy(signer), &[&key(signer)])
    }

    /// The same, signed by any policy.
    pub fn make_with(&self, body: Body, policy: Policy, secrets: &[&SecretKey]) -> Transaction {
        let witness = body.needs_signature().then(|| self.sign(&body, policy, secrets));
        let share = required_work(self.params, &body, self.anchor.prices).map(|needed| self.work(&body, needed));
        self.assemble(body, share, witness)
    }

    /// A transaction that shows `ratio`/256 of the work that it needs, to the next nonce of the simulated network.
    pub fn make_worth(&self, body: Body, signer: u64, ratio: u64) -> Transaction {
        let witness = body.needs_signature().then(|| self.sign(&body, policy(signer), &[&key(signer)]));
        let share = required_work(self.params, &body, self.anchor.prices).map(|needed| {
            let nonce = nonce_just_missing(needed.saturating_mul(ratio) / 256) - 1;
            Share { nonce, ..self.work(&body, needed) }
        });
        self.assemble(body, share, witness)
    }

    /// Puts the parts together, right or wrong.
    pub fn assemble(&self, body: Body, share: Option<Share>, witness: Option<Witness>) -> Transaction {
        let (height, hash) = self.anchor_of(&body);
        let anchor = Anchor::to_block(height, &hash);
        Transaction::new(anchor, body, share, witness).expect("share and witness as the type needs them")
    }

    /// A witness for `body`.
    pub fn sign(&self, body: &Body, policy: Policy, secrets: &[&SecretKey]) -> Witness {
        let (height, hash) = self.anchor_of(body);
        let digest = sighash(&self.chain_id, &hash, &txid(height, body));
        Witness::sign(policy, secrets, &digest).expect("secrets enough for the policy")
    }

    /// Where a transaction with this body is anchored: a REVEAL at genesis.
    pub fn anchor_of(&self, body: &Body) -> (u32, BlockHash) {
        match body {
            Body::Reveal { .. } => (0, self.params.genesis_hash()),
            _ => (self.height, self.anchor.hash),
        }
    }

    /// A share for `body` that shows `needed` expected evaluations.
    pub fn work(&self, body: &Body, needed: u64) -> Share {
        let commit = share_commit(&self.chain_id, &self.anchor.hash, &txid(self.height, body));
        let mut core = blank_core(self.params, commit);
        search(self.params, &self.chain_id, &mut core, |value| meets(value, needed));
        Share::of(&core)
    }

    /// A COMMIT for the class that `name` needs.
    pub fn commit(&self, name: &Name, owner: u64) -> Transaction {
        self.make(self.commit_body(name, owner), owner)
    }

    /// The body of that COMMIT.
    pub fn commit_body(&self, name: &Name, seed: u64) -> Body {
        let salt = key(seed).commit_salt(&self.chain_id, 0, name);
        let commit_hash = commit_hash(&self.chain_id, &salt, &owner(seed), name);
        Body::Commit { class: name.price_class(), commit_hash }
    }

    /// The REVEAL that fits [`commit`](Self::commit).
    pub fn reveal(&self, name: &Name, owner: u64, records: Records) -> Transaction {
        self.make(self.reveal_body(name, owner, records), owner)
    }

    /// The body of that REVEAL: no operator.
    pub fn reveal_body(&self, name: &Name, seed: u64, records: Records) -> Body {
        Body::Reveal {
            class: name.price_class(),
            name: name.clone(),
            salt: key(seed).commit_salt(&self.chain_id, 0, name),
            owner: owner(seed),
            operator: PolicyHash::ZERO,
            records,
        }
    }
}

/// A header core of the right version and nothing else.
fn blank_core(params: &Params, share_commit: Hash) -> HeaderCore {
    HeaderCore {
        version: params.header_version(),
        height: 0,
        time: 0,
        vtime: 0,
        bits: 0,
        prev: BlockHash::ZERO,
        ext_root: Hash::ZERO,
        share_commit,
        nonce: 0,
    }
}

/// Raises the nonce until the work value is `good`. At once on the simulated network, where nonce 0 meets everything.
pub fn search(params: &Params, chain_id: &Hash, core: &mut HeaderCore, good: impl Fn(primitive_types::U256) -> bool) {
    let mut scratch = Scratch::default();
    while !good(pow_value(params.algorithm, chain_id, core, &mut scratch)) {
        core.nonce += 1;
    }
}

/// The smallest nonce whose value on the simulated network does not show `work` expected evaluations.
pub fn nonce_just_missing(work: u64) -> u64 {
    let largest = primitive_types::U256::MAX / primitive_types::U256::from(work.max(1));
    (largest >> 192).low_u64().saturating_add(1)
}

/// Prices as they are at genesis.
pub const BASE_PRICES: Prices = Prices { bytes: 256, commit: 256 };

/// Expected evaluations that a block of these bits stands for; for tests about total work.
pub fn work_of_bits(bits: u32) -> u128 {
    crate::pow::from_compact(bits).map_or(0, work_of_target)
}
