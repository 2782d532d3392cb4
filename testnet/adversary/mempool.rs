//! Junk that keeps an owner's changes out of the mempool: by the operator, by a thief of the owner's key, by anybody.
//!
//! For each case a name is registered. Then, after every block, the attacker offers more changes of that name than the
//! node keeps, each with more work than it needs; and after him the owner offers the one change that matters, until it
//! is in a block. What counts is how many blocks that took from the first offer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use ledger::{
    hash::TxId,
    name::Name,
    price::required_work,
    record::Records,
    state::NameState,
    testing::{TestChain, build::Maker, key, name, owner, policy, records},
    transaction::{Body, RevokeMode, Transaction},
};
use libp2p::Multiaddr;
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::sleep};

use crate::{answers, follower::Follower, forge::Forge, peer::Peer};

/// Junk transactions for each name after each block.
const JUNK: u64 = 8;
/// How much more work than needed the junk shows.
const ZEAL: u64 = 4;
/// Depth of anchors: deep enough for the forks of a small network.
const DEPTH: u32 = 2;
/// Steps of the owner's numbers (protocol §4.2).
const CHANGE_STEP: u64 = 1 << 8;
const CANCEL_STEP: u64 = 1 << 10;
const REVOKE_STEP: u64 = 1 << 11;
/// Blocks in which the thief's transfers have to be: soon, for they take effect after a few.
const PREPARATION: u32 = 4;
/// The longest wait for the names to be registered.
const REGISTERED: Duration = Duration::from_secs(90);

/// Which node, and for how long.
#[derive(clap::Args)]
pub struct Options {
    /// The node, which mines or has peers that do.
    #[arg(long)]
    node: Multiaddr,
    /// Blocks in which the owner's changes have to be.
    #[arg(long, default_value_t = 8)]
    blocks: u32,
}

/// Who makes the junk.
#[derive(Clone, Copy, Debug)]
enum Attacker {
    /// Changes of records, by the operator's key.
    Operator,
    /// A transfer under way, and changes of records, by the owner's key.
    Thief,
    /// REVEALs of commits that are too young, by anybody: the name is taken, so they can never be valid.
    Outsider,
}

/// What the owner wants.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Revoke,
    Cancel,
    Update,
}

struct Case {
    attacker: Attacker,
    wish: Wish,
    name: Name,
    owner: u64,
    /// Transactions that fulfil the wish: one a block until one of them is in the chain.
    offered: Vec<TxId>,
    /// Height of the tip when the first was offered.
    first_at: Option<u32>,
    mined_at: Option<u32>,
    junk: u64,
}

/// Key of the operator of every name.
const OPERATOR: u64 = 900;
/// Added to the owner's key: the thief's own.
const THIEF: u64 = 50;
/// Keys of outsiders begin here.
const OUTSIDERS: u64 = 10_000;

/// Runs the attack.
pub async fn run(forge: Forge, options: Options) -> Result<Value> {
    let mut follower = Follower::start(forge, &options.node).await?;
    let (attacker, honest) = (connect(forge, &options.node).await?, connect(forge, &options.node).await?);
    let mut cases = cases();
    register(&mut follower, &honest, &cases).await?;
    let begun = prepare(&mut follower, &attacker, &cases).await?;
    while follower.chain().height() < begun + options.blocks && cases.iter().any(|case| case.mined_at.is_none()) {
        let chain = follower.chain();
        for case in cases.iter_mut().filter(|case| case.mined_at.is_none()) {
            for junk in block_in_place(|| case.junk(chain)) {
                case.junk += u64::from(attacker.transaction(&junk).await?);
            }
        }
        // The junk has to be there first.
        sleep(Duration::from_millis(300)).await;
        for case in cases.iter_mut().filter(|case| case.mined_at.is_none()) {
            if let Some(wish) = block_in_place(|| case.wish(chain)) {
                case.first_at.get_or_insert(chain.height());
                case.offered.push(wish.txid());
                honest.transaction(&wish).await?;
            }
        }
        next_block(&mut follower).await?;
        cases.iter_mut().for_each(|case| case.look(follower.chain()));
    }
    Ok(json!({ "cases": cases.iter().map(Case::report).collect::<Vec<_>>() }))
}

async fn connect(forge: Forge, node: &Multiaddr) -> Result<Peer> {
    let mut peer = Peer::connect(forge.params, node, answers::nothing(forge)).await?;
    peer.until_heard().await?;
    Ok(peer)
}

fn cases() -> Vec<Case> {
    let plan = [
        (Attacker::Operator, Wish::Revoke),
        (Attacker::Operator, Wish::Update),
        (Attacker::Thief, Wish::Cancel),
        (Attacker::Thief, Wish::Revoke),
        (Attacker::Outsider, Wish::Update),
    ];
    // Every run has names and keys of its own, so that it can be repeated on one chain.
    let run = crate::clock::unix_now();
    plan.into_iter()
        .zip(1..)
        .map(|((attacker, wish), number)| Case {
            attacker,
            wish,
            name: name(&format!("hostile-{run}-{number}")),
            owner: run * 100 + number,
            offered: Vec::new(),
            first_at: None,
            mined_at: None,
            junk: 0,
        })
        .collect()
}

/// Registers all names, each with its operator, and waits until they are active.
async fn register(follower: &mut Follower, honest: &Peer, cases: &[Case]) -> Result<()> {
    let params = follower.chain().params();
    for case in cases {
        honest.transaction(&block_in_place(|| maker(follower.chain()).commit(&case.name, case.owner))).await?;
    }
    let committed = follower.chain().height();
    let (began, mut revealed) = (Instant::now(), BTreeMap::new());
    while began.elapsed() < REGISTERED {
        next_block(follower).await?;
        let chain = follower.chain();
        let states: Vec<_> = cases.iter().filter_map(|case| chain.state(&case.name)).collect();
        if states.len() == cases.len() && states.iter().all(|state| chain.height() + 1 >= state.active_from) {
            return Ok(());
        }
        for case in cases.iter().filter(|case| chain.state(&case.name).is_none()) {
            // Again after a while: the commit may have come a block later than thought.
            let due = revealed.get(&case.owner).copied().unwrap_or(committed + params.maturity);
            if chain.height() >= due {
                revealed.insert(case.owner, chain.height() + 3);
                honest.transaction(&case.reveal(chain)).await?;
            }
        }
    }
    bail!("the names could not be registered in {REGISTERED:?}")
}

/// Puts the outsiders' commits and the thief's transfers into the chain. Returns the height at which the owner may begin.
async fn prepare(follower: &mut Follower, attacker: &Peer, cases: &[Case]) -> Result<u32> {
    let mut transferred = false;
    for _ in 0..PREPARATION {
        let chain = follower.chain();
        for case in cases {
            let made = match case.attacker {
                Attacker::Outsider => block_in_place(|| case.junk(chain)),
                Attacker::Thief if !transferred => block_in_place(|| case.theft(chain)).into_iter().collect(),
                Attacker::Thief | Attacker::Operator => Vec::new(),
            };
            for transaction in made {
                attacker.transaction(&transaction).await?;
            }
        }
        transferred = true;
        next_block(follower).await?;
        let moving = |case: &Case| follower.chain().state(&case.name).is_some_and(|state| state.pending.is_some());
        if cases.iter().filter(|case| matches!(case.attacker, Attacker::Thief)).all(moving) {
            break;
        }
    }
    Ok(follower.chain().height())
}

/// Waits for the next block and takes it over.
async fn next_block(follower: &mut Follower) -> Result<()> {
    let (height, began) = (follower.chain().height(), Instant::now());
    while follower.chain().height() <= height {
        if began.elapsed() > REGISTERED {
            bail!("no block in {REGISTERED:?}");
        }
        sleep(Duration::from_millis(50)).await;
        follower.catch_up().await?;
    }
    Ok(())
}

fn maker(chain: &TestChain) -> Maker<'static> {
    chain.maker_at(chain.height().saturating_sub(DEPTH))
}

impl Case {
    fn reveal(&self, chain: &TestChain) -> Transaction {
        let maker = maker(chain);
        let mut body = maker.reveal_body(&self.name, self.owner, Records::empty());
        if let Body::Reveal { operator, .. } = &mut body {
            *operator = owner(OPERATOR);
        }
        maker.make(body, self.owner)
    }

    /// The thief's transfer to a key of his own.
    fn theft(&self, chain: &TestChain) -> Option<Transaction> {
        let (owner, operator) = (owner(self.owner + THIEF), owner(OPERATOR));
        let body = Body::Transfer { name: self.name.clone(), seq: chain.state(&self.name)?.seq + 1, owner, operator };
        Some(maker(chain).make(body, self.owner))
    }

    /// More than the node keeps of one name, valid as the chain is now.
    fn junk(&self, chain: &TestChain) -> Vec<Transaction> {
        let (maker, height) = (maker(chain), chain.height());
        let Some(state) = chain.state(&self.name) else { return Vec::new() };
        let change = |signer: u64, number: u64| {
            let text = records(&format!("junk {number} at {height}"));
            let body =
                Body::Update { name: self.name.clone(), seq: state.seq + 1, operator: None, records: Some(text) };
            zealous(&maker, body, signer)
        };
        match self.attacker {
            Attacker::Operator => (0..JUNK).map(|number| change(OPERATOR, number)).collect(),
            Attacker::Thief => (0..JUNK).map(|number| change(self.owner, number)).collect(),
            Attacker::Outsider => self.young_reveals(chain),
        }
    }

    /// COMMITs of outsiders, and REVEALs of those that stand since the last block.
    fn young_reveals(&self, chain: &TestChain) -> Vec<Transaction> {
        let (maker, height) = (maker(chain), u64::from(chain.height()));
        let seed =
            |height: u64, number: u64| OUTSIDERS + self.owner % 10_000 + height * 100_000 + number * 10_000_000_000;
        let mut made = Vec::new();
        for number in 0..JUNK / 2 {
            for past in 1..=u64::from(chain.params().maturity) {
                made.push(maker.reveal(&self.name, seed(height.saturating_sub(past), number), Records::empty()));
            }
            made.push(maker.commit(&self.name, seed(height, number)));
        }
        made
    }

    /// The owner's change, if it makes sense as the chain is now.
    fn wish(&self, chain: &TestChain) -> Option<Transaction> {
        let state = chain.state(&self.name)?;
        if matches!(self.wish, Wish::Cancel) && state.pending.is_none() {
            return None;
        }
        Some(maker(chain).make(self.wish_body(state, chain.height()), self.owner))
    }

    fn wish_body(&self, state: &NameState, height: u32) -> Body {
        let name = self.name.clone();
        match self.wish {
            Wish::Revoke => Body::Revoke { name, seq: state.seq + REVOKE_STEP, mode: RevokeMode::Burn },
            Wish::Cancel => Body::Cancel { name, seq: state.seq + CANCEL_STEP },
            Wish::Update => {
                let records = Some(records(&format!("the owner's at {height}")));
                Body::Update { name, seq: state.seq + CHANGE_STEP, operator: None, records }
            }
        }
    }

    /// Whether the wish is fulfilled.
    fn look(&mut self, chain: &TestChain) {
        let newest = chain.blocks().rev().take(12);
        let found = newest.filter(|block| block.transactions.iter().any(|tx| self.offered.contains(&tx.txid())));
        self.mined_at = found.map(|block| block.header.core.height).min();
    }

    fn report(&self) -> Value {
        let blocks = self.mined_at.zip(self.first_at).map(|(mined, offered)| mined.saturating_sub(offered));
        json!({
            "attacker": format!("{:?}", self.attacker).to_lowercase(),
            "owner_wants": format!("{:?}", self.wish).to_lowercase(),
            "junk_offered": self.junk,
            "offers": self.offered.len(),
            "in_block": blocks,
        })
    }
}

/// A transaction with more work than it needs.
fn zealous(maker: &Maker<'_>, body: Body, signer: u64) -> Transaction {
    let witness = body.needs_signature().then(|| maker.sign(&body, policy(signer), &[&key(signer)]));
    let share = required_work(maker.params, &body, maker.anchor.prices).map(|needed| maker.work(&body, needed * ZEAL));
    maker.assemble(body, share, witness)
}
