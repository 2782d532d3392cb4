//! The chain as synchronisation looks at it.

use std::collections::HashMap;

use ledger::hash::BlockHash;

use crate::store::StoreError;

use super::{
    core::ChainCore,
    index::Id,
    sight::{Point, Sight, View, WantedBranch},
};

/// The least number of missing bodies that one of many branches is looked at for.
const LEAST_SHARE: usize = 16;

impl ChainCore {
    /// The chain as synchronisation looks at it, with what `claims` come to: the hashes of blocks that others say they
    /// have. Of all branches together some `window` missing bodies are named, of each a fair share.
    pub fn view(&mut self, claims: &[BlockHash], window: usize) -> Result<View, StoreError> {
        let tip = self.index.tip();
        let mut wanted = Vec::new();
        for hash in claims {
            let Some(id) = self.index.find(hash) else { continue };
            let heavier = !self.index.is_invalid(id) && self.index.work(id) > self.index.work(tip);
            if heavier && !self.index.is_complete(id) && self.is_in_reach(id)? {
                wanted.push(id);
            }
        }
        wanted.sort_by_key(|id| (std::cmp::Reverse(self.index.work(*id)), *id));
        let mut ends: Vec<Id> = Vec::new();
        let mut places = HashMap::new();
        for id in wanted {
            let leads_to = |end: &Id| self.index.ancestor(*end, self.index.height(id)) == Some(id);
            let branch = ends.iter().position(leads_to).unwrap_or(ends.len());
            if branch == ends.len() {
                ends.push(id);
            }
            places.insert(id, Sight::Wanted { branch, height: self.index.height(id) });
        }
        let share = (window / ends.len().max(1)).max(LEAST_SHARE);
        let sight = |hash: &BlockHash| match self.index.find(hash) {
            None => Sight::Unknown,
            Some(id) if self.index.is_invalid(id) => Sight::Invalid,
            Some(id) => places.get(&id).copied().unwrap_or(Sight::Settled),
        };
        Ok(View {
            tip: self.point(tip),
            header_height: self.index.height(self.index.best()),
            is_refusing: self.index.refused_above(self.index.work(tip)).next().is_some(),
            locator: self.index.locator(),
            branches: ends.iter().map(|end| self.wanted_branch(*end, share)).collect(),
            claims: claims.iter().map(|hash| (*hash, sight(hash))).collect(),
        })
    }

    fn wanted_branch(&self, end: Id, share: usize) -> WantedBranch {
        let (base, missing) = self.index.missing(end, share);
        let missing = missing.into_iter().map(|id| (self.index.height(id), self.index.hash(id))).collect();
        WantedBranch { end: self.point(end), base: self.index.hash(base), missing }
    }

    fn point(&self, id: Id) -> Point {
        Point { height: self.index.height(id), hash: self.index.hash(id), work: self.index.work(id) }
    }
}
