//! The pool itself.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ledger::{
    hash::{BlockHash, Hash, Key, TxId, WitnessTxId},
    params::Params,
    rules::apply::touched_keys,
    rules::{Violation, transaction::CheckedTransaction},
    state::commit_key,
    transaction::{Body, Transaction, commit_hash},
};

use super::{
    Kind, MempoolView, PoolRefusal, PoolTransaction, Purpose, Removal, Standing, TxOrigin, Verdict, entry::Rank,
};

/// How much the pool holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of transactions.
    pub bytes: usize,
    /// Transactions.
    pub count: usize,
    /// The part of the pool that one peer's transactions may take, in percent.
    pub peer_percent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, count: 50_000, peer_percent: 25 }
    }
}

/// A transaction that might come into the pool: what is known of it without its signatures and its work.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// Its id.
    pub txid: TxId,
    /// The id of its exact bytes.
    pub wtxid: WitnessTxId,
    /// What it is for.
    pub purpose: Purpose,
    /// Where it came from.
    pub origin: TxOrigin,
}

/// How a transaction comes into the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Where it came from.
    pub origin: TxOrigin,
    /// The time, in Unix seconds.
    pub now: u64,
    /// What the state says of it.
    pub verdict: Verdict,
}

/// What a candidate must show to be taken now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Work over required work, in 1/256.
    pub least_ratio: u64,
    /// What is said if it shows less.
    pub otherwise: PoolRefusal,
}

impl Room {
    const FREE: Self = Self { least_ratio: 0, otherwise: PoolRefusal::Known };

    /// Whether this ratio is enough.
    pub fn admits(&self, work_ratio: u64) -> Result<(), PoolRefusal> {
        if work_ratio >= self.least_ratio { Ok(()) } else { Err(self.otherwise) }
    }
}

/// A place for a candidate, and who gives way.
struct Place {
    room: Room,
    instead_of: Option<TxId>,
}

impl Place {
    const FREE: Self = Self { room: Room::FREE, instead_of: None };

    fn instead_of(entry: &PoolTransaction, otherwise: impl FnOnce(u64) -> PoolRefusal) -> Self {
        let least_ratio = an_eighth_more(entry.work_ratio());
        Self { room: Room { least_ratio, otherwise: otherwise(least_ratio) }, instead_of: Some(entry.txid()) }
    }
}

/// What a transaction must show to take the place of one with this ratio (protocol §10).
fn an_eighth_more(ratio: u64) -> u64 {
    ratio.saturating_add(ratio.div_ceil(8))
}

/// The pool.
#[derive(Debug)]
pub struct Mempool {
    params: &'static Params,
    chain_id: Hash,
    limits: Limits,
    entries: HashMap<TxId, Arc<PoolTransaction>>,
    /// Every key that some transaction touches, and those transactions.
    by_key: HashMap<Key, Vec<TxId>>,
    by_last_height: BTreeSet<(u32, TxId)>,
    /// REVEALs that wait for their commits, by the height at which those are ripe.
    by_ripe_height: BTreeSet<(u32, TxId)>,
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
            by_last_height: BTreeSet::new(),
            by_ripe_height: BTreeSet::new(),
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

    /// All transactions, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<PoolTransaction>> {
        self.entries.values()
    }

    /// How many transactions there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Who gets in.
impl Mempool {
    /// Whether this very transaction is there, or one with the same id that more work cannot replace.
    pub fn knows(&self, txid: &TxId, wtxid: &WitnessTxId) -> bool {
        self.entries.get(txid).is_some_and(|there| there.wtxid() == *wtxid || there.kind() == Kind::Reveal)
    }

    /// What a candidate must show to be taken now. Needs neither its signatures nor its work, so it is asked before
    /// they are checked.
    pub fn room_for(&self, candidate: &Candidate<'_>) -> Result<Room, PoolRefusal> {
        if let TxOrigin::Peer(peer) = candidate.origin {
            let (count, bytes) = self.by_peer.get(&peer).copied().unwrap_or_default();
            let percent = self.limits.peer_percent;
            if count * 100 >= self.limits.count * percent || bytes * 100 >= self.limits.bytes * percent {
                return Err(PoolRefusal::PeerShare);
            }
        }
        let place = self.place_for(candidate)?;
        if place.instead_of.is_some() { Ok(place.room) } else { self.room_if_full(candidate) }
    }

    /// Which place the candidate would take among those that it competes with.
    fn place_for(&self, candidate: &Candidate<'_>) -> Result<Place, PoolRefusal> {
        if let Some(there) = self.entries.get(&candidate.txid) {
            let is_same = there.wtxid() == candidate.wtxid || there.kind() == Kind::Reveal;
            return if is_same {
                Err(PoolRefusal::Known)
            } else {
                Ok(Place::instead_of(there, |_| PoolRefusal::Known))
            };
        }
        let (kind, body) = (candidate.purpose.kind(), candidate.transaction.body());
        if let Some(other) = self.rival_for_the_commit(body) {
            let both_pay = kind == Kind::Commit && other.kind() == Kind::Commit;
            let place = both_pay.then(|| Place::instead_of(other, |_| PoolRefusal::CommitTaken));
            return place.ok_or(PoolRefusal::CommitTaken);
        }
        let subject = self.subject_of(body);
        let rivals: Vec<_> = self.touching(&subject).filter(|other| other.kind() == kind).collect();
        let places = kind.places();
        if rivals.len() < places {
            return Ok(Place::FREE);
        }
        match candidate.purpose {
            Purpose::Reveal(place) => {
                let precedence = |entry: &PoolTransaction| entry.purpose.reveal().map(|reveal| reveal.precedence);
                let last = rivals.into_iter().max_by_key(|entry| (precedence(entry), entry.number));
                let beaten = last.filter(|last| Some(place.precedence) < precedence(last));
                let place = beaten.map(|last| Place { instead_of: Some(last.txid()), ..Place::FREE });
                place.ok_or(PoolRefusal::LaterReveal { places })
            }
            Purpose::Other(_) => {
                let least = rivals.into_iter().min_by_key(|entry| (entry.work_ratio(), Reverse(entry.number)));
                let refusal = |least_ratio| PoolRefusal::KindFull { places, least_ratio };
                Ok(least.map_or(Place::FREE, |least| Place::instead_of(least, refusal)))
            }
        }
    }

    /// What it takes to get into the pool as a whole.
    fn room_if_full(&self, candidate: &Candidate<'_>) -> Result<Room, PoolRefusal> {
        let has_room = self.entries.len() < self.limits.count
            && self.bytes + candidate.transaction.byte_len() <= self.limits.bytes;
        let Some((kept, ratio, _)) = self.by_rank.keys().next().filter(|_| !has_room) else { return Ok(Room::FREE) };
        let kind = candidate.purpose.kind();
        let least_ratio = ratio.saturating_add(1);
        let otherwise = PoolRefusal::Full { least_ratio };
        match (kind.is_kept_longest(), *kept) {
            (true, false) => Ok(Room::FREE),
            (false, true) => Err(PoolRefusal::Full { least_ratio: u64::MAX }),
            // More work cannot be put under a REVEAL.
            _ if kind == Kind::Reveal => Err(PoolRefusal::Full { least_ratio: u64::MAX }),
            _ => Ok(Room { least_ratio, otherwise }),
        }
    }

    /// Takes a judged transaction. Returns it as it is kept, and what had to leave for it.
    pub fn insert(
        &mut self,
        checked: CheckedTransaction,
        admission: Admission,
    ) -> Result<(Arc<PoolTransaction>, Vec<Arc<PoolTransaction>>), PoolRefusal> {
        let Admission { origin, now, verdict: Verdict { standing, purpose } } = admission;
        let (txid, wtxid) = (checked.txid(), checked.wtxid());
        let candidate = Candidate { transaction: checked.transaction(), txid, wtxid, purpose, origin };
        self.room_for(&candidate)?.admits(checked.work_ratio())?;
        let instead_of = self.place_for(&candidate)?.instead_of;
        let entry = Arc::new(PoolTransaction {
            bytes: checked.transaction().byte_len(),
            added_at: now,
            origin,
            standing,
            purpose,
            subject: self.subject_of(checked.transaction().body()),
            number: self.next_number,
            checked,
        });
        let leaving = self.leaving_for(&entry, instead_of)?;
        let left = leaving.iter().filter_map(|txid| self.remove(txid)).collect();
        self.next_number += 1;
        self.put(entry.clone());
        Ok((entry, left))
    }

    /// Who leaves for `entry`: the one whose place it takes, and then whatever ranks lowest until it fits.
    fn leaving_for(&self, entry: &PoolTransaction, instead_of: Option<TxId>) -> Result<Vec<TxId>, PoolRefusal> {
        let (mut count, mut bytes) = (self.entries.len() + 1, self.bytes + entry.bytes);
        let mut leaving = Vec::new();
        let mut leave = |txid: TxId, count: &mut usize, bytes: &mut usize| {
            *count -= 1;
            *bytes -= self.entries[&txid].bytes;
            leaving.push(txid);
        };
        if let Some(txid) = instead_of {
            leave(txid, &mut count, &mut bytes);
        }
        for (rank, txid) in &self.by_rank {
            if count <= self.limits.count && bytes <= self.limits.bytes {
                break;
            }
            if Some(*txid) == instead_of {
                continue;
            }
            if *rank >= entry.rank() {
                return Err(PoolRefusal::Full { least_ratio: rank.1.saturating_add(1) });
            }
            leave(*txid, &mut count, &mut bytes);
        }
        if count > self.limits.count || bytes > self.limits.bytes {
            return Err(PoolRefusal::Full { least_ratio: u64::MAX });
        }
        Ok(leaving)
    }

    /// The other transaction for the commit that a COMMIT makes or a REVEAL spends.
    fn rival_for_the_commit(&self, body: &Body) -> Option<&Arc<PoolTransaction>> {
        self.touching(&self.commit_key_of(body)?).next()
    }

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

    /// Key of the name; for a COMMIT, which shows none, of the commit. All ROLLs have the same one.
    fn subject_of(&self, body: &Body) -> Key {
        body.name().map(|name| name.key()).or_else(|| self.commit_key_of(body)).unwrap_or(Key::ZERO)
    }

    fn keys_of(&self, entry: &PoolTransaction) -> BTreeSet<Key> {
        let mut keys = touched_keys([entry.transaction()], &self.chain_id);
        keys.insert(entry.subject);
        keys
    }

    fn touching(&self, key: &Key) -> impl Iterator<Item = &Arc<PoolTransaction>> {
        self.by_key.get(key).into_iter().flatten().filter_map(|txid| self.entries.get(txid))
    }
}

/// Keeping the indices.
impl Mempool {
    fn put(&mut self, entry: Arc<PoolTransaction>) {
        let txid = entry.txid();
        for key in self.keys_of(&entry) {
            self.by_key.entry(key).or_default().push(txid);
        }
        self.by_last_height.insert((entry.last_height(self.params), txid));
        if let Standing::WaitsUntil(height) = entry.standing {
            self.by_ripe_height.insert((height, txid));
        }
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
        for key in self.keys_of(&entry) {
            if let Some(there) = self.by_key.get_mut(&key) {
                there.retain(|other| other != txid);
                if there.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        self.by_last_height.remove(&(entry.last_height(self.params), *txid));
        if let Standing::WaitsUntil(height) = entry.standing {
            self.by_ripe_height.remove(&(height, *txid));
        }
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

    /// Notes another verdict; the age stays. A change of kind (the operator became the owner) may fill that kind beyond
    /// its places until something leaves: what was let in once is not thrown out for it.
    fn restate(&mut self, txid: &TxId, verdict: Verdict) {
        if let Some(old) = self.remove(txid) {
            let Verdict { standing, purpose } = verdict;
            self.put(Arc::new(PoolTransaction { standing, purpose, ..(*old).clone() }));
        }
    }
}

/// What time and blocks do.
impl Mempool {
    /// Takes out every transaction that no block from `next_height` on can take.
    pub fn expire(&mut self, next_height: u32) -> Vec<Arc<PoolTransaction>> {
        let gone: Vec<TxId> =
            self.by_last_height.iter().take_while(|(last, _)| *last < next_height).map(|(_, txid)| *txid).collect();
        gone.iter().filter_map(|txid| self.remove(txid)).collect()
    }

    /// Takes out every transaction whose anchor is not the block that `hash_at` names.
    pub fn leave_branch(&mut self, hash_at: impl Fn(u32) -> Option<BlockHash>) -> Vec<Arc<PoolTransaction>> {
        let is_gone =
            |entry: &PoolTransaction| hash_at(entry.transaction().anchor().height) != Some(entry.checked.anchor());
        let gone: Vec<TxId> = self.entries.values().filter(|entry| is_gone(entry)).map(|entry| entry.txid()).collect();
        gone.iter().filter_map(|txid| self.remove(txid)).collect()
    }

    /// Keys of the REVEALs that need no longer wait for a block at `next_height`: nothing else tells of them, since no
    /// block has to touch a commit for it to become ripe.
    pub fn ripe_at(&self, next_height: u32) -> BTreeSet<Key> {
        let ripe = self.by_ripe_height.iter().take_while(|(height, _)| *height <= next_height);
        ripe.filter_map(|(_, txid)| Some(self.entries.get(txid)?.subject)).collect()
    }

    /// Asks `judge` about transactions again, and takes out those that are no longer valid: all that touch one of
    /// `keys`, then others by rank until `most` were asked about.
    pub fn recheck(
        &mut self,
        keys: &BTreeSet<Key>,
        most: usize,
        mut judge: impl FnMut(&PoolTransaction) -> Result<Verdict, Violation>,
    ) -> Vec<(Arc<PoolTransaction>, Removal)> {
        let touched = keys.iter().filter_map(|key| self.by_key.get(key)).flatten();
        let others = self.by_rank.values().rev();
        let mut seen = BTreeSet::new();
        let asked: Vec<TxId> = touched.chain(others).copied().filter(|txid| seen.insert(*txid)).take(most).collect();
        let mut removed = Vec::new();
        for txid in asked {
            let Some(entry) = self.entries.get(&txid) else { continue };
            match judge(entry) {
                Ok(verdict) if verdict == entry.verdict() => {}
                Ok(verdict) => self.restate(&txid, verdict),
                Err(violation) => removed.extend(self.remove(&txid).map(|entry| (entry, Removal::Invalid(violation)))),
            }
        }
        removed
    }

    /// Whether any transaction touches this key.
    pub fn has_any_at(&self, key: &Key) -> bool {
        self.by_key.get(key).is_some_and(|entries| !entries.is_empty())
    }

    /// How many transactions touch these keys; one that touches two of them counts twice.
    pub fn count_at(&self, keys: &BTreeSet<Key>) -> usize {
        keys.iter().filter_map(|key| self.by_key.get(key)).map(Vec::len).sum()
    }
}
