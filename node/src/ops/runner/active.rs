//! One operation in memory: its record and the search under way for it.

use std::time::{SystemTime, UNIX_EPOCH};

use ledger::transaction::{Anchor, Body, Share, Transaction};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{
    miner::{ProgressHandle, Ticket, WorkOrder, WorkProgress},
    ops::{
        handle::View,
        id::OpId,
        record::{AnchorRef, ChangePlan, Plan, Record, RegisterPlan, RenewPlan},
        rules::Rules,
        state::OperationState,
    },
};

/// A share that was found.
pub(super) struct Worked {
    pub(super) id: OpId,
    pub(super) order: WorkOrder,
    pub(super) share: Share,
}

/// See the module.
pub(super) struct Active {
    pub(super) record: Record,
    search: Option<Search>,
    /// Evaluations of searches for anchors that were given up.
    hashes_before: u64,
}

struct Search {
    order: WorkOrder,
    progress: ProgressHandle,
    task: AbortHandle,
    /// What was found, until it is on disk: it may have cost hours.
    share: Option<Share>,
}

impl Drop for Search {
    fn drop(&mut self) {
        // The task holds the ticket, and dropping that cancels the order.
        self.task.abort();
    }
}

impl Active {
    pub(super) fn new(record: Record) -> Self {
        Self { record, search: None, hashes_before: 0 }
    }

    pub(super) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    pub(super) fn is_searching_for(&self, order: &WorkOrder) -> bool {
        self.search.as_ref().is_some_and(|search| search.order == *order)
    }

    /// Waits for the ticket's share in a task of its own.
    pub(super) fn search(&mut self, order: WorkOrder, mut ticket: Ticket, out: mpsc::Sender<Worked>) {
        self.stop_search();
        let (id, progress) = (self.record.id, ticket.progress());
        let task = tokio::spawn(async move {
            if let Ok(share) = ticket.share().await {
                // A closed receiver means that the runner has stopped; the search starts again with it.
                let _ = out.send(Worked { id, order, share }).await;
            }
        });
        self.search = Some(Search { order, progress, task: task.abort_handle(), share: None });
    }

    pub(super) fn stop_search(&mut self) {
        if let Some(search) = self.search.take() {
            self.hashes_before += search.progress.read().hashes;
        }
    }

    /// The search has found what it was for.
    pub(super) fn end_search(&mut self) {
        self.search = None;
        self.hashes_before = 0;
    }

    /// Keeps a share, if it is the one searched for now.
    pub(super) fn keep_share(&mut self, found: &Worked) {
        if let Some(search) = self.search.as_mut().filter(|search| search.order == found.order) {
            search.share = Some(found.share);
        }
    }

    /// Whether a share is kept that is not in the record.
    pub(super) fn has_share(&self) -> bool {
        self.search.as_ref().is_some_and(|search| search.share.is_some())
    }

    /// The record with the share that is kept in its place.
    pub(super) fn with_share(&self, rules: &Rules) -> Option<Record> {
        let search = self.search.as_ref()?;
        let (share, wanted) = (search.share?, search.order.share_commit);
        let pays_for = |body: &Body, anchor: &AnchorRef| rules.share_commit(body, anchor) == wanted;
        let pays_for_change = |change: &ChangePlan| pays_for(change.transaction.body(), &change.anchor);
        let plan = match &self.record.plan {
            Plan::Register(plan) => Plan::Register(match &plan.correction {
                Some(change) if pays_for_change(change) => {
                    RegisterPlan { correction: Some(worked(change, share)?), ..plan.clone() }
                }
                Some(_) | None => {
                    let body = plan.terms(&rules.chain_id).commit_body();
                    pays_for(&body, &plan.commit_anchor).then_some(())?;
                    RegisterPlan { commit: Some(unsigned(&plan.commit_anchor, body, share)?), ..plan.clone() }
                }
            }),
            Plan::Change(plan) if pays_for_change(plan) => Plan::Change(worked(plan, share)?),
            Plan::Renew(plan) if pays_for(&plan.body(), &plan.anchor) => {
                Plan::Renew(RenewPlan { renewal: Some(unsigned(&plan.anchor, plan.body(), share)?), ..plan.clone() })
            }
            Plan::Change(_) | Plan::Renew(_) => return None,
        };
        Some(Record { plan, ..self.record.clone() })
    }

    pub(super) fn view(&self, height: u32) -> View {
        let progress = self.search.as_ref().map(|search| {
            let now = search.progress.read();
            WorkProgress { hashes: now.hashes + self.hashes_before, ..now }
        });
        let expected_hashes = self.search.as_ref().map_or(0, |search| search.order.required_work);
        View { record: self.record.clone(), progress: progress.filter(|_| self.is_working()), expected_hashes, height }
    }

    fn is_working(&self) -> bool {
        // More work is searched for behind what is published when the mempool has no place for it.
        matches!(self.record.state, OperationState::Working | OperationState::Broadcast)
    }
}

fn unsigned(anchor: &AnchorRef, body: Body, share: Share) -> Option<Transaction> {
    Transaction::new(Anchor::to_block(anchor.height, &anchor.hash), body, Some(share), None)
}

fn worked(plan: &ChangePlan, share: Share) -> Option<ChangePlan> {
    let old = &plan.transaction;
    let transaction = Transaction::new(old.anchor(), old.body().clone(), Some(share), old.witness().cloned())?;
    Some(ChangePlan { transaction, is_worked: true, ..plan.clone() })
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    unix_ms() / 1_000
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}
