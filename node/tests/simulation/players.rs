//! Who takes part, and what those do that do not go by the protocol. Each stands for a row of protocol §12.

use std::sync::Arc;

use ledger::{
    block::Block,
    hash::BlockHash,
    name::Name,
    testing::{TestChain, name, records},
    transaction::{Body, Transaction},
};
use node::sync::{Claim, Point};

use super::{
    host::{Branch, Host},
    world::params,
};

/// How a node behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// By the protocol.
    Honest,
    /// Tells its status and answers nothing else.
    Staller,
    /// Answers with bodies that do not belong to their headers.
    WrongBodies,
    /// Answers with headers without work.
    WorthlessHeaders,
    /// Claims endless work and has no headers to show.
    Boaster,
    /// Claims endless work and is busy when asked for it.
    BusyBoaster,
    /// Claims endless work and keeps silent when asked for it.
    SilentBoaster,
    /// Shows headers of blocks that it made, and gives nobody the bodies.
    Withholder,
    /// Follows the chain, and announces blocks that are invalid for a reason that shows only on connecting them.
    Poisoner,
    /// Makes valid blocks with little work on a branch from genesis, without end: announces each, and claims so much work
    /// that it is asked for the headers.
    LowWork,
    /// Floods everybody with valid commitments, with reveals of commitments that never stood, and with changes of names
    /// that are not its own.
    Spammer,
    /// Keeps the blocks that it finds to itself as long as it is ahead, and shows them when it is about to be caught up.
    Selfish,
    /// One of many inbound peers in one hand: shows the genesis as its tip, is silent otherwise and passes nothing on.
    Eclipser,
}

impl Role {
    /// Those of whom a storm draws some.
    pub const HOSTILE: [Self; 12] = [
        Self::Staller,
        Self::WrongBodies,
        Self::WorthlessHeaders,
        Self::Boaster,
        Self::BusyBoaster,
        Self::SilentBoaster,
        Self::Withholder,
        Self::Poisoner,
        Self::LowWork,
        Self::Spammer,
        Self::Selfish,
        Self::Eclipser,
    ];

    /// What it says its best block is, where `own` is the truth.
    pub fn claim(self, own: Point, secret: Option<&Branch>) -> Claim {
        match self {
            Self::Boaster | Self::BusyBoaster | Self::SilentBoaster => {
                Point { height: own.height + 1_000, hash: BlockHash([7; 32]), work: u128::MAX / 2 }
            }
            Self::Withholder => secret.map_or(own, Branch::end),
            Self::LowWork => secret.map_or(own, |branch| Point { work: u128::MAX / 2, ..branch.end() }),
            Self::Eclipser => Point { height: 0, hash: params().genesis_hash(), work: 0 },
            Self::Honest
            | Self::Staller
            | Self::WrongBodies
            | Self::WorthlessHeaders
            | Self::Poisoner
            | Self::Spammer
            | Self::Selfish => own,
        }
    }

    /// Whether it passes on what others announce.
    pub fn relays(self) -> bool {
        self != Self::Eclipser
    }
}

/// A body that is not the header's, if that is the host's way.
pub fn spoil(role: Role, mut block: Block) -> Arc<Block> {
    if role == Role::WrongBodies {
        let maker = TestChain::new(params()).maker();
        block.transactions.push(maker.commit(&name("forged"), 1));
    }
    Arc::new(block)
}

/// Commitments in one wave, every two seconds: a block takes them all, but a mempool that holds only so many fills up while
/// no block comes.
const SPAM_PER_WAVE: u64 = 8;

/// What players do on their own.
impl Host {
    /// Makes `count` blocks on the tip that it will show the headers of, and nothing more.
    pub fn withhold(&mut self, unix: u64, count: u32) {
        let mut branch = Branch::on(self.model.clone());
        (0..count).for_each(|_| drop(branch.extend(unix).clone()));
        self.secret = Some(branch);
    }

    /// The next valid block of a branch that begins at genesis and has next to no work.
    pub fn low_work(&mut self, genesis: &TestChain) -> Arc<Block> {
        let branch = self.secret.get_or_insert_with(|| Branch::on(genesis.clone()));
        let time = branch.chain.tip().header().core.time + u64::from(branch.chain.params().block_interval);
        Arc::new(branch.extend(time).clone())
    }

    /// The next block of a selfish miner's own branch, to be kept for now.
    pub fn mine_in_secret(&mut self, unix: u64) {
        if self.secret.is_none() {
            self.secret = Some(Branch::on(self.model.clone()));
        }
        self.secret.as_mut().expect("just made").extend(unix);
    }

    /// What a selfish miner shows now that the others have moved: all that it has when they are about to catch up, nothing
    /// while it is two ahead. It gives up what has fallen behind.
    pub fn selfish_turn(&mut self) -> Vec<Arc<Block>> {
        let (public, Some(secret)) = (self.tip(), &self.secret) else { return Vec::new() };
        let end = secret.end();
        if end.work <= public.total_work {
            self.secret = None;
            return Vec::new();
        }
        if end.height > public.height + 1 {
            return Vec::new();
        }
        let shown = self.secret.take().map(|branch| branch.blocks).unwrap_or_default();
        shown.into_iter().map(Arc::new).collect()
    }

    /// One wave of a spammer: the `number`th.
    pub fn spam(&self, number: u64, victims: &[Name]) -> Vec<Transaction> {
        let maker = self.model.maker();
        let fresh = |n: u64| name(&format!("spam-{number}-{n}"));
        let mut wave: Vec<_> = (0..SPAM_PER_WAVE).map(|n| maker.commit(&fresh(n), 900)).collect();
        wave.push(maker.reveal(&fresh(99), 900, records("never committed")));
        for victim in victims {
            let seq = self.model.state(victim).map_or(1, |state| state.seq + 1);
            let body = Body::Revoke { name: victim.clone(), seq, mode: ledger::transaction::RevokeMode::Burn };
            wave.push(maker.make(body, 900));
        }
        wave
    }
}
