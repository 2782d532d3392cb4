//! The runner: takes each operation's next step whenever the chain moved, and keeps the promises of the module.

mod active;
mod cheapest;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ledger::{params::Params, transaction::Transaction};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tracing::{debug, error, info, warn};

use super::{
    admit,
    error::OpsError,
    handle::{COMMANDS, Command, OpsHandle, Published, View},
    id::OpId,
    journal::{Journal, Rows},
    limits::{MAX_ACTIVE, MAX_FINISHED},
    look,
    record::{AnchorRef, Plan, Record},
    request::{Request, ResumeRequest},
    rules::Rules,
    sight::{AnchorBlock, Sight},
    state::{OperationState, TxRole},
    step::{Next, Step, step},
};
use crate::{
    chain::{ChainHandle, TxRejection},
    failure::Failure,
    mempool::{PoolRefusal, TxOrigin},
    miner::{MinerHandle, WorkOrder},
    store::{Kv, StoreError},
};
use active::{Active, Worked, unix_ms, unix_now};
use cheapest::Cheapest;

/// Shares found and not yet taken: each active operation has one search at most.
const WORKED: usize = MAX_ACTIVE;
/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);
/// Steps that may follow one another without the chain changing; more would be a loop.
const MAX_STEPS: usize = 4;
/// Refusals in a row after which an operation fails: one may be a race with a block or a reorganisation.
const MAX_REFUSALS: u8 = 3;

/// The running operations.
pub struct Ops {
    handle: OpsHandle,
    task: JoinHandle<()>,
}

impl Ops {
    /// Loads what is stored and starts. `synced` says whether the tip is to be believed.
    pub fn start(
        params: &'static Params,
        rows: Kv,
        chain: ChainHandle,
        miner: MinerHandle,
        synced: watch::Receiver<bool>,
    ) -> Result<Self, StoreError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (runner, worked) = Runner::open(params, Box::new(rows), chain, miner, synced)?;
        let handle = OpsHandle { commands, published: runner.published.clone() };
        Ok(Self { handle, task: tokio::spawn(runner.run(inbox, worked)) })
    }

    /// The way to them.
    pub fn handle(&self) -> OpsHandle {
        self.handle.clone()
    }

    /// Stops. Everything is on disk already; searches under way are dropped and start again next time.
    pub async fn shutdown(self) {
        // A closed inbox means that the runner has stopped already.
        let _ = self.handle.commands.send(Command::Shutdown).await;
        if let Err(error) = self.task.await {
            error!(%error, "the operations' runner failed");
        }
    }
}

struct Runner {
    rules: Rules,
    journal: Journal,
    chain: ChainHandle,
    tip: watch::Receiver<Arc<crate::chain::Tip>>,
    miner: MinerHandle,
    synced: watch::Receiver<bool>,
    active: BTreeMap<OpId, Active>,
    cheapest: Cheapest,
    published: Arc<Published>,
    worked_out: mpsc::Sender<Worked>,
}

impl Runner {
    /// Loads what is stored. Shares that are found come out of the second part.
    fn open(
        params: &'static Params,
        rows: Box<dyn Rows>,
        chain: ChainHandle,
        miner: MinerHandle,
        synced: watch::Receiver<bool>,
    ) -> Result<(Self, mpsc::Receiver<Worked>), StoreError> {
        let (worked_out, worked) = mpsc::channel(WORKED);
        let mut runner = Self {
            rules: Rules::new(params),
            journal: Journal::new(rows),
            tip: chain.watch(),
            chain,
            miner,
            synced,
            active: BTreeMap::new(),
            cheapest: Cheapest::default(),
            published: Arc::new(Published::new()),
            worked_out,
        };
        runner.load()?;
        Ok((runner, worked))
    }

    fn load(&mut self) -> Result<(), StoreError> {
        let height = self.chain.tip().height;
        for record in self.journal.load()? {
            let view = View { record: record.clone(), progress: None, expected_hashes: 0, height };
            self.published.views.write().insert(record.id, Arc::new(view));
            if !record.is_settled {
                self.active.insert(record.id, Active::new(record));
            }
        }
        Ok(())
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, mut worked: mpsc::Receiver<Worked>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.advance_all().await;
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Shutdown) | None => return,
                    Some(command) => self.obey(command).await,
                },
                Some(found) = worked.recv() => self.take_share(found).await,
                Ok(()) = self.tip.changed() => self.advance_all().await,
                Ok(()) = self.synced.changed() => self.advance_all().await,
                _ = tick.tick() => {
                    self.write_shares().await;
                    self.tell_progress();
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        // A reply that nobody waits for any more belongs to a connection that was closed.
        match command {
            Command::Start(request, reply) => drop(reply.send(self.start(request).await)),
            Command::Cancel(id, reply) => drop(reply.send(self.cancel(id))),
            Command::Resume(id, request, reply) => drop(reply.send(self.resume(id, request).await)),
            Command::Shutdown => {}
        }
    }

    async fn start(&mut self, request: Request) -> Result<Arc<View>, OpsError> {
        if !*self.synced.borrow() {
            return Err(OpsError::NotSynced);
        }
        let plan = self.plan(request)?;
        let twin = self.active.values().find(|active| is_same(&self.rules, &active.record.plan, &plan));
        let twin = twin.map(|active| active.record.clone());
        if let Some(twin) = twin.as_ref().filter(|twin| twin.state != OperationState::Failed) {
            return Ok(self.view(twin.id));
        }
        if self.active.values().filter(|active| !active.record.state.is_over()).count() >= MAX_ACTIVE {
            return Err(OpsError::TooMany);
        }
        let record = Record::new(OpId::new(unix_ms(), random_bits()?), unix_now(), plan);
        if let Some(failure) = step(&self.rules, &record, &self.look(&record)?).failure {
            return Err(OpsError::Forbidden(failure));
        }
        if let Some(failed) = twin {
            // Two would work for one commit if a reorganisation let the old one go on.
            self.settle(failed)?;
        }
        self.journal.put(&record)?;
        let id = record.id;
        info!(operation = %id, name = %record.name(), action = %record.action(), "operation accepted");
        self.active.insert(id, Active::new(record));
        self.publish(id);
        self.advance(id).await;
        self.settle_oldest();
        self.forget_oldest();
        Ok(self.view(id))
    }

    fn plan(&mut self, request: Request) -> Result<Plan, OpsError> {
        let (cheapest_anchor, reader) = (self.cheapest_anchor()?, self.chain.reader());
        let view = reader.view();
        let grounds = admit::Grounds {
            rules: &self.rules,
            block_at: &|height| look::block_at(&view, height),
            cheapest_anchor,
            name_state: &|name| view.name_state(name),
        };
        admit::plan(&grounds, request)
    }

    fn cancel(&mut self, id: OpId) -> Result<Arc<View>, OpsError> {
        let record = self.open_record(id)?;
        let cancelled = Record { state: OperationState::Cancelled, is_settled: true, updated_at: unix_now(), ..record };
        self.store(cancelled)?;
        self.active.remove(&id);
        Ok(self.view(id))
    }

    async fn resume(&mut self, id: OpId, request: ResumeRequest) -> Result<Arc<View>, OpsError> {
        let record = self.open_record(id)?;
        if record.state == OperationState::Failed {
            return Err(OpsError::WrongState(OperationState::Failed.as_str()));
        }
        if let Some(transaction) = request.transaction {
            let reader = self.chain.reader();
            let block_at = |height| look::block_at(&reader.view(), height);
            let plan = admit::resigned(&self.rules, &record.plan, *transaction, &block_at)?;
            // A share that is found for the old signature's anchor pays for nothing and is dropped when it comes.
            self.store(Record { plan, refusals: 0, failure: None, ..record })?;
        }
        self.advance(id).await;
        Ok(self.view(id))
    }

    /// The record of an operation that can still change; a failed one can, as long as it is watched.
    fn open_record(&self, id: OpId) -> Result<Record, OpsError> {
        match self.active.get(&id) {
            Some(active) if active.record.state != OperationState::Done => Ok(active.record.clone()),
            Some(_) => Err(OpsError::WrongState(OperationState::Done.as_str())),
            None => match self.published.views.read().get(&id) {
                Some(view) => Err(OpsError::WrongState(view.record.state.as_str())),
                None => Err(OpsError::NotFound(id.to_string())),
            },
        }
    }

    async fn take_share(&mut self, found: Worked) {
        let Some(active) = self.active.get_mut(&found.id) else { return };
        active.keep_share(&found);
        if let Err(error) = self.write_share(found.id).await {
            warn!(operation = %found.id, %error, "a share could not be stored; it is kept and stored later");
        }
    }

    /// Stores the share that was found for an operation. Until that has worked, it stays with its search.
    async fn write_share(&mut self, id: OpId) -> Result<(), OpsError> {
        let Some(record) = self.active.get(&id).and_then(|active| active.with_share(&self.rules)) else {
            return Ok(());
        };
        self.store(record)?;
        if let Some(active) = self.active.get_mut(&id) {
            active.end_search();
        }
        self.publish(id);
        self.advance(id).await;
        Ok(())
    }

    /// Stores what could not be stored when it was found.
    async fn write_shares(&mut self) {
        let ids: Vec<OpId> = self.active.iter().filter(|(_, active)| active.has_share()).map(|(id, _)| *id).collect();
        for id in ids {
            if let Err(error) = self.write_share(id).await {
                debug!(operation = %id, %error, "a share could still not be stored");
            }
        }
    }

    async fn advance_all(&mut self) {
        if !*self.synced.borrow_and_update() {
            return;
        }
        self.tip.mark_unchanged();
        let ids: Vec<OpId> = self.active.keys().copied().collect();
        for id in ids {
            self.advance(id).await;
        }
    }

    /// Takes the next steps, if the tip is to be believed: an old one would make up failures. Every way to a step
    /// leads through here; what is put off is made good when the node is synced.
    async fn advance(&mut self, id: OpId) {
        if !*self.synced.borrow() {
            return;
        }
        for _ in 0..MAX_STEPS {
            match self.advance_once(id).await {
                Ok(Pace::Again) => {}
                Ok(Pace::Rest) => return,
                Err(error) => return warn!(operation = %id, %error, "an operation's step failed; it is tried again"),
            }
        }
    }

    async fn advance_once(&mut self, id: OpId) -> Result<Pace, OpsError> {
        let Some(active) = self.active.get(&id) else { return Ok(Pace::Rest) };
        if active.has_share() {
            // Hours of work that are not on disk yet: whatever else could be done waits until they are.
            return Ok(Pace::Rest);
        }
        let record = active.record.clone();
        let sight = self.look(&record)?;
        let taken = step(&self.rules, &record, &sight);
        let record = self.note(record, &taken)?;
        match taken.next {
            Next::Wait => self.stop_search(id),
            Next::Settle => self.settle(record)?,
            Next::Work(order) => self.search(id, order).await?,
            Next::Reanchor(anchor) => return self.reanchor(record, anchor),
            Next::Publish(role, transaction) => {
                let order = self.order_for(role, &transaction, &sight);
                let outcome = self.chain.submit_transaction(*transaction, TxOrigin::Local).await;
                match order.zip(outcome.as_ref().err().and_then(TxRejection::least_ratio)) {
                    // Every place is taken by more work: more of it is searched for, and this is sent again with each
                    // new tip meanwhile (protocol §10).
                    Some((order, ratio)) => self.search(id, order.times(ratio)).await?,
                    None => self.stop_search(id),
                }
                self.judge(record, outcome.err())?;
            }
        }
        Ok(Pace::Rest)
    }

    /// What work a transaction that is published must show.
    fn order_for(&self, role: TxRole, transaction: &Transaction, sight: &Sight) -> Option<WorkOrder> {
        let is_signed = transaction.body().needs_signature();
        let anchor = if is_signed { sight.signed_anchor } else { sight.unsigned_anchor };
        match role {
            TxRole::Commit | TxRole::Change => self.rules.order(transaction.body(), &anchor?),
            TxRole::Reveal => None,
        }
    }

    /// Writes down where the operation stands, if that is new.
    fn note(&mut self, record: Record, taken: &Step) -> Result<Record, OpsError> {
        let mut new = record.clone();
        new.milestones = taken.milestones;
        new.failure = taken.failure.clone();
        if new.state != taken.state {
            new.state = taken.state;
            new.updated_at = unix_now();
            let (operation, name, state) = (new.id, new.name(), new.state.as_str());
            match &new.failure {
                Some(failure) => {
                    warn!(%operation, %name, state, message = failure.message, fix = ?failure.fix, "operation")
                }
                None => info!(%operation, %name, state, "operation"),
            }
        }
        if new != record {
            self.store(new.clone())?;
        } else {
            self.publish(record.id);
        }
        Ok(new)
    }

    fn settle(&mut self, record: Record) -> Result<(), OpsError> {
        let id = record.id;
        self.store(Record { is_settled: true, ..record })?;
        self.active.remove(&id);
        Ok(())
    }

    fn reanchor(&mut self, mut record: Record, anchor: AnchorRef) -> Result<Pace, OpsError> {
        self.stop_search(record.id);
        match &mut record.plan {
            Plan::Register(plan) => (plan.commit_anchor, plan.commit) = (anchor, None),
            Plan::Renew(plan) => (plan.anchor, plan.renewal) = (anchor, None),
            // A signature names its anchor.
            Plan::Change(_) => {}
        }
        self.store(record)?;
        Ok(Pace::Again)
    }

    /// What the chain's answer to something published means.
    fn judge(&mut self, record: Record, rejection: Option<TxRejection>) -> Result<(), OpsError> {
        let refusals = match &rejection {
            None
            | Some(TxRejection::Mined { .. })
            | Some(TxRejection::Pool(PoolRefusal::Known | PoolRefusal::CommitTaken)) => 0,
            // Passing troubles: the next block brings the next attempt.
            Some(TxRejection::UnknownAnchor { .. } | TxRejection::Pool(_) | TxRejection::Unavailable(_)) => {
                record.refusals
            }
            Some(TxRejection::Violation(_)) => record.refusals.saturating_add(1),
        };
        let Some(rejection) = rejection.filter(|_| refusals >= MAX_REFUSALS) else {
            return if refusals == record.refusals { Ok(()) } else { self.store(Record { refusals, ..record }) };
        };
        let failure = Some(Failure::refused(rejection.code(), rejection.to_string()));
        self.settle(Record { state: OperationState::Failed, failure, refusals, updated_at: unix_now(), ..record })
    }

    async fn search(&mut self, id: OpId, order: WorkOrder) -> Result<(), OpsError> {
        let Some(active) = self.active.get_mut(&id) else { return Ok(()) };
        if !active.is_searching_for(&order) {
            let ticket = self.miner.work(order).await?;
            active.search(order, ticket, self.worked_out.clone());
        }
        Ok(())
    }

    fn stop_search(&mut self, id: OpId) {
        if let Some(active) = self.active.get_mut(&id) {
            active.stop_search();
        }
    }

    fn look(&self, record: &Record) -> Result<Sight, OpsError> {
        let reader = self.chain.reader();
        let view = reader.view();
        let cheapest = self.cheapest.at(&view, self.rules.params)?;
        Ok(look::look(&view, &reader.mempool(), &self.rules, record, cheapest)?)
    }

    fn cheapest_anchor(&self) -> Result<AnchorBlock, StoreError> {
        self.cheapest.at(&self.chain.reader().view(), self.rules.params)
    }

    /// Writes a record to disk, then shows it.
    fn store(&mut self, record: Record) -> Result<(), OpsError> {
        self.journal.put(&record)?;
        let id = record.id;
        if let Some(active) = self.active.get_mut(&id) {
            active.record = record;
        }
        self.publish(id);
        Ok(())
    }

    fn publish(&self, id: OpId) {
        let Some(active) = self.active.get(&id) else { return };
        let view = Arc::new(active.view(self.chain.tip().height));
        self.published.views.write().insert(id, view.clone());
        // No subscriber is fine.
        let _ = self.published.events.send(view);
    }

    fn tell_progress(&self) {
        self.active.iter().filter(|(_, active)| active.is_searching()).for_each(|(id, _)| self.publish(*id));
    }

    fn view(&self, id: OpId) -> Arc<View> {
        self.published.views.read().get(&id).cloned().expect("every operation is published when it is stored")
    }

    /// Stops watching the oldest of too many operations that are over.
    fn settle_oldest(&mut self) {
        let over = self.active.values().filter(|active| active.record.state.is_over());
        let records: Vec<Record> = over.map(|active| active.record.clone()).collect();
        for record in records.iter().take(records.len().saturating_sub(MAX_FINISHED)) {
            if let Err(error) = self.settle(record.clone()) {
                warn!(operation = %record.id, %error, "an old operation could not be settled");
            }
        }
    }

    /// Drops the oldest finished operations beyond what is kept.
    fn forget_oldest(&self) {
        let mut views = self.published.views.write();
        let finished: Vec<OpId> = views.iter().filter(|(_, view)| view.record.is_settled).map(|(id, _)| *id).collect();
        for id in finished.iter().take(finished.len().saturating_sub(MAX_FINISHED)) {
            views.remove(id);
            if let Err(error) = self.journal.delete(*id) {
                warn!(operation = %id, %error, "an old operation could not be deleted");
            }
        }
    }
}

/// Whether to step again at once.
enum Pace {
    Again,
    Rest,
}

fn random_bits() -> Result<u128, OpsError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| OpsError::Stopped)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Whether two plans are the same thing asked for twice.
fn is_same(rules: &Rules, a: &Plan, b: &Plan) -> bool {
    match (a, b) {
        (Plan::Register(a), Plan::Register(b)) => {
            a.terms(&rules.chain_id).commit_hash == b.terms(&rules.chain_id).commit_hash
        }
        (Plan::Change(a), Plan::Change(b)) => same_change(&a.transaction, &b.transaction),
        (Plan::Renew(a), Plan::Renew(b)) => (&a.name, a.expires_at) == (&b.name, b.expires_at),
        (Plan::Register(_), Plan::Change(_) | Plan::Renew(_))
        | (Plan::Change(_), Plan::Register(_) | Plan::Renew(_))
        | (Plan::Renew(_), Plan::Register(_) | Plan::Change(_)) => false,
    }
}

fn same_change(a: &Transaction, b: &Transaction) -> bool {
    a.txid() == b.txid() && a.anchor() == b.anchor()
}
