//! The invariants of protocol §12, checked on a world at rest.
//!
//! | invariant | where |
//! |---|---|
//! | connected nodes share a tip | [`World::check_agreement`] |
//! | equal tip ⇒ equal root ⇒ equal to a plain model | `Host::follow_events`, after every block |
//! | one owner per name | [`World::check_owners`]: each entry under its own name's key, so that there is one |
//! | first come, first served | [`World::check_owners`]: of those who revealed, the earliest commit owns |
//! | no panic, no unbounded queue | a panic fails the test; `Desk::follow`, after every block |
//! | disconnect∘connect = identity | `ChainCore` and `TestChain` compare the root whenever a block is taken back |
//! | every served proof verifies | [`World::check_proofs`] |
//! | honest nodes hold nothing against each other | [`World::check_honest_are_blameless`] |

use ledger::{
    hash::{self, Key, Tag},
    name::Name,
    state::tree::Proof,
    testing::{key, owner},
    transaction::{Body, commit_hash},
};
use node::{chain::ChainReader, mempool::MempoolView, sync::Millis};

use super::{host::Host, players::Role, world::World};

impl World {
    /// Everything that holds at rest.
    pub fn check_invariants(&self) {
        self.check_agreement();
        self.check_owners();
        self.check_proofs();
        self.check_honest_are_blameless();
    }

    /// Connected honest nodes share a tip, and with it the state; every one of them equals its model already.
    pub fn check_agreement(&self) {
        let tips: Vec<_> = self.honest().map(|host| host.tip()).collect();
        for tip in &tips {
            assert_eq!((tip.hash, tip.state_root), (tips[0].hash, tips[0].state_root), "at {} ms: {tips:#?}", self.now);
        }
    }

    /// Every name is where its key says, and its owner is whoever committed first of those who revealed.
    pub fn check_owners(&self) {
        let host = self.honest().next().expect("an honest host");
        for (key, leaf) in host.model.leaves() {
            assert!(leaf.as_name().is_none_or(|state| state.name.key() == *key), "{leaf:?} at {key:?}");
        }
        let mut names: Vec<_> = self.registrations.iter().map(|one| one.name.clone()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let of_this = self.registrations.iter().filter(|one| one.name == name);
            let seeds: Vec<_> = of_this.map(|one| one.seed).collect();
            self.check_earliest_commit_owns(&name, &seeds);
        }
    }

    /// Proofs of every entry and of an absent one, as served to light clients.
    pub fn check_proofs(&self) {
        for host in self.honest() {
            let store = host.core.store().clone();
            let reader = ChainReader::new(store, host.core.params(), MempoolView::default());
            let absent = (&Key([1; 32]), None);
            let entries = host.model.leaves().iter().map(|(key, leaf)| (key, Some(ledger::codec::encode(leaf))));
            for (key, value) in entries.chain([absent]) {
                let served = reader.prove(key).expect("memory does not fail");
                assert_eq!(served.header.core.height, host.tip().height);
                let proof = Proof::parse(&served.bytes).expect("a proof");
                assert_eq!(proof.verify(served.header.ext.state_root, key), Ok(value.as_deref()));
            }
        }
    }

    pub fn deepest_reorg(&self) -> u32 {
        self.hosts.iter().map(|host| host.deepest_reorg).max().unwrap_or(0)
    }

    /// Nobody honest holds anything against anybody honest.
    pub fn check_honest_are_blameless(&self) {
        let is_honest = |host: &usize| self.hosts[*host].role == Role::Honest;
        for host in (0..self.hosts.len()).filter(is_honest) {
            for peer in (0..self.hosts.len()).filter(is_honest) {
                let score = self.hosts[host].sync.score_of(Millis(self.now), &peer);
                assert_eq!(score, 0, "host {host} against {peer}");
            }
            assert!(!self.hosts[host].bans.iter().any(is_honest), "host {host} bans {:?}", self.hosts[host].bans);
        }
    }

    pub fn bans_of(&self, role: Role) -> usize {
        self.bans_where(|peer| peer == role)
    }

    /// Bans by honest hosts, of whomever.
    pub fn all_bans(&self) -> usize {
        self.bans_where(|_| true)
    }

    fn bans_where(&self, pick: impl Fn(Role) -> bool) -> usize {
        self.honest().flat_map(|host| &host.bans).filter(|peer| pick(self.hosts[**peer].role)).count()
    }

    /// Of all who committed to `name` on the surviving chain and revealed in time, the earliest owns it. If nobody has
    /// revealed yet, nobody does.
    pub fn check_earliest_commit_owns(&self, name: &Name, seeds: &[u64]) {
        let model = &self.honest().next().expect("an honest host").model;
        let revealed = |seed: &&u64| {
            model.blocks().flat_map(|block| &block.transactions).any(
                |tx| matches!(tx.body(), Body::Reveal { name: n, owner: o, .. } if n == name && *o == owner(**seed)),
            )
        };
        let chain_id = model.chain_id();
        let rank = |seed: u64| {
            let salt = key(seed).commit_salt(&chain_id, 0, name);
            let hash = commit_hash(&chain_id, &salt, &owner(seed), name);
            let made_in = model.blocks().find(|block| {
                block
                    .transactions
                    .iter()
                    .any(|tx| matches!(tx.body(), Body::Commit { commit_hash: there, .. } if *there == hash))
            })?;
            let tie = hash::hash(Tag::Tie, &[hash.as_ref(), made_in.hash().as_ref()]);
            Some((made_in.header.core.height, tie))
        };
        let best = seeds.iter().filter(revealed).filter_map(|seed| Some((rank(*seed)?, *seed))).min();
        let winner = best.map(|(_, seed)| owner(seed));
        let owner_at = |host: &Host| host.model.state(name).map(|state| state.owner);
        for host in self.honest() {
            assert_eq!(owner_at(host), winner, "the owner of {name}");
        }
    }
}
