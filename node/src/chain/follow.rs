//! Which chain is followed (protocol §7): the best valid one, unless it forks off too deep or an operator decides
//! otherwise; and the way there, block by block.

use std::sync::atomic::Ordering::Relaxed;

use ledger::{
    fork::{self, Choice, Fork},
    hash::BlockHash,
    rules::Violation,
};

use crate::store::{Read, StoreError, Table};

use super::{
    connect::Broken, core::ChainCore, event::Alarm, index::Id, owners::Owners, stats::add, types::AdoptRefusal,
};

impl ChainCore {
    /// Makes the best valid chain the active one. Returns how many blocks were disconnected, and what was found to
    /// break a rule on the way.
    pub(super) fn follow_best(&mut self) -> Result<(u32, Vec<(Id, Violation)>), StoreError> {
        let (mut depth, mut broken) = (0, Vec::new());
        loop {
            while let Some(candidate) = self.index.candidate() {
                if !self.may_switch(candidate)? {
                    self.index.refuse(candidate);
                    self.keep_bodies(candidate)?;
                    continue;
                }
                depth += self.switch_to(candidate, &mut broken)?;
            }
            // The tip has moved on, and with it what a branch that was refused needs.
            let Some(ripe) = self.ripe_refused()? else { return Ok((depth, broken)) };
            self.index.offer_again(ripe);
        }
    }

    /// A candidate that was refused, and would not be now.
    fn ripe_refused(&self) -> Result<Option<Id>, StoreError> {
        let refused: Vec<_> = self.index.refused_above(self.index.work(self.index.tip())).collect();
        for candidate in refused {
            if self.refusal(candidate)?.is_none() {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// Switches to the chain that ends in `hash` whatever its depth, if it has more work: an operator's decision.
    /// Returns how many blocks were disconnected.
    pub fn adopt_fork(&mut self, hash: &BlockHash) -> Result<Result<u32, AdoptRefusal>, StoreError> {
        let id = match self.adoptable(hash)? {
            Ok(id) => id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let depth = self.switch_to(id, &mut Vec::new())?;
        // What stands on it may be heavier still; and if a block of it broke a rule, another chain may be.
        self.follow_best()?;
        Ok(match self.index.is_active(id) {
            true => Ok(depth),
            false if self.index.is_invalid(id) => Err(AdoptRefusal::Invalid),
            false => Err(AdoptRefusal::Incomplete),
        })
    }

    fn adoptable(&self, hash: &BlockHash) -> Result<Result<Id, AdoptRefusal>, StoreError> {
        let Some(id) = self.index.find(hash) else { return Ok(Err(AdoptRefusal::Unknown)) };
        let refusal = if self.index.is_active(id) {
            AdoptRefusal::Active
        } else if self.index.is_invalid(id) {
            AdoptRefusal::Invalid
        } else if self.index.work(id) <= self.index.work(self.index.tip()) {
            AdoptRefusal::NotHeavier
        } else if !self.index.is_complete(id) {
            AdoptRefusal::Incomplete
        } else if !self.can_go_back_to(self.index.fork_point(id))? {
            AdoptRefusal::BelowUndo
        } else {
            return Ok(Ok(id));
        };
        Ok(Err(refusal))
    }

    /// Fork choice (protocol §7), and whether the way back is still known.
    fn may_switch(&mut self, candidate: Id) -> Result<bool, StoreError> {
        let (tip, fork) = (self.index.tip(), self.index.fork_point(candidate));
        if fork == tip {
            return Ok(true);
        }
        if let Some(alarm) = self.refusal(candidate)? {
            self.tell_of_branch(candidate, alarm);
            return Ok(false);
        }
        let fork_height = self.index.height(fork);
        match fork::choose(self.params, &self.fork(candidate, fork_height)) {
            Choice::Stay | Choice::RefuseDeep => return Ok(false),
            Choice::Adopt => {}
            Choice::AdoptDeep => {
                let depth = self.index.height(tip) - fork_height;
                self.alarm(Alarm::DeepReorg { fork_height, depth });
            }
        }
        Ok(true)
    }

    /// Why a chain with more work than the tip's is not followed; `None` if it is, or has no more work.
    fn refusal(&self, candidate: Id) -> Result<Option<Alarm>, StoreError> {
        let (tip, fork) = (self.index.tip(), self.index.fork_point(candidate));
        let (fork_height, hash) = (self.index.height(fork), self.index.hash(candidate));
        if fork == tip {
            return Ok(None);
        }
        Ok(match fork::choose(self.params, &self.fork(candidate, fork_height)) {
            Choice::Stay => None,
            Choice::RefuseDeep => Some(Alarm::DeepFork { fork_height, candidate: hash }),
            Choice::Adopt | Choice::AdoptDeep => {
                let known = self.can_go_back_to(fork)?;
                (!known).then_some(Alarm::BelowUndo { fork_height, candidate: hash })
            }
        })
    }

    fn fork(&self, candidate: Id, fork_height: u32) -> Fork {
        let tip = self.index.tip();
        let live = (fork_height + 1..=self.index.height(tip)).filter_map(|at| self.index.active_at(at));
        Fork {
            current_work: self.index.work(tip),
            candidate_work: self.index.work(candidate),
            live_depth: live.filter(|id| self.index.is_live(*id)).count() as u32,
            average_work: self.average_work(),
            outweighed: self.leads.of(&self.index, candidate),
        }
    }

    /// Whether a branch that is heavier than the tip could be switched to if fork choice allows it. If not, its bodies
    /// are of no use, and the operator is told.
    pub(super) fn is_in_reach(&mut self, id: Id) -> Result<bool, StoreError> {
        let fork = self.index.fork_point(id);
        if self.can_go_back_to(fork)? {
            return Ok(true);
        }
        let alarm = Alarm::BelowUndo { fork_height: self.index.height(fork), candidate: self.index.hash(id) };
        self.tell_of_branch(id, alarm);
        Ok(false)
    }

    fn tell_of_branch(&mut self, id: Id, alarm: Alarm) {
        let root = self.index.branch_root(id).unwrap_or(id);
        if self.leads.is_news(root) {
            add(&self.stats.deep_fork_alarms, 1);
            self.alarm(alarm);
        }
    }

    /// Whether every block above `fork` can be taken back.
    fn can_go_back_to(&self, fork: Id) -> Result<bool, StoreError> {
        let (lowest, tip) = (self.index.height(fork) + 1, self.index.height(self.index.tip()));
        Ok(lowest > tip || lowest >= self.kept_from && self.store.get(Table::Undo, &lowest.to_be_bytes())?.is_some())
    }

    /// Moves the tip to `target`, or as near as the rules let it. Returns how many blocks were disconnected.
    fn switch_to(&mut self, target: Id, broken: &mut Vec<(Id, Violation)>) -> Result<u32, StoreError> {
        let fork = self.index.fork_point(target);
        let depth = self.index.height(self.index.tip()) - self.index.height(fork);
        let branch = self.index.branch(target);
        let mut owners = (depth > 0).then(Owners::default);
        while self.index.tip() != fork {
            self.disconnect_tip(&mut owners)?;
        }
        for id in branch {
            match self.connect(id, &mut owners)? {
                Ok(()) => {}
                Err(Broken::BodyGone) => {
                    self.index.lose_body(id);
                    break;
                }
                Err(Broken::Rule(violation)) => {
                    tracing::info!(code = violation.code(), hash = %self.index.hash(id), "block_refused");
                    self.condemn(id, &violation)?;
                    broken.push((id, violation));
                    break;
                }
            }
        }
        if let Some(owners) = owners {
            self.finish_reorg(depth, &owners)?;
        }
        Ok(depth)
    }

    /// Counts a reorganisation and names the names that changed hands by it.
    fn finish_reorg(&mut self, depth: u32, owners: &Owners) -> Result<(), StoreError> {
        self.store.sync()?;
        add(&self.stats.reorgs, 1);
        self.stats.reorg_depth_max.fetch_max(depth.into(), Relaxed);
        let changed = owners.changed(&self.store)?;
        for name in &changed {
            tracing::warn!(%name, "reorg_owner_change");
        }
        add(&self.stats.reorg_owner_changes, changed.len() as u64);
        tracing::info!(depth, height = self.tip_header.core.height, owner_changes = changed.len(), "reorg");
        Ok(())
    }
}
