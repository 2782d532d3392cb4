//! A chain in memory, made of nothing but this package's functions.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    block::{Block, Header},
    codec::encode,
    hash::{BlockHash, Hash, Key},
    name::Name,
    params::Params,
    pow::{Scratch, from_compact},
    price::Prices,
    record::Records,
    rules::apply::{apply, touched_keys},
    rules::context::Ancestors,
    rules::{
        Violation,
        block::{Content, assemble, check_body, results_match},
        context::anchor_height_is_allowed,
        header::{self, HeaderContext, HeaderError},
        transaction::{self, AnchorBlock, CheckedTransaction},
    },
    state::delta::{Delta, Loaded},
    state::{
        Leaf, NameState,
        tree::{MemoryPages, Proof, prove, value_hash},
        undo::Undo,
    },
    transaction::{Body, Transaction},
};

use super::build::{Maker, search};

/// A chain with its state, in memory.
#[derive(Clone, Debug)]
pub struct TestChain {
    params: &'static Params,
    chain_id: Hash,
    genesis: HeaderContext,
    connected: Vec<Connected>,
    leaves: BTreeMap<Key, Leaf>,
    /// Which entries are deleted at which height: follows from `leaves`.
    expiry: BTreeSet<(u32, Key)>,
    pages: MemoryPages,
}

#[derive(Clone, Debug)]
struct Connected {
    context: HeaderContext,
    block: Block,
    undo: Undo,
}

impl TestChain {
    /// The chain of genesis alone.
    pub fn new(params: &'static Params) -> Self {
        Self {
            params,
            chain_id: params.chain_id(),
            genesis: HeaderContext::genesis(params),
            connected: Vec::new(),
            leaves: BTreeMap::new(),
            expiry: BTreeSet::new(),
            pages: MemoryPages::new(),
        }
    }

    /// The parameters.
    pub fn params(&self) -> &'static Params {
        self.params
    }

    /// CHAIN_ID.
    pub fn chain_id(&self) -> Hash {
        self.chain_id
    }

    /// Height of the tip.
    pub fn height(&self) -> u32 {
        self.tip().height()
    }

    /// The tip.
    pub fn tip(&self) -> &HeaderContext {
        self.connected.last().map_or(&self.genesis, |connected| &connected.context)
    }

    /// The header context at a height up to the tip.
    pub fn context_at(&self, height: u32) -> Option<&HeaderContext> {
        match height.checked_sub(1) {
            None => Some(&self.genesis),
            Some(index) => self.connected.get(index as usize).map(|connected| &connected.context),
        }
    }

    /// All blocks after genesis, lowest first.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &Block> + ExactSizeIterator {
        self.connected.iter().map(|connected| &connected.block)
    }

    /// All entries, by key.
    pub fn leaves(&self) -> &BTreeMap<Key, Leaf> {
        &self.leaves
    }

    /// The entry of a name, as written.
    pub fn state(&self, name: &Name) -> Option<&NameState> {
        self.leaves.get(&name.key())?.as_name()
    }

    /// The state root after the tip.
    pub fn root(&self) -> Hash {
        self.pages.root()
    }

    /// Makes transactions anchored at the tip.
    pub fn maker(&self) -> Maker<'static> {
        self.maker_at(self.height())
    }

    /// Makes transactions anchored at a height up to the tip.
    pub fn maker_at(&self, height: u32) -> Maker<'static> {
        let context = self.context_at(height).expect("anchored at or below the tip");
        let anchor = AnchorBlock { hash: context.hash(), prices: Prices::from(&context.header().ext) };
        Maker { params: self.params, chain_id: self.chain_id, height, anchor }
    }

    /// A transaction anchored at the tip.
    pub fn transaction(&self, body: Body, signer: u64) -> Transaction {
        self.maker().make(body, signer)
    }

    /// Checks a transaction alone, against its anchor on this chain.
    pub fn check(&self, transaction: Transaction) -> Result<CheckedTransaction, Violation> {
        let height = transaction.anchor().height;
        anchor_height_is_allowed(self.params, self.height() + 1, &transaction)?;
        let context = self.context_at(height).ok_or(Violation::AncestorUnknown { height })?;
        let anchor = AnchorBlock { hash: context.hash(), prices: Prices::from(&context.header().ext) };
        transaction::check(self.params, &self.chain_id, transaction, &anchor, &mut Scratch::default())
    }

    /// Judges transactions, in the order given, as those of the next block.
    pub fn judge(&self, transactions: &[Transaction]) -> Result<Delta, Violation> {
        let checked = transactions.iter().map(|tx| self.check(tx.clone())).collect::<Result<Vec<_>, _>>()?;
        self.apply(&checked)
    }

    /// Applies checked transactions as those of the next block.
    pub fn apply(&self, checked: &[CheckedTransaction]) -> Result<Delta, Violation> {
        let height = self.height() + 1;
        let loaded = self.load(height, checked);
        let names = self.tip().header().ext.name_count;
        apply(self.params, &self.chain_id, self, height, names, checked, &loaded)
    }

    /// What the next block's rules have to see of the state.
    fn load(&self, height: u32, checked: &[CheckedTransaction]) -> Loaded {
        let due: Vec<Key> =
            self.expiry.range((height, Key::ZERO)..).take_while(|(at, _)| *at == height).map(|(_, k)| *k).collect();
        let mut keys = touched_keys(checked.iter().map(CheckedTransaction::transaction), &self.chain_id);
        keys.extend(&due);
        Loaded { leaves: keys.into_iter().map(|key| (key, self.leaves.get(&key).cloned())).collect(), due }
    }

    /// Builds and proves a block on the tip, one block interval after it, without connecting it.
    pub fn build(&self, transactions: Vec<Transaction>) -> Result<Block, Violation> {
        self.build_at(self.tip().header().core.time + u64::from(self.params.block_interval), transactions)
    }

    /// The same for any time.
    pub fn build_at(&self, time: u64, mut transactions: Vec<Transaction>) -> Result<Block, Violation> {
        transactions.sort_by_key(Transaction::txid);
        let delta = self.judge(&transactions)?;
        let root = self.root_after(&delta);
        let content = Content::of(&transactions);
        let header = assemble(self.params, self.tip(), time, &content, delta.name_count, root, Hash::ZERO);
        Ok(Block { header: self.seal(header), transactions })
    }

    /// Makes `header` consistent (its extension's root) and does its work.
    pub fn seal(&self, mut header: Header) -> Header {
        header.core.ext_root = header.ext.root();
        let target = from_compact(header.core.bits).expect("bits from the rules");
        search(self.params, &self.chain_id, &mut header.core, |value| value <= target);
        header
    }

    /// The state root if `delta` were connected.
    pub fn root_after(&self, delta: &Delta) -> Hash {
        let mut pages = self.pages.clone();
        pages.change(&tree_changes(delta)).expect("memory pages are whole")
    }

    /// Checks a block against all rules and makes it the tip.
    pub fn connect(&mut self, block: &Block) -> Result<Delta, HeaderError> {
        self.connect_by(block, |chain, transaction| chain.check(transaction.clone()))
    }

    /// The same where `check` says what [`check`](Self::check) would say: for simulators, in which many chains meet the same
    /// transactions.
    pub fn connect_by(
        &mut self,
        block: &Block,
        mut check: impl FnMut(&Self, &Transaction) -> Result<CheckedTransaction, Violation>,
    ) -> Result<Delta, HeaderError> {
        let now = block.header.core.time;
        let mut scratch = Scratch::default();
        let context = header::check(self.params, &self.chain_id, &block.header, self.tip(), now, &mut scratch)?;
        check_body(&block.header, &block.transactions)?;
        let checked = block.transactions.iter().map(|tx| check(self, tx)).collect::<Result<Vec<_>, _>>()?;
        let delta = self.apply(&checked)?;
        results_match(&block.header, &delta, self.root_after(&delta))?;
        let undo = Undo::of(&delta);
        let after = delta.changes.iter().map(|change| (change.key, change.after.clone())).collect::<Vec<_>>();
        self.write(&after);
        self.connected.push(Connected { context, block: block.clone(), undo });
        Ok(delta)
    }

    /// Takes the tip back and returns it; `None` at genesis. The root must be the parent's again.
    pub fn disconnect(&mut self) -> Option<Block> {
        let Connected { block, undo, .. } = self.connected.pop()?;
        self.write(&undo.0);
        assert_eq!(self.root(), self.tip().header().ext.state_root, "undo gives the parent's state back");
        Some(block)
    }

    /// Writes entries to the map, the expiry queue and the tree.
    fn write(&mut self, entries: &[(Key, Option<Leaf>)]) {
        let hashes: Vec<_> =
            entries.iter().map(|(key, leaf)| (*key, leaf.as_ref().map(|leaf| value_hash(&encode(leaf))))).collect();
        self.pages.change(&hashes).expect("memory pages are whole");
        for (key, leaf) in entries {
            let old = match leaf {
                Some(leaf) => self.leaves.insert(*key, leaf.clone()),
                None => self.leaves.remove(key),
            };
            if let Some(old) = old {
                self.expiry.remove(&(old.deletion_height(self.params), *key));
            }
            if let Some(leaf) = leaf {
                self.expiry.insert((leaf.deletion_height(self.params), *key));
            }
        }
    }

    /// Mines a block of these transactions and connects it.
    pub fn mine(&mut self, transactions: Vec<Transaction>) -> Result<Delta, Violation> {
        let block = self.build(transactions)?;
        match self.connect(&block) {
            Ok(delta) => Ok(delta),
            Err(HeaderError::Violation(violation)) => Err(violation),
            Err(HeaderError::Deferred { .. }) => unreachable!("connect judges at the block's own time"),
        }
    }

    /// The same with every transaction checked once only and the new state computed in place: for long chains.
    pub fn extend(&mut self, mut transactions: Vec<Transaction>) -> Result<Delta, Violation> {
        transactions.sort_by_key(Transaction::txid);
        let delta = self.judge(&transactions)?;
        let content = Content::of(&transactions);
        let parent = self.tip().clone();
        self.write(&delta.changes.iter().map(|change| (change.key, change.after.clone())).collect::<Vec<_>>());
        let time = parent.header().core.time + u64::from(self.params.block_interval);
        let header = assemble(self.params, &parent, time, &content, delta.name_count, self.root(), Hash::ZERO);
        let header = self.seal(header);
        let context = HeaderContext::stored(header, parent.total_work(), parent.peaks());
        self.connected.push(Connected { context, block: Block { header, transactions }, undo: Undo::of(&delta) });
        Ok(delta)
    }

    /// Mines empty blocks.
    pub fn mine_empty(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.mine(Vec::new()).expect("an empty block breaks no rule");
        }
    }

    /// Mines empty blocks until the tip has this height; does nothing if it is there already.
    pub fn mine_until(&mut self, height: u32) {
        self.mine_empty(height.saturating_sub(self.height()));
    }

    /// Commits to `name`, waits, reveals it: the tip is the block of the reveal, and the contest runs.
    pub fn reveal(&mut self, name: &Name, owner: u64, records: Records) {
        self.mine(vec![self.maker().commit(name, owner)]).expect("the commit is new");
        self.mine_empty(self.params.maturity - 1);
        self.mine(vec![self.maker().reveal(name, owner, records)]).expect("the name is free");
    }

    /// Registers `name` and waits for the end of its contest: in the next block it is active.
    pub fn register(&mut self, name: &Name, owner: u64) {
        self.reveal(name, owner, Records::empty());
        self.mine_empty(self.params.contest - 1);
    }

    /// A proof of what stands at `key` under the tip's state root.
    pub fn prove(&self, key: &Key) -> Proof {
        let value = self.leaves.get(key).map(encode);
        let path = prove(&self.pages, self.root(), key).expect("memory pages are whole");
        path.into_proof(value.as_deref()).expect("entries and tree agree")
    }
}

fn tree_changes(delta: &Delta) -> Vec<(Key, Option<Hash>)> {
    delta
        .changes
        .iter()
        .map(|change| (change.key, change.after.as_ref().map(|leaf| value_hash(&encode(leaf)))))
        .collect()
}

impl Ancestors for TestChain {
    fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.context_at(height).map(HeaderContext::hash)
    }

    fn prices_at(&self, height: u32) -> Option<Prices> {
        self.context_at(height).map(|context| Prices::from(&context.header().ext))
    }
}
