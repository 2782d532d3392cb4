//! The chain thread's care for the mempool: taking transactions in, bringing the pool up to date with the chain, and
//! keeping it across restarts.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use ledger::{
    codec::encode,
    hash::{Key, TxId},
    rules::apply::touched_keys,
    rules::{
        context::anchor_height_is_allowed,
        transaction::{AnchorBlock, CheckedTransaction, Stated, check_work},
    },
    transaction::{Body, Transaction},
};

use crate::{
    headers::with_scratch,
    mempool::{Admission, Candidate, PoolRefusal, PoolTransaction, Removal, Room, TxOrigin, Verdict},
    store::{Direction, Durability, PoolRow, Read, Rows, Table, parse},
};

use super::{
    event::ChainEvent,
    mailbox::{Message, OWN_CHECKS, TransactionChecked, Waiter, send_back},
    stats::{add, set},
    thread::Chain,
    types::TxRejection,
};

/// Own checks waiting: two full blocks. Transactions beyond that are dropped; their senders still have them.
const OWN_QUEUE: usize = 4_096;
/// Transactions asked about again after each block, those that the block touched first and all of them: some 40 ms.
const RECHECK: usize = 2_048;

/// What is known of a transaction before its signatures and its work are checked.
struct Admissible {
    anchor: AnchorBlock,
    room: Room,
}

impl Chain {
    /// Looks at a transaction, cheapest first, and gives it to a worker.
    pub(super) fn transaction(&mut self, transaction: Transaction, origin: TxOrigin, waiter: Waiter) {
        match self.admissible(&transaction, origin) {
            Ok(admissible) => self.dispatch(transaction, admissible, origin, waiter),
            Err(rejection) => self.reject(rejection, waiter),
        }
    }

    fn dispatch(&self, transaction: Transaction, admissible: Admissible, origin: TxOrigin, waiter: Waiter) {
        let (params, chain_id, known) = (self.core.params, self.core.chain_id, self.core.known.clone());
        let Admissible { anchor, room } = admissible;
        let back = self.back.clone();
        let job = move || {
            let result = match known.find(&transaction, &anchor) {
                Some(checked) => Ok(checked),
                None => with_scratch(|scratch| {
                    let worked =
                        check_work(params, &chain_id, transaction, &anchor, scratch).map_err(TxRejection::Violation)?;
                    // Signatures cost more than this comparison, and nothing is lost: it would be refused anyway.
                    room.admits(worked.work_ratio())?;
                    worked.verify(&chain_id).map_err(TxRejection::Violation)
                }),
            };
            send_back(&back, Message::TransactionChecked(Box::new(TransactionChecked { result, origin, waiter })));
        };
        self.transaction_workers.submit(Box::new(job));
    }

    /// What can be said of a transaction without signatures and work (protocol §10): whether its anchor is on this
    /// chain, whether the state would take it, and whether there is a place for it.
    fn admissible(&mut self, transaction: &Transaction, origin: TxOrigin) -> Result<Admissible, TxRejection> {
        let (txid, wtxid) = (transaction.txid(), transaction.wtxid());
        if self.pool.knows(&txid, &wtxid) {
            return Err(PoolRefusal::Known.into());
        }
        let anchor = self.anchor_of(transaction)?;
        let stated = Stated::of(transaction, anchor.hash);
        let verdict = self.judge(stated, &txid)?;
        let candidate = Candidate { transaction, txid, wtxid, purpose: verdict.purpose, origin };
        let room = match self.pool.room_for(&candidate) {
            // Those that hold the places may have become stale without a block having touched the name.
            Err(PoolRefusal::LaterReveal { .. } | PoolRefusal::CommitTaken) | Ok(Room { least_ratio: 1.., .. }) => {
                self.recheck_rivals(transaction);
                self.pool.room_for(&candidate)
            }
            room => room,
        };
        Ok(Admissible { anchor, room: room? })
    }

    fn anchor_of(&self, transaction: &Transaction) -> Result<AnchorBlock, TxRejection> {
        let at = transaction.anchor();
        let next = self.core.tip().height + 1;
        anchor_height_is_allowed(self.core.params, next, transaction).map_err(TxRejection::Violation)?;
        if matches!(transaction.body(), Body::Reveal { .. }) {
            // Every node knows genesis, so another anchor is a broken rule; `check_work` says so.
            return self.core.active_anchor(0).ok_or(TxRejection::UnknownAnchor { height: 0 });
        }
        let anchor = self.core.active_anchor(at.height).filter(|anchor| at.matches(&anchor.hash));
        anchor.ok_or(TxRejection::UnknownAnchor { height: at.height })
    }

    /// Judges a transaction against the tip. One that breaks a rule because it is in the chain already is told so:
    /// only then is it looked for, since an id may stand in a chain twice (protocol §4.1).
    fn judge(&mut self, stated: Stated<'_>, txid: &TxId) -> Result<Verdict, TxRejection> {
        let judged = self.core.judge_next(stated);
        let violation = match self.checked(judged)? {
            Ok(verdict) => return Ok(verdict),
            Err(violation) => violation,
        };
        let place = self.core.store.transaction_place(txid);
        match self.checked(place)? {
            Some((height, _)) => Err(TxRejection::Mined { height }),
            None => Err(TxRejection::Violation(violation)),
        }
    }

    /// Judges again what stands in the way of a transaction: a name has some twenty places. Only a new tip changes what
    /// they are worth, so once per tip is enough, and a flood for one name costs nothing more.
    fn recheck_rivals(&mut self, transaction: &Transaction) {
        let tip = self.core.tip().hash;
        if self.rivals_rechecked.0 != tip {
            self.rivals_rechecked = (tip, BTreeSet::new());
        }
        let mut keys = touched_keys([transaction], &self.core.chain_id);
        keys.retain(|key| self.pool.has_any_at(key) && self.rivals_rechecked.1.insert(*key));
        if keys.is_empty() {
            return;
        }
        let most = self.pool.count_at(&keys);
        let removed = self.recheck(&keys, most);
        let left: Vec<_> = removed.iter().map(|(entry, _)| entry.clone()).collect();
        if left.is_empty() {
            return;
        }
        self.persist(None, &left);
        for (entry, reason) in removed {
            self.send_event(ChainEvent::TransactionRemoved { txid: entry.txid(), reason });
        }
    }

    fn recheck(&mut self, keys: &BTreeSet<Key>, most: usize) -> Vec<(Arc<PoolTransaction>, Removal)> {
        let due = self.core.next_height_and_due();
        let Ok((height, due)) = self.checked(due) else { return Vec::new() };
        let (core, mut failed) = (&self.core, None);
        let removed = self.pool.recheck(keys, most, |entry| {
            core.judge_at(entry.checked.stated(), height, &due).unwrap_or_else(|error| {
                failed = Some(error);
                Ok(entry.verdict())
            })
        });
        failed.iter().for_each(|error| self.note(error));
        removed
    }

    pub(super) fn transaction_checked(&mut self, checked: TransactionChecked) {
        let TransactionChecked { result, origin, waiter } = checked;
        let admitted = result.and_then(|checked| self.admit_checked(checked, origin));
        match admitted {
            Ok(txid) => {
                add(&self.core.stats.transactions_accepted, 1);
                if let Waiter::Caller(reply, _permit) = waiter {
                    drop(reply.send(Ok(txid)));
                } else {
                    self.own_under_way -= 1;
                }
            }
            Err(rejection) => {
                self.own_under_way -= usize::from(matches!(waiter, Waiter::Own));
                self.reject(rejection, waiter);
            }
        }
    }

    /// Judges a checked transaction against the tip, which may have moved meanwhile, and takes it in.
    fn admit_checked(&mut self, checked: CheckedTransaction, origin: TxOrigin) -> Result<TxId, TxRejection> {
        let txid = checked.txid();
        let verdict = self.judge(checked.stated(), &txid)?;
        let admission = Admission { origin, now: (self.clock)(), verdict };
        let (entry, left) = self.pool.insert(checked, admission)?;
        self.persist(Some(&entry), &left);
        for gone in left {
            self.send_event(ChainEvent::TransactionRemoved { txid: gone.txid(), reason: Removal::Evicted });
        }
        self.send_event(ChainEvent::TransactionAdded(entry));
        Ok(txid)
    }

    fn reject(&mut self, rejection: TxRejection, waiter: Waiter) {
        add(&self.core.stats.transactions_rejected, 1);
        tracing::debug!(code = rejection.code(), %rejection, "transaction_rejected");
        if let Waiter::Caller(reply, _permit) = waiter {
            drop(reply.send(Err(rejection)));
        }
    }

    /// Writes what entered and what left. Losing this in a crash costs some gossip, so an error is only reported.
    fn persist(&mut self, entered: Option<&PoolTransaction>, left: &[Arc<PoolTransaction>]) {
        self.revision += 1;
        set(&self.core.stats.mempool_transactions, self.pool.count() as u64);
        set(&self.core.stats.mempool_bytes, self.pool.bytes() as u64);
        let mut batch = self.core.store.batch();
        left.iter().for_each(|entry| batch.delete(Table::Pool, entry.wtxid()));
        if let Some(entry) = entered {
            let row = PoolRow {
                added_at: entry.added_at,
                is_local: u8::from(entry.origin == TxOrigin::Local),
                transaction: encode(entry.transaction()),
            };
            batch.put(Table::Pool, entry.wtxid(), encode(&row));
        }
        if let Err(error) = batch.write(Durability::Buffered) {
            tracing::warn!(%error, "mempool_not_persisted");
        }
    }

    /// Takes mined transactions out of the mempool, queues those that came free, and returns all that blocks touched.
    pub(super) fn follow_events(&mut self, events: &[ChainEvent]) -> Touched {
        let mut touched = Touched::default();
        for event in events {
            match event {
                // While catching up the pool is empty, and there is nothing to look for.
                ChainEvent::Connected(_) if self.pool.count() == 0 => {}
                ChainEvent::Connected(connected) => {
                    let transactions = &connected.block.transactions;
                    touched.keys.extend(touched_keys(transactions, &self.core.chain_id));
                    let height = connected.tip.height;
                    for entry in transactions.iter().filter_map(|tx| self.pool.remove(&tx.txid())) {
                        touched.removed.push((entry, Removal::Mined { height }));
                    }
                }
                ChainEvent::Disconnected(gone) => {
                    touched.has_left_blocks = true;
                    touched.keys.extend(touched_keys(&gone.transactions, &self.core.chain_id));
                    let room = OWN_QUEUE.saturating_sub(self.own.len());
                    self.own.extend(gone.transactions.iter().take(room).cloned());
                }
                ChainEvent::TransactionAdded(_) | ChainEvent::TransactionRemoved { .. } | ChainEvent::Alarm(_) => {}
            }
        }
        touched
    }

    pub(super) fn bring_pool_up_to_date(&mut self, touched: &Touched) -> Vec<(TxId, Removal)> {
        let mut removed = touched.removed.clone();
        let next = self.core.tip().height + 1;
        let mut gone = self.pool.expire(next);
        if touched.has_left_blocks {
            let core = &self.core;
            gone.extend(self.pool.leave_branch(|height| core.active_anchor(height).map(|anchor| anchor.hash)));
        }
        removed.extend(gone.into_iter().map(|entry| (entry, Removal::AnchorGone)));
        let mut keys = touched.keys.clone();
        keys.extend(self.pool.ripe_at(next));
        let most = RECHECK.max(self.pool.count_at(&keys));
        removed.extend(self.recheck(&keys, most));
        let left: Vec<_> = removed.iter().map(|(entry, _)| entry.clone()).collect();
        if !left.is_empty() {
            self.persist(None, &left);
        }
        removed.into_iter().map(|(entry, reason)| (entry.txid(), reason)).collect()
    }

    /// Judges transactions that the node itself puts back, a few at a time.
    pub(super) fn put_back(&mut self) {
        while self.own_under_way < OWN_CHECKS {
            let Some(transaction) = self.own.pop_front() else { break };
            match self.admissible(&transaction, TxOrigin::Local) {
                Ok(admissible) => {
                    self.own_under_way += 1;
                    self.dispatch(transaction, admissible, TxOrigin::Local, Waiter::Own);
                }
                Err(rejection) => self.drop_row(&transaction, &rejection),
            }
        }
    }

    /// Forgets the row of a transaction of the last run that has no place any more.
    fn drop_row(&self, transaction: &Transaction, rejection: &TxRejection) {
        tracing::debug!(code = rejection.code(), "transaction_not_put_back");
        if matches!(rejection, TxRejection::Pool(PoolRefusal::Known)) {
            return;
        }
        let mut batch = self.core.store.batch();
        batch.delete(Table::Pool, transaction.wtxid());
        if let Err(error) = batch.write(Durability::Buffered) {
            tracing::warn!(%error, "mempool_not_persisted");
        }
    }

    /// Queues the mempool of the last run. It is judged like anything from outside.
    pub(super) fn reload_pool(&mut self) {
        let mut rows: Vec<(u64, Transaction)> = Vec::new();
        let read = self.core.store.scan(Table::Pool, (&[], &[]), Direction::Up, &mut |_, bytes| {
            let row: PoolRow = parse("a transaction of the mempool", bytes)?;
            if let Ok(transaction) = ledger::codec::decode(&row.transaction) {
                rows.push((row.added_at, transaction));
            }
            Ok(ControlFlow::Continue(()))
        });
        if let Err(error) = read {
            tracing::warn!(%error, "mempool_not_reloaded");
        }
        rows.sort_by_key(|(added_at, _)| *added_at);
        self.own.extend(rows.into_iter().map(|(_, transaction)| transaction));
    }
}

/// What blocks did to the mempool.
#[derive(Default)]
pub(super) struct Touched {
    keys: BTreeSet<Key>,
    /// Whether blocks were taken back, and with them perhaps anchors.
    has_left_blocks: bool,
    removed: Vec<(Arc<PoolTransaction>, Removal)>,
}
