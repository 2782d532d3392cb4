//! Who may be asked about a name, and whose names never leave this machine.
//!
//! This is the last gate before upstreams, whatever the callers have checked: names of the ledger never pass, special-use
//! names only by a rule made for them. Names are compared in wire form, lower-cased, label by label.

use std::{collections::HashMap, sync::Arc};

use super::pool::Pool;
use crate::{
    dns::name::{Dname, ancestors},
    zones::answer,
};

/// All rules.
pub(super) struct Routes {
    /// The suffixes of the ledger.
    pub(super) ours: Vec<Dname>,
    /// Upstreams of suffixes, which are written without the root byte; `None` refuses.
    pub(super) rules: HashMap<Vec<u8>, Option<Arc<Pool>>>,
    /// Upstreams of everything else.
    pub(super) default: Option<Arc<Pool>>,
    /// Suffixes that may have local addresses.
    pub(super) allowed: Vec<Dname>,
}

/// Where a question goes.
pub(super) struct Route {
    pub(super) pool: Arc<Pool>,
    /// Whether a rule sends it there.
    pub(super) is_rule: bool,
    /// Whether the answer may lead into the local network.
    pub(super) may_be_local: bool,
}

/// Why a name is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoRoute {
    /// It belongs to the ledger.
    Ours,
    /// It has a special use (RFC 6761), and no rule opens it.
    Special,
    /// A rule refuses it.
    Refused,
    /// No rule covers it, and there are no general upstreams.
    Uncovered,
}

impl Routes {
    /// Everybody who may be asked.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.rules.values().flatten().chain(&self.default)
    }

    /// Where to ask about `name`.
    pub(super) fn route(&self, name: &Dname) -> Result<Route, NoRoute> {
        if self.ours.iter().any(|zone| name.is_within(zone)) {
            return Err(NoRoute::Ours);
        }
        let rule = self.rule(name);
        let special = answer::special_zone_of(name);
        if special
            .is_some_and(|zone| !rule.is_some_and(|(suffix, _)| is_within(suffix, &zone)) || answer::must_stay(name))
        {
            return Err(NoRoute::Special);
        }
        match rule {
            Some((_, None)) => Err(NoRoute::Refused),
            Some((_, Some(pool))) => {
                let may_be_local = pool.is_local() || self.is_allowed(name);
                Ok(Route { pool: pool.clone(), is_rule: true, may_be_local })
            }
            None => {
                let pool = self.default.clone().ok_or(NoRoute::Uncovered)?;
                Ok(Route { pool, is_rule: false, may_be_local: self.is_allowed(name) })
            }
        }
    }

    /// Whether an answer to whoever asked for `name` may lead into the local network, wherever its parts come from: by an
    /// exception, or because those who are asked about the name are there themselves.
    pub(super) fn may_be_local(&self, name: &Dname) -> bool {
        self.route(name).map_or_else(|_| self.is_allowed(name), |route| route.may_be_local)
    }

    /// Whether a name means something else here than for the rest of the world: those with a special use, and those that
    /// the local network is asked about.
    pub(super) fn is_inner(&self, name: &Dname) -> bool {
        let is_local_rule =
            || self.rule(name).is_some_and(|(_, pool)| pool.as_ref().is_some_and(|pool| pool.is_local()));
        answer::special_zone_of(name).is_some() || is_local_rule()
    }

    fn is_allowed(&self, name: &Dname) -> bool {
        self.allowed.iter().any(|suffix| name.is_within(suffix))
    }

    /// The rule with the longest suffix.
    fn rule(&self, name: &Dname) -> Option<(&[u8], &Option<Arc<Pool>>)> {
        if self.rules.is_empty() {
            return None;
        }
        let wire = name.as_wire();
        ancestors(&wire[..wire.len() - 1]).find_map(|suffix| {
            let (key, pool) = self.rules.get_key_value(suffix)?;
            Some((key.as_slice(), pool))
        })
    }
}

fn is_within(suffix: &[u8], zone: &Dname) -> bool {
    let zone = zone.as_wire();
    crate::dns::name::ends_with_labels(suffix, &zone[..zone.len() - 1])
}
