//! The pool itself.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ledger::{
    hash::{Hash, Key, TxId},
    params::Params,
    rules::apply::touched_keys,
    rules::{Violation, transaction::CheckedTransaction},
    state::commit_key,
    transaction::{Body, commit_hash},
};

use super::{MempoolView, PoolRefusal, PoolTransaction, Removal, Standing};
use crate::chain::TxOrigin;

/// How much the pool holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of transactions.
    pub bytes: usize,
    /// Transactions.
    pub count: usize,
    /// Transactions for one name: an owner's change and a correction, twice.
    pub per_name: usize,
    /// The part of the pool that one peer's transactions may take, in percent.
    pub peer_percent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, count: 50_000, per_name: 4, peer_percent: 25 }
    }
}

/// How a transaction comes into the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Where it came from.
    pub origin: TxOrigin,
    /// The time, in Unix seconds.
    pub now: u64,
    /// Whether it can go into the next block.
    pub standing: Standing,
    /// Work shown over work required, in 1/256.
    pub work_ratio: u64,
}

type Rank = (bool, u64, Reverse<u64>);

/// The pool.
#[derive(Debug)]
pub struct Mempool {
    params: &'static Params,
    chain_id: Hash,
    limits: Limits,
    entries: HashMap<TxId, Arc<PoolTransaction>>,
    /// Every key that some transaction touches, and those transactions.
    by_key: HashMap<Key, Vec<TxId>>,
    by_anchor: BTreeSet<(u32, TxId)>,
    by_rank: BTreeMap<Rank, TxId>,
    by_peer: HashMap<u64, (usize, usize)>,
    bytes: usize,
    next_number: u64,
    view: MempoolView,
}

impl Mempool {
    /// An empty pool.
    pub fn new(params: &'static Params, limits: Limits) -> Self {
        Self {
            params,
            chain_id: params.chain_id(),
            limits,
            entries: HashMap::new(),
            by_key: HashMap::new(),
            by_anchor: BTreeSet::new(),
            by_rank: BTreeMap::new(),
            by_peer: HashMap::new(),
            bytes: 0,
            next_number: 0,
            view: MempoolView::default(),
        }
    }

    /// The view that others read.
    pub fn view(&self) -> MempoolView {
        self.view.clone()
    }

    /// The transaction with this id.
    pub fn get(&self, txid: &TxId) -> Option<&Arc<PoolTransaction>> {
        self.entries.get(txid)
    }

    /// How many transactions there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a transaction like this one, by its ids and keys alone, could be taken. Cheap: worth asking before the
    /// dear checks.
    pub fn has_room_for(&self, txid: &TxId, body: &Body, origin: TxOrigin) -> Result<(), PoolRefusal> {
        if self.entries.contains_key(txid) {
            return Err(PoolRefusal::Known);
        }
        if let Some(name) = body.name() {
            let max = self.limits.per_name;
            if self.by_key.get(&name.key()).is_some_and(|there| there.len() >= max) {
                return Err(PoolRefusal::NameFull { max });
            }
        }
        if self.commit_key_of(body).is_some_and(|key| self.by_key.contains_key(&key)) {
            return Err(PoolRefusal::CommitTaken);
        }
        if let TxOrigin::Peer(peer) = origin {
            let (count, bytes) = self.by_peer.get(&peer).copied().unwrap_or_default();
            let percent = self.limits.peer_percent;
            if count * 100 >= self.limits.count * percent || bytes * 100 >= self.limits.bytes * percent {
                return Err(PoolRefusal::PeerShare);
            }
        }
        Ok(())
    }

    /// The commit that a COMMIT makes or a REVEAL spends.
    fn commit_key_of(&self, body: &Body) -> Option<Key> {
        match body {
            Body::Commit { class, commit_hash } => Some(commit_key(*class, commit_hash)),
            Body::Reveal { class, name, salt, owner, .. } => {
                Some(commit_key(*class, &commit_hash(&self.chain_id, salt, owner, name)))
            }
            Body::Update { .. }
            | Body::Transfer { .. }
            | Body::Cancel { .. }
            | Body::Renew { .. }
            | Body::Revoke { .. }
            | Body::Claim { .. }
            | Body::Roll { .. } => None,
        }
    }

    /// Takes a judged transaction. Returns it as it is kept, and what had to leave for it.
    pub fn insert(
        &mut self,
        checked: CheckedTransaction,
        admission: Admission,
    ) -> Result<(Arc<PoolTransaction>, Vec<Arc<PoolTransaction>>), PoolRefusal> {
        self.has_room_for(&checked.txid(), checked.transaction().body(), admission.origin)?;
        let entry = Arc::new(PoolTransaction {
            bytes: checked.transaction().byte_len(),
            added_at: admission.now,
            origin: admission.origin,
            work_ratio: admission.work_ratio,
            standing: admission.standing,
            number: self.next_number,
            checked,
        });
        let evicted = self.make_room_for(&entry)?;
        self.next_number += 1;
        self.put(entry.clone());
        Ok((entry, evicted))
    }

    /// Evicts whatever ranks lowest until `entry` fits; nothing if `entry` itself ranks lowest.
    fn make_room_for(&mut self, entry: &PoolTransaction) -> Result<Vec<Arc<PoolTransaction>>, PoolRefusal> {
        let (mut count, mut bytes, mut leaving) = (self.entries.len() + 1, self.bytes + entry.bytes, Vec::new());
        for (rank, txid) in &self.by_rank {
            if count <= self.limits.count && bytes <= self.limits.bytes {
                break;
            }
            if *rank >= entry.rank() {
                return Err(PoolRefusal::Full);
            }
            count -= 1;
            bytes -= self.entries[txid].bytes;
            leaving.push(*txid);
        }
        if count > self.limits.count || bytes > self.limits.bytes {
            return Err(PoolRefusal::Full);
        }
        Ok(leaving.iter().filter_map(|txid| self.remove(txid)).collect())
    }

    fn put(&mut self, entry: Arc<PoolTransaction>) {
        let txid = entry.txid();
        for key in touched_keys([entry.transaction()], &self.chain_id) {
            self.by_key.entry(key).or_default().push(txid);
        }
        self.by_anchor.insert((entry.transaction().anchor().height, txid));
        self.by_rank.insert(entry.rank(), txid);
        if let TxOrigin::Peer(peer) = entry.origin {
            let (count, bytes) = self.by_peer.entry(peer).or_default();
            *count += 1;
            *bytes += entry.bytes;
        }
        self.bytes += entry.bytes;
        self.view.put(entry.clone(), self.bytes);
        self.entries.insert(txid, entry);
    }

    /// Takes a transaction out.
    pub fn remove(&mut self, txid: &TxId) -> Option<Arc<PoolTransaction>> {
        let entry = self.entries.remove(txid)?;
        for key in touched_keys([entry.transaction()], &self.chain_id) {
            if let Some(there) = self.by_key.get_mut(&key) {
                there.retain(|other| other != txid);
                if there.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        self.by_anchor.remove(&(entry.transaction().anchor().height, *txid));
        self.by_rank.remove(&entry.rank());
        if let TxOrigin::Peer(peer) = entry.origin {
            self.release_share(peer, entry.bytes);
        }
        self.bytes -= entry.bytes;
        self.view.take(txid, self.bytes);
        Some(entry)
    }

    fn release_share(&mut self, peer: u64, length: usize) {
        let Some((count, bytes)) = self.by_peer.get_mut(&peer) else { return };
        *count -= 1;
        *bytes -= length;
        if *count == 0 {
            self.by_peer.remove(&peer);
        }
    }

    /// Takes out every transaction whose anchor is too old for a block at `next_height`.
    pub fn expire(&mut self, next_height: u32) -> Vec<Arc<PoolTransaction>> {
        let oldest = next_height.saturating_sub(self.params.anchor_window);
        let gone: Vec<TxId> =
            self.by_anchor.iter().take_while(|(height, _)| *height < oldest).map(|(_, txid)| *txid).collect();
        gone.iter().filter_map(|txid| self.remove(txid)).collect()
    }

    /// Asks `judge` about transactions again, and takes out those that are no longer valid: all that touch one of
    /// `keys`, then others by age until `most` were asked about.
    pub fn recheck(
        &mut self,
        keys: &BTreeSet<Key>,
        most: usize,
        mut judge: impl FnMut(&CheckedTransaction) -> Result<Standing, Violation>,
    ) -> Vec<(Arc<PoolTransaction>, Removal)> {
        let touched = keys.iter().filter_map(|key| self.by_key.get(key)).flatten();
        let others = self.by_rank.values().rev();
        let mut seen = BTreeSet::new();
        let asked: Vec<TxId> = touched.chain(others).copied().filter(|txid| seen.insert(*txid)).take(most).collect();
        let mut removed = Vec::new();
        for txid in asked {
            let Some(entry) = self.entries.get(&txid) else { continue };
            match judge(&entry.checked) {
                Ok(standing) if standing == entry.standing => {}
                Ok(standing) => self.restate(&txid, standing),
                Err(violation) => removed.extend(self.remove(&txid).map(|entry| (entry, Removal::Invalid(violation)))),
            }
        }
        removed
    }

    fn restate(&mut self, txid: &TxId, standing: Standing) {
        if let Some(entry) = self.entries.get_mut(txid) {
            *entry = Arc::new(PoolTransaction { standing, ..(**entry).clone() });
            self.view.put(entry.clone(), self.bytes);
        }
    }

    /// Transactions for the next block, best first: reveals, then by work, then by age. Waiting ones are left out. Of
    /// those for one name only the lowest sequence number comes, except that all reveals come: which of them has the
    /// best precedence is the caller's to find.
    pub fn candidates(&self) -> impl Iterator<Item = &Arc<PoolTransaction>> {
        self.by_rank.values().rev().filter_map(|txid| self.entries.get(txid)).filter(|entry| self.goes_first(entry))
    }

    fn goes_first(&self, entry: &PoolTransaction) -> bool {
        if entry.standing != Standing::Ready {
            return false;
        }
        let body = entry.transaction().body();
        let (Some(name), Some(seq)) = (body.name(), body.seq()) else { return true };
        let rivals = self.by_key.get(&name.key()).into_iter().flatten();
        let earlier = |txid: &TxId| {
            self.entries.get(txid).and_then(|other| other.transaction().body().seq()).is_some_and(|other| other < seq)
        };
        !rivals.into_iter().any(earlier)
    }
}
