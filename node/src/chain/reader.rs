//! Reads for everybody else: straight from the database, beside the writer, never waiting for it.
//!
//! Every call sees one consistent moment. Two calls may see two; whoever needs more takes it from one call, or asks
//! a [`ChainView`].

use std::{collections::HashMap, ops::ControlFlow, thread};

use ledger::{
    block::{Block, Header},
    hash::{BlockHash, Key, PolicyHash, TxId},
    history::{Peaks, peaks_at},
    name::Name,
    params::Params,
    state::{
        Leaf, NameState,
        tree::{Page, PagePath, PageSource, prove},
    },
};

use crate::{
    mempool::MempoolView,
    store::{Direction, Flow, Read, Rows, Snapshot, Store, StoreError, Table, TipRow, fixed, parse},
};

use super::{HistoryCause, HistoryEntry, PlacedHeader, StateProof, TransactionStatus, state::tree_error};

/// Reads of the chain. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct ChainReader {
    store: Store,
    params: &'static Params,
    pool: MempoolView,
}

impl ChainReader {
    /// Reads from `store`, with the mempool for transactions that are not in a block yet.
    pub fn new(store: Store, params: &'static Params, pool: MempoolView) -> Self {
        Self { store, params, pool }
    }

    /// The mempool.
    pub fn mempool(&self) -> MempoolView {
        self.pool.clone()
    }

    /// The chain as it is now, and as it stays for whoever holds this.
    pub fn view(&self) -> ChainView<'_> {
        ChainView(self.store.snapshot())
    }

    /// Height, hash and state root of the tip that the database holds.
    pub fn tip(&self) -> Result<TipRow, StoreError> {
        tip_of(&self.store)
    }

    /// The entry of a name, whatever its status.
    pub fn name_state(&self, name: &Name) -> Result<Option<NameState>, StoreError> {
        self.store.name_state(name)
    }

    /// The entry at a key.
    pub fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StoreError> {
        self.store.leaf(key)
    }

    /// Names that `owner` owns at the next height, ascending, behind `after`.
    pub fn names_of_owner(
        &self,
        owner: &PolicyHash,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<NameState>, StoreError> {
        let view = self.store.snapshot();
        let next = tip_of(&view)?.height + 1;
        let from = [owner.as_ref(), &behind(after)].concat();
        let mut names = Vec::new();
        view.scan(Table::Owners, (&from, &after_owner(owner)), Direction::Up, &mut |key, _| {
            let name = name_in(&key[32..])?;
            // The index names the next owner of a transfer, too: who owns it now, heights decide.
            let state = view.name_state(&name)?.filter(|state| state.matured(next).owner == *owner);
            names.extend(state);
            Ok(go_on_while(names.len() < limit))
        })?;
        Ok(names)
    }

    /// Names that begin with `prefix`, ascending, behind `after`.
    pub fn search(&self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<NameState>, StoreError> {
        let view = self.store.snapshot();
        let mut from = behind(after).max(prefix.as_bytes().to_vec());
        let mut names = Vec::new();
        // The history has a row per change. Jump from name to name, as `/` is the first byte behind the zero's rows.
        while let Some(name) = first_name(&view, &from, prefix)? {
            names.extend(view.name_state(&name)?);
            if names.len() >= limit {
                break;
            }
            from = behind(Some(&name));
        }
        Ok(names)
    }

    /// Visits every name as it is at one block, and returns that block: for whoever then follows the events from there.
    ///
    /// One thread for each of `visitors`, each with an equal share of the names in no particular order. Who breaks ends
    /// its own share.
    pub fn for_each_name<V: Send>(
        &self,
        visitors: &mut [V],
        visit: impl Fn(&mut V, NameState) -> Flow + Sync,
    ) -> Result<TipRow, StoreError> {
        let (view, shares) = (&self.store.snapshot(), visitors.len());
        thread::scope(|scope| {
            let visit = &visit;
            let mut threads = Vec::with_capacity(shares);
            for (index, visitor) in visitors.iter_mut().enumerate() {
                let each = move |state| visit(&mut *visitor, state);
                threads.push(scope.spawn(move || visit_share(view, (index, shares), each)));
            }
            threads.into_iter().try_for_each(|thread| thread.join().expect("reading does not panic"))
        })?;
        tip_of(view)
    }

    /// Names whose term ends within `blocks` from the next height, soonest first.
    pub fn expiring(&self, blocks: u32, limit: usize) -> Result<Vec<NameState>, StoreError> {
        let view = self.store.snapshot();
        let next = tip_of(&view)?.height + 1;
        // The queue holds deletion heights, which follow the end of the term at a fixed distance.
        let lag = self.params.grace.saturating_add(self.params.delete_after);
        let from = next.saturating_add(lag).to_be_bytes();
        let to = next.saturating_add(lag).saturating_add(blocks).to_be_bytes();
        let mut names = Vec::new();
        view.scan(Table::Expiry, (&from, &to), Direction::Up, &mut |key, _| {
            match view.leaf(&Key(fixed("an expiry entry", &key[4..])?))? {
                Some(Leaf::Name(state)) if !state.is_revoked() => names.push(state),
                Some(Leaf::Name(_) | Leaf::Commit(_)) | None => {}
            }
            Ok(go_on_while(names.len() < limit))
        })?;
        Ok(names)
    }

    /// Changes of a name, newest first, before height `before`.
    pub fn history(&self, name: &Name, before: u32, limit: usize) -> Result<Vec<HistoryEntry>, StoreError> {
        let (from, to) = (crate::store::history_key(name, 0), crate::store::history_key(name, before));
        let mut entries = Vec::new();
        self.store.scan(Table::History, (&from, &to), Direction::Down, &mut |key, bytes| {
            let height = u32::from_be_bytes(fixed("a history entry", &key[name.as_bytes().len() + 1..])?);
            entries.push(HistoryEntry { height, cause: cause_of(bytes)? });
            Ok(go_on_while(entries.len() < limit))
        })?;
        Ok(entries)
    }

    /// A header of any branch.
    pub fn header(&self, hash: &BlockHash) -> Result<Option<PlacedHeader>, StoreError> {
        let row = self.store.header_row(hash)?;
        Ok(row.map(|row| PlacedHeader { header: row.header, hash: *hash, total_work: row.total_work }))
    }

    /// The active chain's header at `height`.
    pub fn header_at(&self, height: u32) -> Result<Option<PlacedHeader>, StoreError> {
        let view = self.store.snapshot();
        header_at(&view, height)
    }

    /// Hash of the active chain's block at `height`.
    pub fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, StoreError> {
        self.store.hash_at(height)
    }

    /// Headers of the active chain from `height` on, at most `max`.
    pub fn headers_from(&self, height: u32, max: usize) -> Result<Vec<Header>, StoreError> {
        headers_from(&self.store.snapshot(), height, max)
    }

    /// Up to `max` headers of the active chain that follow the first block of `locator` in it.
    pub fn headers_after(&self, locator: &[BlockHash], max: usize) -> Result<Vec<Header>, StoreError> {
        let view = self.store.snapshot();
        for hash in locator {
            let Some(row) = view.header_row(hash)? else { continue };
            let height = row.header.core.height;
            if view.hash_at(height)? == Some(*hash) {
                return headers_from(&view, height + 1, max);
            }
        }
        headers_from(&view, 1, max)
    }

    /// A block of any branch, unless its body was pruned.
    pub fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        self.block_bytes(hash)?.map(|bytes| parse("a block", &bytes)).transpose()
    }

    /// The bytes of a block of any branch, unless its body was pruned.
    pub fn block_bytes(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        match self.store.header_row(hash)? {
            Some(row) => self.store.body(row.header.core.height, hash),
            None => Ok(None),
        }
    }

    /// The active chain's block at `height`, unless its body was pruned.
    pub fn block_at(&self, height: u32) -> Result<Option<Block>, StoreError> {
        match self.store.hash_at(height)? {
            Some(hash) => self.store.body(height, &hash)?.map(|bytes| parse("a block", &bytes)).transpose(),
            None => Ok(None),
        }
    }

    /// Where a transaction is; `None` if it is neither in the mempool nor in the active chain.
    pub fn transaction(&self, txid: &TxId) -> Result<Option<TransactionStatus>, StoreError> {
        let view = self.store.snapshot();
        let Some((height, index)) = view.transaction_place(txid)? else {
            return Ok(self.pool.get(txid).map(TransactionStatus::Pooled));
        };
        let block = view.hash_at(height)?.ok_or_else(|| StoreError::corrupt(format!("height {height} is missing")))?;
        let body = view.body(height, &block)?.map(|bytes| parse::<Block>("a block", &bytes)).transpose()?;
        let transaction = body.and_then(|body| body.transactions.into_iter().nth(usize::from(index)));
        Ok(Some(TransactionStatus::Mined { height, block, index, transaction }))
    }

    /// A proof of what `key` holds, or that it holds nothing, under the tip's state root.
    pub fn prove(&self, key: &Key) -> Result<StateProof, StoreError> {
        let view = self.store.snapshot();
        let tip = tip_of(&view)?;
        let path = prove(&SnapshotPages(&view), tip.state_root, key).map_err(tree_error)?;
        let value = view.leaf_bytes(key)?;
        let proof = path.into_proof(value.as_deref()).map_err(StoreError::corrupt)?;
        let header = view.header_row(&tip.hash)?.ok_or_else(|| StoreError::corrupt("the tip's header is missing"))?;
        Ok(StateProof { header: header.header, bytes: proof.to_bytes() })
    }

    /// The header of a block of the active chain, and the peaks over all headers before it. `None` if it is not in the
    /// active chain.
    pub fn start_at(&self, hash: &BlockHash) -> Result<Option<(Header, Peaks)>, StoreError> {
        let view = self.store.snapshot();
        let Some(row) = view.header_row(hash)? else { return Ok(None) };
        let height = row.header.core.height;
        if view.hash_at(height)? != Some(*hash) {
            return Ok(None);
        }
        let missing = |position| StoreError::corrupt(format!("node {position:?} of the history is missing"));
        let peaks = peaks_at(height, |position| view.mmr_node(position)?.ok_or_else(|| missing(position)))?;
        Ok(Some((row.header, peaks)))
    }

    /// The database, for its key-value spaces.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// The chain at one moment, for several reads that belong together. Short-lived: it keeps old rows on disk.
pub struct ChainView<'a>(Snapshot<'a>);

impl ChainView<'_> {
    /// The tip at that moment.
    pub fn tip(&self) -> Result<TipRow, StoreError> {
        tip_of(&self.0)
    }

    /// The entry of a name, whatever its status.
    pub fn name_state(&self, name: &Name) -> Result<Option<NameState>, StoreError> {
        self.0.name_state(name)
    }

    /// The entry at a key.
    pub fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StoreError> {
        self.0.leaf(key)
    }

    /// The active chain's header at `height`.
    pub fn header_at(&self, height: u32) -> Result<Option<PlacedHeader>, StoreError> {
        header_at(&self.0, height)
    }

    /// What the last blocks of the active chain changed, the newest first: the block's parent, and the names as they
    /// were before it. At most `count` blocks, about `max_names` names, and as far as undo data goes.
    pub fn past(&self, count: usize, max_names: usize) -> Result<Vec<(BlockHash, PastNames)>, StoreError> {
        let tip = self.tip()?;
        let mut blocks = Vec::new();
        // Undo data has no name for an entry that was not there before; the state or a later block's has.
        let mut later: HashMap<Key, Name> = HashMap::new();
        let mut total = 0;
        for height in (1..=tip.height).rev().take(count) {
            let (Some(parent), Some(undo)) = (self.header_at(height - 1)?, self.0.undo_row(height)?) else { break };
            let mut names = Vec::new();
            for (key, before) in undo.0 {
                match before {
                    Some(Leaf::Name(state)) => {
                        later.insert(key, state.name.clone());
                        names.push((state.name.clone(), Some(state)));
                    }
                    Some(Leaf::Commit(_)) => {}
                    None => {
                        let name = match later.get(&key) {
                            Some(name) => Some(name.clone()),
                            None => self.leaf(&key)?.and_then(|leaf| leaf.as_name().map(|state| state.name.clone())),
                        };
                        names.extend(name.map(|name| (name, None)));
                    }
                }
            }
            total += names.len();
            if total > max_names {
                break;
            }
            blocks.push((parent.hash, names));
        }
        Ok(blocks)
    }

    /// Height of the active chain's block that holds a transaction.
    pub fn transaction_height(&self, txid: &TxId) -> Result<Option<u32>, StoreError> {
        Ok(self.0.transaction_place(txid)?.map(|(height, _)| height))
    }
}

/// Names before a block; `None` where there was none.
pub type PastNames = Vec<(Name, Option<NameState>)>;

/// Pages of a frozen view.
struct SnapshotPages<'a>(&'a Snapshot<'a>);

impl PageSource for SnapshotPages<'_> {
    type Error = StoreError;

    fn page(&self, path: &PagePath) -> Result<Option<Page>, StoreError> {
        self.0.page_row(path)
    }
}

/// Visits the names whose keys, which are evenly spread, lie in this share of all.
fn visit_share(
    view: &Snapshot<'_>,
    (index, shares): (usize, usize),
    mut visit: impl FnMut(NameState) -> Flow,
) -> Result<(), StoreError> {
    // Keys begin with 16 bits of a hash. What follows the last share's begin has no end.
    let border = |index: usize| match index * (1 << 16) / shares {
        first if first < 1 << 16 => (first as u16).to_be_bytes().to_vec(),
        _ => Vec::new(),
    };
    let range = (&*border(index), &*border(index + 1));
    view.sweep(Table::Names, range, &mut |_, bytes| match parse("an entry", bytes)? {
        Leaf::Name(state) => Ok(visit(state)),
        Leaf::Commit(_) => Ok(ControlFlow::Continue(())),
    })
}

fn tip_of(view: &impl Read) -> Result<TipRow, StoreError> {
    view.tip_row()?.ok_or_else(|| StoreError::corrupt("the tip record is missing"))
}

fn header_at(view: &impl Read, height: u32) -> Result<Option<PlacedHeader>, StoreError> {
    let Some(hash) = view.hash_at(height)? else { return Ok(None) };
    let row = view.header_row(&hash)?;
    Ok(row.map(|row| PlacedHeader { header: row.header, hash, total_work: row.total_work }))
}

fn headers_from(view: &impl Read, height: u32, max: usize) -> Result<Vec<Header>, StoreError> {
    let mut hashes = Vec::new();
    view.scan(Table::Heights, (&height.to_be_bytes(), &[]), Direction::Up, &mut |_, bytes| {
        if hashes.len() < max {
            hashes.push(BlockHash(fixed("a block hash", bytes)?));
        }
        Ok(go_on_while(hashes.len() < max))
    })?;
    let header = |hash: &BlockHash| {
        let row = view.header_row(hash)?;
        Ok(row.ok_or_else(|| StoreError::corrupt(format!("header {hash} is missing")))?.header)
    };
    hashes.iter().map(header).collect()
}

/// The first name at or behind `from` that begins with `prefix`.
fn first_name(view: &impl Read, from: &[u8], prefix: &str) -> Result<Option<Name>, StoreError> {
    let mut found = None;
    view.scan(Table::History, (from, &[]), Direction::Up, &mut |key, _| {
        let end = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
        found = Some(name_in(&key[..end])?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found.filter(|name: &Name| name.as_str().starts_with(prefix)))
}

/// A key behind every row of this name, and before every later name: the smallest byte of a name is `-`.
fn behind(name: Option<&Name>) -> Vec<u8> {
    name.map(|name| [name.as_bytes(), &[1]].concat()).unwrap_or_default()
}

fn after_owner(owner: &PolicyHash) -> Vec<u8> {
    // Names are made of ASCII, so nothing of this owner is at or behind 0xff.
    [owner.as_ref(), &[u8::MAX]].concat()
}

fn name_in(bytes: &[u8]) -> Result<Name, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(StoreError::corrupt)?;
    Name::new(text).map_err(StoreError::corrupt)
}

fn cause_of(bytes: &[u8]) -> Result<HistoryCause, StoreError> {
    match bytes {
        [0] => Ok(HistoryCause::Deleted),
        [type_id, ids @ ..] if ids.len() == 64 => Ok(HistoryCause::Transaction {
            type_id: *type_id,
            txid: TxId(fixed("a history entry", &ids[..32])?),
            wtxid: ledger::hash::WitnessTxId(fixed("a history entry", &ids[32..])?),
        }),
        _ => Err(StoreError::corrupt("a history entry is malformed")),
    }
}

fn go_on_while(more: bool) -> Flow {
    if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
