//! Starting: read the tree of headers back, check that the state is the tip's, and go on from there.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use ledger::{
    block::Block,
    codec::encode,
    hash::Hash,
    history::Peaks,
    params::Params,
    rules::header::{HeaderContext, history_leaf},
    state::delta::Change,
    state::tree::{Page, PagePath, PageSource, update, value_hash},
};

use crate::{
    mempool::MempoolView,
    store::{BodyKey, Direction, Durability, HeaderRow, Read, Rows, Store, StoreError, Table, TipRow, fixed, parse},
};

use super::{
    ChainCore, ChainOptions, ChainStats,
    core::contexts,
    index::{Entry, Id, Index, Status},
    known::Known,
    lead::Leads,
    presync::Presync,
    stage,
    state::{State, tree_error},
    waiting::Waiting,
};

/// A damaged state is taken back by at most this many blocks before the database is given up: a batch is written whole
/// or not at all, so more than the last one being wrong means that the disk cannot be trusted.
const ROLL_BACK: u32 = 720;

impl ChainCore {
    /// Opens the chain in `store`; writes the genesis block if there is nothing yet.
    pub fn open(store: Store, params: &'static Params, options: ChainOptions) -> Result<Self, StoreError> {
        Self::open_with(store, params, options, MempoolView::default())
    }

    /// The same, for a node with a mempool: what that has checked is not checked again.
    pub fn open_with(
        store: Store,
        params: &'static Params,
        options: ChainOptions,
        pool: MempoolView,
    ) -> Result<Self, StoreError> {
        if store.tip_row()?.is_none() {
            write_genesis(&store, params)?;
        }
        let tip = settle_tip(&store, params)?;
        let index = load_index(&store, params, &tip)?;
        let leads = Leads::load(&store, &index)?;
        let stats = Arc::new(ChainStats::default());
        let state = State::new(store.clone(), stats.clone(), options.cache_bytes);
        let row = store.header_row(&tip.hash)?;
        let tip_header = row.ok_or_else(|| StoreError::corrupt("the tip's header is missing"))?.header;
        let mut core = Self {
            params,
            chain_id: params.chain_id(),
            options,
            known: Arc::new(Known::new(pool, stats.clone())),
            stats,
            index,
            contexts: contexts(),
            peaks: HashMap::new(),
            state,
            tip_header,
            presync: Presync::default(),
            waiting: Waiting::default(),
            leads,
            events: Vec::new(),
            kept_from: kept_from(&store)?,
            unsynced: 0,
            store,
        };
        core.index.find_best();
        core.follow_best()?;
        tracing::info!(height = core.tip().height, headers = core.index.len(), "chain_open");
        Ok(core)
    }
}

fn write_genesis(store: &Store, params: &Params) -> Result<(), StoreError> {
    let header = params.genesis();
    let hash = header.hash();
    let mut batch = store.batch();
    let total_work = HeaderContext::genesis(params).total_work();
    let row = HeaderRow { header, total_work, status: Status::BODY | Status::VALID };
    batch.put(Table::Headers, hash, encode(&row));
    batch.put(Table::Heights, 0u32.to_be_bytes(), hash);
    batch.put(Table::Bodies, BodyKey(0, hash).to_bytes(), encode(&Block { header, transactions: Vec::new() }));
    for (position, node) in Peaks::new().append(&history_leaf(&header.core, hash)).map_err(StoreError::corrupt)? {
        batch.put(Table::Mmr, position.to_bytes(), encode(&node));
    }
    stage::stage_tip(&mut batch, &header, hash);
    batch.write(Durability::Synced)
}

/// The tip whose state the database holds, after repairing what can be repaired.
fn settle_tip(store: &Store, params: &Params) -> Result<TipRow, StoreError> {
    let mut tip = store.tip_row()?.ok_or_else(|| StoreError::corrupt("the tip record is missing"))?;
    let lowest = tip.height.saturating_sub(ROLL_BACK);
    loop {
        tip_is_on_record(store, &tip)?;
        let root = root_of_pages(store)?;
        if root == tip.state_root {
            return Ok(tip);
        }
        if tip.height <= lowest || tip.height == 0 {
            return Err(StoreError::corrupt(format!(
                "the state tree has root {root}, block {} asks for {}",
                tip.height, tip.state_root
            )));
        }
        tracing::warn!(height = tip.height, "state_rolled_back");
        tip = roll_back(store, params, &tip)?;
    }
}

/// The tip record fits the header that it names and the chain of heights.
fn tip_is_on_record(store: &Store, tip: &TipRow) -> Result<(), StoreError> {
    let row = store.header_row(&tip.hash)?;
    let row = row.ok_or_else(|| StoreError::corrupt("the tip's header is missing"))?;
    let fits = row.header.core.height == tip.height && row.header.ext.state_root == tip.state_root;
    if !fits || row.header.hash() != tip.hash || store.hash_at(tip.height)? != Some(tip.hash) {
        return Err(StoreError::corrupt(format!("the tip record of height {} does not fit its header", tip.height)));
    }
    Ok(())
}

/// The root that the stored pages lead to.
fn root_of_pages(store: &Store) -> Result<Hash, StoreError> {
    Ok(store.page_row(&PagePath::ROOT)?.map_or(Hash::ZERO, |page| page.top().hash()))
}

/// Writes the entries that the tip's undo data holds back. The tree is brought to them from whatever root it has; only
/// if that is then the parent's root was there anything to save.
fn roll_back(store: &Store, params: &Params, tip: &TipRow) -> Result<TipRow, StoreError> {
    let missing = |what: &str| StoreError::corrupt(format!("{what} of height {} is missing", tip.height));
    let undo = store.undo_row(tip.height)?.ok_or_else(|| missing("the undo data"))?;
    let parent = store.hash_at(tip.height - 1)?.ok_or_else(|| missing("the parent"))?;
    let header = store.header_row(&parent)?.ok_or_else(|| missing("the parent's header"))?.header;
    let changes: Vec<_> =
        undo.0.iter().map(|(key, leaf)| (*key, leaf.as_ref().map(|leaf| value_hash(&encode(leaf))))).collect();
    let tree = update(&Pages(store), root_of_pages(store)?, &changes).map_err(tree_error)?;
    if tree.root != header.ext.state_root {
        return Err(StoreError::corrupt(format!("the state of height {} cannot be restored", tip.height - 1)));
    }
    let mut batch = store.batch();
    for (key, after) in undo.0 {
        let change = Change { key, before: store.leaf(&key)?, after };
        stage::stage_changes(&mut batch, params, std::slice::from_ref(&change));
        stage::stage_history_back(&mut batch, tip.height, std::slice::from_ref(&change));
    }
    stage::stage_pages(&mut batch, &tree);
    let body = store.body(tip.height, &tip.hash)?;
    if let Some(block) = body.map(|bytes| parse::<Block>("a block", &bytes)).transpose()? {
        stage::stage_transactions_back(store, &mut batch, tip.height, &block)?;
    }
    batch.delete(Table::Heights, tip.height.to_be_bytes());
    batch.delete(Table::Undo, tip.height.to_be_bytes());
    stage::stage_tip(&mut batch, &header, parent);
    batch.write(Durability::Synced)?;
    Ok(TipRow { height: tip.height - 1, hash: parent, state_root: header.ext.state_root })
}

/// Pages straight from the database.
struct Pages<'a>(&'a Store);

impl PageSource for Pages<'_> {
    type Error = StoreError;

    fn page(&self, path: &PagePath) -> Result<Option<Page>, StoreError> {
        self.0.page_row(path)
    }
}

/// The lowest height above genesis of which undo data, or else a body, is stored; 1 if there is none.
fn kept_from(store: &Store) -> Result<u32, StoreError> {
    // A stray body of a side branch may be older than what is kept; then undo data says where that begins.
    let mut lowest = None;
    for table in [Table::Undo, Table::Bodies] {
        if lowest.is_some() {
            break;
        }
        store.scan(table, (&1u32.to_be_bytes(), &[]), Direction::Up, &mut |key, _| {
            let height = key.first_chunk().map(|height| u32::from_be_bytes(*height));
            let height = height.ok_or_else(|| StoreError::corrupt("a key without a height"))?;
            lowest = Some(height);
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(lowest.unwrap_or(1))
}

/// Every header, parents first, and the connected chain among them.
fn load_index(store: &Store, params: &Params, tip: &TipRow) -> Result<Index, StoreError> {
    let mut entries = load_entries(store)?;
    entries.sort_by_key(|entry| entry.height);
    let genesis = params.genesis_hash();
    let mut rest = entries.into_iter();
    let first = rest.next().filter(|first| first.hash == genesis);
    let mut index = Index::new(first.ok_or_else(|| StoreError::corrupt("the genesis header is missing"))?);
    for entry in rest {
        let orphan = || StoreError::corrupt(format!("the parent of header {} is missing", entry.hash));
        index.insert(entry).ok_or_else(orphan)?;
    }
    let active = load_active(store, &index, tip)?;
    index.restore_active(active);
    Ok(index)
}

fn load_entries(store: &Store) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    store.scan(Table::Headers, (&[], &[]), Direction::Up, &mut |key, bytes| {
        let row: HeaderRow = parse("a header", bytes)?;
        let hash = row.header.hash();
        if key != hash.as_ref() {
            return Err(StoreError::corrupt(format!("another header stands in the place of {hash}")));
        }
        entries.push(Entry::of(&row.header, hash, row.total_work, row.status));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(entries)
}

fn load_active(store: &Store, index: &Index, tip: &TipRow) -> Result<Vec<Id>, StoreError> {
    let mut active: Vec<Id> = Vec::with_capacity(tip.height as usize + 1);
    store.scan(Table::Heights, (&[], &[]), Direction::Up, &mut |key, bytes| {
        let height = u32::from_be_bytes(fixed("a height", key)?);
        let broken = || StoreError::corrupt(format!("the chain is broken at height {height}"));
        let id = index.find(&fixed("a block hash", bytes)?.into()).ok_or_else(broken)?;
        if height as usize != active.len() || index.parent(id) != active.last().copied() {
            return Err(broken());
        }
        active.push(id);
        Ok(ControlFlow::Continue(()))
    })?;
    if active.last().map(|id| index.hash(*id)) != Some(tip.hash) {
        return Err(StoreError::corrupt("the chain does not end at the tip"));
    }
    Ok(active)
}
